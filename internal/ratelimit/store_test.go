package ratelimit_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/ratelimit"
	"github.com/pombal-api/pombal/internal/store"
	"github.com/pombal-api/pombal/internal/testkit"
)

// openStore opens a database, migrated, until the test ends.
func openStore(t testing.TB, db testkit.Database) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{URL: db.URL, DataDir: db.Dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// counted counts the calls of a Source.
type counted struct {
	ratelimit.Source
	mu    sync.Mutex
	calls int
}

func (c *counted) LeaseRate(ctx context.Context, leases []domain.RateLease) ([]domain.RateGrant, error) {
	c.mu.Lock()
	c.calls++
	c.mu.Unlock()
	return c.Source.LeaseRate(ctx, leases)
}

// cluster returns three nodes on one database, whose clocks are wrong by seconds or hours. On SQLite one
// process serves, so there they share the store.
func cluster(t *testing.T, db testkit.Database) (nodes []*ratelimit.Limiter, source *counted) {
	t.Helper()
	source = &counted{Source: openStore(t, db)}
	for i, skew := range []time.Duration{0, 33 * time.Second, -5 * time.Hour} {
		var s ratelimit.Source = source
		if i > 0 && db.URL != "" {
			s = openStore(t, db)
		}
		nodes = append(nodes, node(s, skew))
	}
	return nodes, source
}

func TestStore_ExactlyTheLimitOverAllNodes(t *testing.T) {
	t.Parallel()
	for _, engine := range testkit.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			nodes, source := cluster(t, engine.New(t))
			const limit = 3_000
			for _, id := range []string{"a", "b", "c"} {
				got := &tally{allowed: map[time.Time]int{}}
				hammer(t, nodes, 100, bucket(id, limit), got)
				for window, n := range got.allowed {
					// A run over the turn of a minute ends before some node has spent its share.
					if n > limit || n < limit && len(got.allowed) == 1 {
						t.Errorf("allowed %d until %v, want %d", n, window, limit)
					}
				}
			}
			if source.calls > 3*100 {
				t.Errorf("%d lease calls of one node for its part of 9,000 requests", source.calls)
			}
		})
	}
}

// Many callers with keys of one account, on all nodes at once: the account's limit holds, too.
func TestStore_KeysOfOneAccount(t *testing.T) {
	t.Parallel()
	for _, engine := range testkit.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			nodes, _ := cluster(t, engine.New(t))
			account := domain.RateBucket{Name: "account", ID: "account:a", Limit: 1_000}
			keys := []domain.RateBucket{bucket("1", 700), bucket("2", 700), bucket("3", 700)}
			got := &tally{allowed: map[time.Time]int{}}
			var wg sync.WaitGroup
			for i := range 30 {
				wg.Go(func() {
					for range 200 {
						pair := []domain.RateBucket{keys[rand.IntN(len(keys))], account}
						if i%2 == 0 {
							pair[0], pair[1] = pair[1], pair[0]
						}
						d, err := nodes[i%len(nodes)].Take(t.Context(), pair...)
						if err != nil {
							t.Error(err)
							return
						}
						if d.Allowed {
							got.add(d.Reset)
						}
					}
				})
			}
			wg.Wait()
			for window, n := range got.allowed {
				if n > 1_000 || n < 980 && len(got.allowed) == 1 {
					t.Errorf("allowed %d until %v, want 1,000", n, window)
				}
			}
		})
	}
}

func TestStore_PeekTakesNothing(t *testing.T) {
	t.Parallel()
	for _, engine := range testkit.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			nodes, _ := cluster(t, engine.New(t))
			mustTake(t, nodes[0], bucket("a", 500))
			for range 3 {
				decisions, err := nodes[1].Peek(t.Context(), bucket("a", 500), bucket("unused", 40))
				if err != nil {
					t.Fatal(err)
				}
				if a := decisions[0]; !a.Allowed || a.Remaining < 480 || a.Remaining > 500 {
					t.Errorf("after one request on another node: %+v", a)
				}
				if u := decisions[1]; !u.Allowed || u.Remaining != 40 {
					t.Errorf("an unused bucket: %+v", u)
				}
			}
		})
	}
}

func TestStore_TheDatabaseIsClosed(t *testing.T) {
	t.Parallel()
	db := testkit.Engines()[1].New(t)
	s, err := store.Open(t.Context(), store.Config{URL: db.URL, DataDir: db.Dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	l := node(s, 0)
	mustTake(t, l, bucket("a", 500))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if !mustTake(t, l, bucket("a", 500)).Allowed {
		t.Error("refused although tokens are here")
	}
	if _, err := l.Take(t.Context(), bucket("other", 500)); err == nil {
		t.Error("decided without the database")
	}
}
