package ratelimit_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/ratelimit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// database is an honest Source: it grants at most the limit of every window, by its own clock.
type database struct {
	latency time.Duration // there, and again back
	clock   time.Duration // ahead of the test's clock
	sticky  bool          // once begun, a window stays although the clock is set back

	mu     sync.Mutex
	used   map[string]int // by bucket and window
	latest time.Time      // of the windows begun
	calls  int
	leases int
	err    error
}

func newDatabase() *database {
	return &database{latency: time.Millisecond, used: map[string]int{}}
}

func (d *database) LeaseRate(ctx context.Context, leases []domain.RateLease) ([]domain.RateGrant, error) {
	if err := d.travel(ctx); err != nil {
		return nil, err
	}
	grants, err := d.grant(leases)
	if err != nil {
		return nil, err
	}
	return grants, d.travel(ctx)
}

func (d *database) travel(ctx context.Context) error {
	select {
	case <-time.After(d.latency):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *database) grant(leases []domain.RateLease) ([]domain.RateGrant, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls++
	d.leases += len(leases)
	if d.err != nil {
		return nil, d.err
	}
	now := time.Now().Add(d.clock)
	grants := make([]domain.RateGrant, len(leases))
	for i, l := range leases {
		w := now.Truncate(time.Minute)
		if d.sticky && w.Before(d.latest) {
			w = d.latest
		}
		d.latest = w
		key := l.Bucket + w.String()
		granted := max(0, min(l.Want, l.Limit-d.used[key]))
		d.used[key] += granted
		grants[i] = domain.RateGrant{Granted: granted, Used: d.used[key], Window: w, Now: now}
	}
	return grants, nil
}

func (d *database) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err = err
}

func (d *database) count() (calls, leases int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.calls, d.leases
}

// node returns a limiter whose clock is wrong by skew.
func node(s ratelimit.Source, skew time.Duration) *ratelimit.Limiter {
	return ratelimit.New(ratelimit.Config{Source: s, Now: func() time.Time { return time.Now().Add(skew) }})
}

func bucket(id string, limit int) domain.RateBucket {
	return domain.RateBucket{Name: "key", ID: "key:" + id, Limit: limit}
}

func mustTake(t *testing.T, l *ratelimit.Limiter, buckets ...domain.RateBucket) domain.RateDecision {
	t.Helper()
	d, err := l.Take(t.Context(), buckets...)
	if err != nil {
		t.Fatalf("Take: %v", err)
	}
	return d
}

// takeUp takes until the limiter refuses, and returns how often it did not.
func takeUp(t *testing.T, l *ratelimit.Limiter, buckets ...domain.RateBucket) int {
	t.Helper()
	for n := 0; ; n++ {
		if d := mustTake(t, l, buckets...); !d.Allowed {
			return n
		}
	}
}
