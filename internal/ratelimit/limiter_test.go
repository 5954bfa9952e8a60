package ratelimit_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/ratelimit"
)

// tally counts what was allowed in each window.
type tally struct {
	mu      sync.Mutex
	allowed map[time.Time]int
}

func (c *tally) add(window time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.allowed[window]++
}

// hammer has clients take from nodes at the same time, each until it is refused.
func hammer(t *testing.T, nodes []*ratelimit.Limiter, clients int, b domain.RateBucket, into *tally) {
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			for {
				d, err := nodes[i%len(nodes)].Take(t.Context(), b)
				if err != nil {
					t.Errorf("client %d: %v", i, err)
					return
				}
				if !d.Allowed {
					return
				}
				into.add(d.Reset)
			}
		})
	}
	wg.Wait()
}

func TestTake_ExactlyTheLimitOverAllNodes(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{1, 3, 7, 50, 100, 500, 2_000, 10_000} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				db := newDatabase()
				db.clock = 17 * time.Second
				nodes := []*ratelimit.Limiter{node(db, 0), node(db, 41*time.Second), node(db, -2*time.Hour)}
				got := &tally{allowed: map[time.Time]int{}}
				want := map[time.Time]int{}
				for range 3 {
					start := time.Now().Add(db.clock).Truncate(time.Minute)
					hammer(t, nodes, 100, bucket("a", limit), got)
					want[start.Add(time.Minute).UTC()] = limit
					time.Sleep(time.Until(start.Add(time.Minute - db.clock)))
				}
				if diff := cmp.Diff(want, got.allowed); diff != "" {
					t.Errorf("allowed by window (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestTake_LeasesAreRare(t *testing.T) {
	t.Parallel()
	tests := []struct{ limit, most int }{
		{50, 25}, {100, 40}, {500, 75}, {2_000, 85}, {10_000, 95},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.limit), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				db := newDatabase()
				l := node(db, 0)
				if n := takeUp(t, l, bucket("a", tt.limit)); n != tt.limit {
					t.Errorf("allowed %d, want %d", n, tt.limit)
				}
				if calls, _ := db.count(); calls > tt.most {
					t.Errorf("%d lease calls for %d requests, want at most %d", calls, tt.limit, tt.most)
				}
			})
		})
	}
}

// Callers who wait for a lease together must not need one lease each.
func TestTake_WaitingCallersShareALease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := newDatabase()
		l := node(db, 0)
		var wg sync.WaitGroup
		for range 1_000 {
			wg.Go(func() {
				if d := mustTake(t, l, bucket("a", 2_000)); !d.Allowed {
					t.Error("refused below the limit")
				}
			})
		}
		wg.Wait()
		if calls, _ := db.count(); calls > 3 {
			t.Errorf("%d lease calls for 1,000 callers at once, want at most 3", calls)
		}
	})
}

func TestTake_OneCallForAllBuckets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := newDatabase()
		l := node(db, 0)
		mustTake(t, l, bucket("a", 100), bucket("b", 100), bucket("c", 100))
		calls, leases := db.count()
		if calls != 1 || leases != 3 {
			t.Errorf("%d calls with %d leases, want 1 with 3", calls, leases)
		}
	})
}

func TestTake_RefusesFromMemory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := newDatabase()
		l, other := node(db, 0), node(db, 0)
		takeUp(t, l, bucket("a", 20))
		takeUp(t, other, bucket("a", 20))
		before, _ := db.count()
		for range 10_000 {
			if mustTake(t, l, bucket("a", 20)).Allowed || mustTake(t, other, bucket("a", 20)).Allowed {
				t.Fatal("allowed above the limit")
			}
		}
		if after, _ := db.count(); after != before {
			t.Errorf("%d lease calls for refused requests, want none", after-before)
		}
	})
}

func TestTake_AllBucketsOrNone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := node(newDatabase(), 0)
		key, account := bucket("k", 5), domain.RateBucket{Name: "account", ID: "account:a", Limit: 12}
		if n := takeUp(t, l, key, account); n != 5 {
			t.Errorf("allowed %d, want 5", n)
		}
		for range 100 {
			mustTake(t, l, account, key) // refused by key
		}
		if n := takeUp(t, l, account); n != 12-5 {
			t.Errorf("the refused calls cost the account: %d left, want 7", n)
		}
	})
}

