package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/ratelimit"
)

func TestTake_TheSourceFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := newDatabase()
		l := node(db, 0)
		b := bucket("a", 500)
		mustTake(t, l, b) // leases 10
		db.fail(domain.Unavailable(errors.New("connection refused")))
		for range 9 {
			if !mustTake(t, l, b).Allowed {
				t.Error("refused although tokens are here")
			}
		}
		for range 3 {
			if _, err := l.Take(t.Context(), b); domain.CodeOf(err) != domain.CodeUnavailable {
				t.Errorf("error %v, want unavailable", err)
			}
		}
		db.fail(nil)
		if n := takeUp(t, l, b); n != 490 {
			t.Errorf("allowed %d after recovery, want 490", n)
		}
	})
}

// sourceFunc is a Source that is one function.
type sourceFunc func(context.Context, []domain.RateLease) ([]domain.RateGrant, error)

func (f sourceFunc) LeaseRate(ctx context.Context, leases []domain.RateLease) ([]domain.RateGrant, error) {
	return f(ctx, leases)
}

func TestTake_BrokenSources(t *testing.T) {
	t.Parallel()
	plain := errors.New("syntax error")
	tests := map[string]struct {
		source sourceFunc
		code   domain.Code
		is     error
	}{
		"hangs": {
			source: func(ctx context.Context, _ []domain.RateLease) ([]domain.RateGrant, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			},
			code: domain.CodeUnavailable, is: context.DeadlineExceeded,
		},
		"has a bug": {
			source: func(context.Context, []domain.RateLease) ([]domain.RateGrant, error) { return nil, plain },
			code:   domain.CodeInternal, is: plain,
		},
		"answers too little": {
			source: func(context.Context, []domain.RateLease) ([]domain.RateGrant, error) { return nil, nil },
			code:   domain.CodeInternal,
		},
		"grants only the past": {
			source: func(context.Context, []domain.RateLease) ([]domain.RateGrant, error) {
				now := time.Now()
				return []domain.RateGrant{{Granted: 1, Used: 1, Window: now.Add(-time.Hour), Now: now}}, nil
			},
			code: domain.CodeUnavailable,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				_, err := node(tt.source, 0).Take(t.Context(), bucket("a", 10))
				if err == nil || domain.CodeOf(err) != tt.code || tt.is != nil && !errors.Is(err, tt.is) {
					t.Errorf("error %v, want one with code %s", err, tt.code)
				}
			})
		})
	}
}

// A panic passes through the one who called; those who waited get an error and may ask again.
func TestTake_TheSourcePanics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := node(sourceFunc(func(context.Context, []domain.RateLease) ([]domain.RateGrant, error) {
			time.Sleep(time.Second)
			panic("a bug") //nolint:forbidigo // that is the test
		}), 0)
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				defer func() { _ = recover() }()
				if _, err := l.Take(t.Context(), bucket("a", 10)); err == nil {
					t.Error("no error from a lease that was lost")
				}
			})
		}
		wg.Wait()
	})
}

func TestTake_HangUps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := newDatabase()
		db.latency = time.Second
		l := node(db, 0)
		first, hangUp := context.WithCancel(t.Context())
		impatient, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()

		var wg sync.WaitGroup
		wg.Go(func() { // asks the source, for all; its own answer does not matter any more
			if _, err := l.Take(first, bucket("a", 100)); err != nil {
				t.Errorf("first: %v", err)
			}
		})
		synctest.Wait()
		wg.Go(func() {
			if !mustTake(t, l, bucket("a", 100)).Allowed {
				t.Error("refused below the limit")
			}
		})
		wg.Go(func() {
			if _, err := l.Take(impatient, bucket("a", 100)); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("impatient: %v, want its own deadline", err)
			}
		})
		synctest.Wait()
		hangUp()
		wg.Wait()
		if calls, _ := db.count(); calls != 1 {
			t.Errorf("%d lease calls, want 1", calls)
		}
		if _, err := l.Take(first, bucket("other", 100)); !errors.Is(err, context.Canceled) {
			t.Errorf("a caller that is gone: %v, want its own cancellation", err)
		}
	})
}

func TestRun_ForgetsIdleBuckets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := newDatabase()
		l := node(db, 3*time.Hour)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- l.Run(ctx) }()

		most := 0
		for minute := range 20 {
			for i := range 2_000 {
				mustTake(t, l, bucket(fmt.Sprint(minute, "-", i), 500), bucket("busy", 100_000))
			}
			most = max(most, l.Size())
			time.Sleep(time.Minute)
		}
		if most > 4*2_000 {
			t.Errorf("%d buckets remembered, of 2,000 a minute", most)
		}
		time.Sleep(5 * time.Minute)
		if n := l.Size(); n != 0 {
			t.Errorf("%d buckets remembered after five idle minutes, want 0", n)
		}
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestChunk(t *testing.T) {
	t.Parallel()
	tests := []struct{ limit, left, waiting, want int }{
		{10_000, 10_000, 1, 200}, // a fiftieth
		{10_000, 400, 1, 100},    // less near the end
		{10_000, 3, 1, 1},
		{10_000, 0, 1, 1},
		{10_000, -5, 1, 1}, // another node was told a higher limit
		{10_000, 10_000, 900, 900},
		{500, 500, 1, 10},
		{50, 50, 1, 4},
		{10, 10, 1, 1},
		{1, 1, 1, 1},
	}
	for _, tt := range tests {
		if got := ratelimit.Chunk(tt.limit, tt.left, tt.waiting); got != tt.want {
			t.Errorf("Chunk(%d, %d, %d) = %d, want %d", tt.limit, tt.left, tt.waiting, got, tt.want)
		}
	}
}
