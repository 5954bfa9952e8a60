package store_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/store"
)

func lease(bucket string, limit, want int) domain.RateLease {
	return domain.RateLease{Bucket: bucket, Limit: limit, Want: want}
}

func TestRate_Lease(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ask := func(what string, leases []domain.RateLease, granted, used []int) {
			t.Helper()
			got, err := f.LeaseRate(t.Context(), leases)
			if err != nil || len(got) != len(leases) {
				t.Fatalf("%s: %d answers, %v", what, len(got), err)
			}
			for i, g := range got {
				if g.Granted != granted[i] || g.Used != used[i] {
					t.Errorf("%s: lease %d got %d and %d are used, want %d and %d", what, i, g.Granted, g.Used, granted[i], used[i])
				}
				if g.Window != g.Window.Truncate(time.Minute) || g.Now.Before(g.Window) || g.Now.Sub(g.Window) > time.Minute+time.Second {
					t.Errorf("%s: window %v at %v", what, g.Window, g.Now)
				}
			}
		}
		inOneWindow(t, func() {
			ask("nothing", nil, nil, nil)
			ask("first", []domain.RateLease{lease("b", 10, 4), lease("a", 3, 5), lease("c", 0, 1), lease("d", -1, 1)}, []int{4, 3, 0, 0}, []int{4, 3, 0, 0})
			ask("more", []domain.RateLease{lease("a", 3, 1), lease("b", 10, 4)}, []int{0, 4}, []int{3, 8})
			ask("the rest", []domain.RateLease{lease("b", 10, 4)}, []int{2}, []int{10})
			ask("a look", []domain.RateLease{lease("b", 10, 0), lease("new", 10, 0)}, []int{0, 0}, []int{10, 0})
			ask("less than nothing", []domain.RateLease{lease("new", 10, -5)}, []int{0}, []int{0})
			ask("a lower limit", []domain.RateLease{lease("b", 5, 4)}, []int{0}, []int{10})
			ask("a higher limit", []domain.RateLease{lease("b", 12, 4)}, []int{2}, []int{12})
		})
		got := must[[]domain.RateGrant](t)(f.LeaseRate(t.Context(), []domain.RateLease{lease("x", 10, 7), lease("y", 1, 1), lease("x", 10, 7)}))
		if got[0].Granted != 7 || got[1].Granted != 1 || got[2].Granted != 3 || got[2].Used != 10 {
			t.Errorf("one bucket twice: %+v", got)
		}
	})
}

// inOneWindow waits for the next minute when this one is about to end.
func inOneWindow(t *testing.T, do func()) {
	t.Helper()
	if left := time.Until(time.Now().Truncate(time.Minute).Add(time.Minute)); left < 3*time.Second {
		<-time.After(left + 50*time.Millisecond)
	}
	do()
}

// Nodes that lease the same buckets in any order never get more than the limit together, nor deadlock.
func TestRate_NeverMoreThanTheLimit(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		inOneWindow(t, func() {
			const limit = 100
			var mu sync.Mutex
			granted := map[string]int{}
			var nodes sync.WaitGroup
			for n := range 6 {
				random := rand.New(rand.NewPCG(7, uint64(n)))
				nodes.Go(func() {
					for range 30 {
						var leases []domain.RateLease
						for _, b := range random.Perm(5) {
							leases = append(leases, lease(fmt.Sprint(b), limit, random.IntN(9)))
						}
						got, err := f.LeaseRate(t.Context(), leases)
						if err != nil {
							t.Error(err)
							return
						}
						mu.Lock()
						for i, g := range got {
							granted[leases[i].Bucket+g.Window.String()] += g.Granted
						}
						mu.Unlock()
					}
				})
			}
			nodes.Wait()
			for bucket, n := range granted {
				if n > limit {
					t.Errorf("bucket %s: %d of %d", bucket, n, limit)
				}
			}
		})
	})
}

// A row of an earlier window is made over; one of a later window (the statement waited for its lock over the
// turn of the minute) is counted in.
func TestRate_Windows(t *testing.T) {
	t.Parallel()
	f := newFixture(t, store.DialectPostgres)
	inOneWindow(t, func() {
		must[[]domain.RateGrant](t)(f.LeaseRate(t.Context(), []domain.RateLease{lease("a", 10, 10), lease("b", 10, 4)}))
		execSQL(t, f, []string{
			"UPDATE rate_windows SET window_start = window_start - interval '1 minute' WHERE bucket = 'a'",
			"UPDATE rate_windows SET window_start = window_start + interval '1 minute' WHERE bucket = 'b'",
		})
		got := must[[]domain.RateGrant](t)(f.LeaseRate(t.Context(), []domain.RateLease{lease("a", 10, 10), lease("b", 10, 10)}))
		if got[0].Granted != 10 || got[0].Used != 10 {
			t.Errorf("a new window: %+v", got[0])
		}
		if got[1].Granted != 6 || got[1].Used != 10 || got[1].Window != got[0].Window.Add(time.Minute) {
			t.Errorf("a window that has begun meanwhile: %+v", got[1])
		}
	})
}
