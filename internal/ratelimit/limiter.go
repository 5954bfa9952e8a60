// Package ratelimit decides whether a caller may make one more request in this minute. Nodes share
// one truth through the database, without a write per request: each node leases small parts of a
// bucket's window and spends them from memory.
package ratelimit

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// window is what limits are per. Windows begin at the database's full minutes.
const window = time.Minute

// defaultTimeout bounds one call of the Source.
const defaultTimeout = 3 * time.Second

// Source grants parts of windows. Over all nodes, what it grants of one window never exceeds the limit.
type Source interface {
	// LeaseRate answers every lease, in order. A lease that wants 0 only asks how much is used.
	LeaseRate(ctx context.Context, leases []domain.RateLease) ([]domain.RateGrant, error)
}

// Config is what a Limiter works with.
type Config struct {
	Source  Source
	Now     func() time.Time // this node's clock, which may be wrong; nil for time.Now
	Timeout time.Duration    // of one call of the Source; 0 for 3 s
}

// Limiter counts requests against buckets. It is safe for concurrent use.
type Limiter struct {
	source  Source
	now     func() time.Time
	timeout time.Duration
	offset  atomic.Int64 // what to add to this node's clock to get the database's, in nanoseconds
	table   table
}

// New returns a Limiter that knows nothing yet.
func New(cfg Config) *Limiter {
	l := &Limiter{source: cfg.Source, now: cfg.Now, timeout: cfg.Timeout}
	if l.now == nil {
		l.now = time.Now
	}
	if l.timeout <= 0 {
		l.timeout = defaultTimeout
	}
	l.table.init()
	return l
}

// maxStale bounds how often one call asks again because what it got is of a window that is over. That
// happens at the turn of a window; more often only with a broken Source. A call that finds its lease
// spent by quicker ones asks again too, without a bound: the limit is one.
const maxStale = 8

// roomy is how many buckets a call may have before it needs memory from the heap.
const roomy = 4

var errStale = errors.New("rate limit: the database grants only windows that are over")

// Take counts one request against every bucket, or against none when one of them refuses. The
// decision describes the refusing bucket, or else the one with the least left. Without any limited
// bucket the request is allowed and the decision names no bucket. An error means that the Source
// failed, or that ctx ended while waiting for it: nothing was decided.
func (l *Limiter) Take(ctx context.Context, buckets ...domain.RateBucket) (domain.RateDecision, error) {
	var room [roomy]claim
	claims := l.table.claims(room[:0], buckets)
	if len(claims) == 0 {
		return domain.RateDecision{Allowed: true}, nil
	}
	for stale := 0; stale < maxStale; {
		if d, settled := spend(claims, l.databaseNow()); settled {
			return d, nil
		}
		fresh, err := l.refill(ctx, claims, wantTokens)
		if err != nil {
			return domain.RateDecision{}, err
		}
		if !fresh {
			stale++
		}
	}
	return domain.RateDecision{}, domain.Unavailable(errStale)
}

// spend takes one token of each claim. It is not settled when a claim needs a lease first.
func spend(claims []claim, now int64) (d domain.RateDecision, settled bool) {
	lock(claims)
	defer unlock(claims)
	worst := -1
	settled = true
	for i := range claims {
		c := &claims[i]
		switch c.state(now, c.limit) {
		case stateEmpty:
			if worst < 0 || c.order < claims[worst].order {
				worst = i
			}
		case stateUnknown:
			settled = false
		case stateReady:
		}
	}
	if worst >= 0 {
		return claims[worst].decision(now, false), true
	}
	if !settled {
		return d, false
	}
	return spendAll(claims, now), true
}

func spendAll(claims []claim, now int64) domain.RateDecision {
	tightest, least, order := 0, 0, 0
	for i := range claims {
		c := &claims[i]
		c.left--
		c.taken++
		rest := c.remaining(c.limit)
		if i == 0 || rest < least || rest == least && c.order < order {
			tightest, least, order = i, rest, c.order
		}
	}
	return claims[tightest].decision(now, true)
}

// refundGrace is how long after the turn of a window a refund may still be of the window before: longer
// than an answer worth a refund takes.
const refundGrace = 2 * time.Second

// Refund gives back what one allowed Take of the same buckets has taken: an answer that says "nothing
// new" costs nothing. When the window may have turned in between, nothing is given back, since a
// window must not be spent twice.
func (l *Limiter) Refund(buckets ...domain.RateBucket) {
	var room [roomy]claim
	now := l.databaseNow()
	for _, c := range l.table.claims(room[:0], buckets) {
		c.mu.Lock()
		c.refund(now)
		c.mu.Unlock()
	}
}

// Peek tells what is left of every bucket, in order, and takes nothing. It asks the Source only about
// buckets of which this node has had no lease in this window. A bucket without a limit is allowed,
// with Limit 0 and no Reset.
func (l *Limiter) Peek(ctx context.Context, buckets ...domain.RateBucket) ([]domain.RateDecision, error) {
	claims := l.table.claims(nil, buckets)
	if _, err := l.refill(ctx, claims, wantNews); err != nil {
		return nil, err
	}
	now := l.databaseNow()
	decisions := make([]domain.RateDecision, len(buckets))
	for i, b := range buckets {
		if b.Limit <= 0 {
			decisions[i] = domain.RateDecision{Allowed: true, Bucket: b.Name}
			continue
		}
		c := claim{counter: l.table.counter(b.ID), name: b.Name, limit: b.Limit}
		c.mu.Lock()
		decisions[i] = c.decision(now, c.state(now, c.limit) != stateEmpty)
		c.mu.Unlock()
	}
	return decisions, nil
}

// Run forgets buckets that nobody has used for a while, until ctx ends.
func (l *Limiter) Run(ctx context.Context) error {
	tick := time.NewTicker(window)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			l.table.prune(l.databaseNow())
		}
	}
}

// databaseNow is the database's clock as far as this node knows it, in Unix nanoseconds.
func (l *Limiter) databaseNow() int64 { return l.now().UnixNano() + l.offset.Load() }