func TestTake_Describes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := newDatabase()
		db.latency = 0
		l := node(db, 90*time.Minute)
		time.Sleep(12 * time.Second) // the fake clock starts at a full minute
		end := time.Now().Truncate(time.Minute).Add(time.Minute).UTC()
		key, account := bucket("k", 3), domain.RateBucket{Name: "account", ID: "account:a", Limit: 4}

		want := domain.RateDecision{Allowed: true, Bucket: "key", Limit: 3, Remaining: 2, Reset: end}
		if diff := cmp.Diff(want, mustTake(t, l, account, key)); diff != "" {
			t.Errorf("allowed (-want +got):\n%s", diff)
		}
		mustTake(t, l, account, key)
		mustTake(t, l, account, key)
		want = domain.RateDecision{Bucket: "key", Limit: 3, Reset: end, RetryAfter: 48 * time.Second}
		if diff := cmp.Diff(want, mustTake(t, l, account, key)); diff != "" {
			t.Errorf("refused (-want +got):\n%s", diff)
		}
		time.Sleep(want.RetryAfter)
		if d := mustTake(t, l, account, key); !d.Allowed || d.Remaining != 2 {
			t.Errorf("after RetryAfter: %+v, want allowed with 2 left", d)
		}
	})
}

func TestTake_Unlimited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := newDatabase()
		l := node(db, 0)
		for _, buckets := range [][]domain.RateBucket{nil, {bucket("a", 0)}, {bucket("a", -1), bucket("b", 0)}} {
			d := mustTake(t, l, buckets...)
			if diff := cmp.Diff(domain.RateDecision{Allowed: true}, d); diff != "" {
				t.Errorf("%v (-want +got):\n%s", buckets, diff)
			}
		}
		if d := mustTake(t, l, bucket("a", 0), bucket("b", 9)); d.Limit != 9 || d.Remaining != 8 {
			t.Errorf("beside an unlimited bucket: %+v", d)
		}
		if calls, _ := db.count(); calls != 1 {
			t.Errorf("%d lease calls, want only that of the limited bucket", calls)
		}
	})
}

func TestTake_TheSameBucketTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := node(newDatabase(), 0)
		if n := takeUp(t, l, bucket("a", 6), bucket("b", 100), bucket("a", 6)); n != 6 {
			t.Errorf("allowed %d, want 6", n)
		}
	})
}

func TestTake_ARaisedLimitCountsAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := node(newDatabase(), 0)
		takeUp(t, l, bucket("a", 10))
		if n := takeUp(t, l, bucket("a", 30)); n != 20 {
			t.Errorf("allowed %d more, want 20", n)
		}
		if n := takeUp(t, l, bucket("a", 10)); n != 0 {
			t.Errorf("allowed %d after lowering it again, want 0", n)
		}
	})
}

// Calls name the same buckets in any order; none may wait for another in a ring.
func TestTake_AnyOrderOfBuckets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := newDatabase()
		l := node(db, 0)
		a, b, c := bucket("a", 3_000), bucket("b", 4_000), bucket("c", 5_000)
		orders := [][]domain.RateBucket{{a, b, c}, {c, b, a}, {b, c}, {b, a}, {a}}
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				for range 200 {
					mustTake(t, l, orders[i%len(orders)]...)
				}
			})
		}
		wg.Wait()
		for _, x := range []domain.RateBucket{a, b, c} {
			takeUp(t, l, x)
		}
		for key, used := range db.used {
			if used != 3_000 && used != 4_000 && used != 5_000 {
				t.Errorf("%s: %d granted, want exactly its limit", key, used)
			}
		}
	})
}

// The database may keep a window that its clock, set back, has not reached again.
func TestTake_TheWindowIsAheadOfTheClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := newDatabase()
		db.sticky = true
		nodes := []*ratelimit.Limiter{node(db, 0), node(db, time.Hour)}
		got := &tally{allowed: map[time.Time]int{}}
		got.add(mustTake(t, nodes[0], bucket("a", 100)).Reset)
		db.clock = -20 * time.Second
		for range 30 {
			hammer(t, nodes, 4, bucket("a", 100), got)
			time.Sleep(7 * time.Second)
		}
		for window, n := range got.allowed {
			if n != 100 {
				t.Errorf("allowed %d until %v, want 100", n, window)
			}
		}
		if calls, _ := db.count(); calls > 200 {
			t.Errorf("%d lease calls", calls)
		}
	})
}

// A failover may bring a database whose clock is behind.
func TestTake_TheDatabaseClockJumps(t *testing.T) {
	t.Parallel()
	for _, jump := range []time.Duration{-time.Hour, time.Hour, -3 * time.Second} {
		t.Run(jump.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				db := newDatabase()
				l := node(db, 0)
				takeUp(t, l, bucket("a", 10))
				db.clock = jump
				for range 3 { // by then it has asked again, in whichever window that was
					time.Sleep(time.Minute)
					takeUp(t, l, bucket("a", 10))
				}
				time.Sleep(time.Minute)
				if n := takeUp(t, l, bucket("a", 10)); n != 10 {
					t.Errorf("allowed %d in a window, want 10", n)
				}
			})
		})
	}
}
