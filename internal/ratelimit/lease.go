package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// flight is one call of the Source, for all counters of one Take that needed a lease and had none
// under way. Whoever needs one of these counters waits for it instead of asking again.
type flight struct {
	counters []*counter
	leases   []domain.RateLease
	done     chan struct{} // closed when the grants are entered, or err is set
	stale    bool          // a grant was of a window that is over
	err      error
}

// appetite is what a refill wants.
type appetite int

const (
	wantTokens appetite = iota // something to spend
	wantNews                   // only to know the window
)

// chunk is how much of a window to lease: about a fiftieth of it, so that a lease is rare; something
// more of small windows, where a fiftieth would be a lease per request; less and less of what is left
// near the end, so that little lies unused on nodes that the caller does not visit; but one for every
// caller that already waits.
func chunk(limit, left, waiting int) int {
	n := max(limit/50, min(limit/10, 4), 1)
	return max(min(n, left/4), waiting, 1)
}

// refill sees to it that all claims have had a lease: it asks for those that nobody asks for, and
// waits for the others. The caller must look again, others may have been quicker. fresh is false when
// some grant was of a window that is over.
func (l *Limiter) refill(ctx context.Context, claims []claim, want appetite) (fresh bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	own, others := l.board(claims, want)
	defer disembark(others)
	fresh = true
	if own != nil {
		if err := l.fly(ctx, own); err != nil {
			return false, err
		}
		fresh = !own.stale
	}
	for _, p := range others {
		select {
		case <-p.flight.done:
			if p.flight.err != nil {
				return false, p.flight.err
			}
			fresh = fresh && !p.flight.stale
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	return fresh, nil
}

// passenger is a caller's wait for a flight.
type passenger struct {
	counter *counter
	flight  *flight
}

// board finds the claims that need the Source. own is a new flight that the caller must fly, nil when
// there is nothing to ask; others are flights to wait for afterwards.
func (l *Limiter) board(claims []claim, want appetite) (own *flight, others []passenger) {
	lock(claims)
	defer unlock(claims)
	now := l.databaseNow()
	for i := range claims {
		c := &claims[i]
		switch {
		case c.current(now) && (want == wantNews || c.state(now, c.limit) != stateUnknown):
		case c.flight != nil:
			c.waiting++
			others = append(others, passenger{c.counter, c.flight})
		default:
			if own == nil {
				own = &flight{done: make(chan struct{})}
			}
			own.add(c, want, now)
		}
	}
	return own, others
}

func disembark(others []passenger) {
	for _, p := range others {
		p.counter.mu.Lock()
		p.counter.waiting--
		p.counter.mu.Unlock()
	}
}

// countable is the largest limit that the Source is asked to hold: databases count in 32 bits, and no
// caller makes so many requests in a minute.
const countable = 1_000_000_000

func (f *flight) add(c *claim, want appetite, now int64) {
	c.flight = f
	lease := domain.RateLease{Bucket: c.id, Limit: min(c.limit, countable)}
	if want == wantTokens {
		left := lease.Limit
		if c.current(now) {
			left -= c.used
		}
		lease.Want = chunk(lease.Limit, left, c.waiting+1)
	}
	f.counters = append(f.counters, c.counter)
	f.leases = append(f.leases, lease)
}

var (
	errLost  = errors.New("rate limit: the lease call did not return")
	errCount = errors.New("rate limit: the source did not answer every lease")
)

// fly calls the Source. Others wait for the answer, so the call survives the caller's own hang-up.
func (l *Limiter) fly(ctx context.Context, f *flight) error {
	f.err = errLost
	defer f.land() // also when the Source panics: nobody may wait for ever
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.timeout)
	defer cancel()
	asked := l.now()
	grants, err := l.source.LeaseRate(ctx, f.leases)
	f.err = sourceError(err, len(grants) == len(f.leases))
	if f.err != nil {
		return f.err
	}
	l.setClock(asked, grants)
	now := l.databaseNow()
	for i, c := range f.counters {
		c.mu.Lock()
		c.grant(grants[i], f.leases[i].Limit, f.leases[i].Want, now)
		f.stale = f.stale || !c.current(now)
		c.mu.Unlock()
	}
	return nil
}

func (f *flight) land() {
	for _, c := range f.counters {
		c.mu.Lock()
		c.flight = nil
		c.mu.Unlock()
	}
	close(f.done)
}

// sourceError keeps an unreachable database apart from a request over its limit.
func sourceError(err error, complete bool) error {
	switch {
	case err == nil && complete:
		return nil
	case err == nil:
		return errCount
	case domain.CodeOf(err) == domain.CodeInternal && errors.Is(err, context.DeadlineExceeded):
		return domain.Unavailable(err)
	}
	return fmt.Errorf("lease a part of the rate limit: %w", err)
}

// setClock notes the database's clock. It told the time somewhere between question and answer.
func (l *Limiter) setClock(asked time.Time, grants []domain.RateGrant) {
	answered := l.now()
	middle := asked.Add(answered.Sub(asked) / 2)
	l.offset.Store(int64(grants[0].Now.Sub(middle)))
}
