package auth

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pombal-api/pombal/internal/domain"
)

// TestRevocationIsSeenEverywhereWithinASecond has two nodes on one store, at every phase of their polls.
func TestRevocationIsSeenEverywhereWithinASecond(t *testing.T) {
	t.Parallel()
	for phase := time.Duration(0); phase <= pollEvery; phase += 50 * time.Millisecond {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			nodes := []*Authenticator{w.auth, w.node(t)}
			for _, a := range nodes {
				defer run(t, a)()
			}
			token := w.mint(t, "customer", domain.TokenRequest{}).Token
			time.Sleep(time.Second + phase)
			credentials := map[string]string{"key": w.keys["customer"].plain, "token": token}
			for _, a := range nodes {
				for name, credential := range credentials {
					if _, err := a.Bearer(t.Context(), credential); err != nil {
						t.Fatalf("%s before the revocation: %v", name, err)
					}
				}
			}
			w.store.changeKey(w.keys["customer"].id, func(k *domain.APIKey) { k.RevokedAt = time.Now() })
			time.Sleep(time.Second)
			for i, a := range nodes {
				for name, credential := range credentials {
					if _, err := a.Bearer(t.Context(), credential); domain.CodeOf(err) != domain.CodeInvalidAPIKey {
						t.Errorf("phase %v, node %d, %s: error = %v a second after the revocation", phase, i, name, err)
					}
				}
			}
		})
	}
}

// TestRevocationUnderLoad revokes while a crowd calls: nobody may get in a second later.
func TestRevocationUnderLoad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer run(t, w.auth)()
		w.store.setAfter(func(_ context.Context, method string) { // a slow database, so that loads and polls overlap
			if method == "AuthChanges" {
				time.Sleep(40 * time.Millisecond)
			} else {
				time.Sleep(130 * time.Millisecond)
			}
		})
		var revokedAt atomic.Int64
		ctx, stop := context.WithCancel(t.Context())
		var crowd sync.WaitGroup
		for i := range 20 {
			crowd.Go(func() {
				time.Sleep(time.Duration(i) * 7 * time.Millisecond)
				for ctx.Err() == nil {
					began := time.Now().UnixNano()
					_, err := w.auth.Bearer(context.Background(), w.keys["customer"].plain)
					if at := revokedAt.Load(); err == nil && at != 0 && began-at > int64(time.Second) {
						t.Errorf("let in %v after the revocation", time.Duration(began-at))
					}
					time.Sleep(11 * time.Millisecond)
					if i == 0 {
						w.auth.Forget(w.ids["customer"]) // so that loads are always under way
					}
				}
			})
		}
		time.Sleep(2 * time.Second)
		w.store.changeKey(w.keys["customer"].id, func(k *domain.APIKey) { k.RevokedAt = time.Now() })
		revokedAt.Store(time.Now().UnixNano())
		time.Sleep(5 * time.Second)
		stop()
		crowd.Wait()
	})
}

func TestNothingIsServedFromMemoryWhileChangesCannotBeSeen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.login(t, "customer") // before Run, nothing is trusted
		w.login(t, "customer")
		if n := w.store.count("KeyByLookup"); n != 2 {
			t.Errorf("%d loads before Run, want 2", n)
		}
		stop := run(t, w.auth)
		defer func() { stop() }()
		synctest.Wait()
		w.login(t, "customer")
		loaded := w.store.total()
		for range 40 { // two seconds
			time.Sleep(50 * time.Millisecond)
			w.login(t, "customer")
		}
		if n := w.store.total(); n != loaded {
			t.Errorf("%d queries for a key in memory", n-loaded)
		}

		down := errors.New("connection refused")
		w.store.setDown(down)
		time.Sleep(500 * time.Millisecond)
		w.login(t, "customer") // the last look is fresh enough
		time.Sleep(time.Second)
		_, err := w.auth.Bearer(t.Context(), w.keys["customer"].plain)
		wantCode(t, err, domain.CodeUnavailable)
		if !errors.Is(err, down) {
			t.Errorf("the cause is lost: %v", err)
		}

		// Revoked while the node was blind: it must not trust what it knew.
		w.store.changeKey(w.keys["customer"].id, func(k *domain.APIKey) { k.RevokedAt = time.Now() })
		w.store.setDown(nil)
		_, err = w.auth.Bearer(t.Context(), w.keys["customer"].plain)
		wantCode(t, err, domain.CodeInvalidAPIKey)
		time.Sleep(time.Second)
		_, err = w.auth.Bearer(t.Context(), w.keys["customer"].plain)
		wantCode(t, err, domain.CodeInvalidAPIKey)
		w.login(t, "partner") // and it recovers by itself
	})
}

func TestPollPurgesWhenItMissedChanges(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(*fakeStore){
		"old changes were swept": func(s *fakeStore) { s.forgotten = int64(len(s.changes)) },
		"database was restored":  func(s *fakeStore) { s.changes = s.changes[:0] },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.store.changeAccount(w.ids["customer"], func(*domain.Account) {})
			w.auth.poll(t.Context())
			w.login(t, "customer")
			w.store.changeKey(w.keys["customer"].id, func(k *domain.APIKey) { k.RevokedAt = time.Now() })
			w.store.mu.Lock()
			lose(w.store)
			w.store.mu.Unlock()
			w.auth.poll(t.Context())
			_, err := w.auth.Bearer(t.Context(), w.keys["customer"].plain)
			wantCode(t, err, domain.CodeInvalidAPIKey)
		})
	}
}

func TestForgetIsImmediate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.auth.poll(t.Context())
	w.login(t, "customer")
	w.login(t, "child-1")
	w.store.changeKey(w.keys["customer"].id, func(k *domain.APIKey) { k.RevokedAt = time.Now() })
	w.auth.Forget(w.ids["customer"])
	_, err := w.auth.Bearer(t.Context(), w.keys["customer"].plain)
	wantCode(t, err, domain.CodeInvalidAPIKey)

	w.store.changeAccount(w.ids["partner"], func(a *domain.Account) { a.Status = domain.AccountSuspended })
	w.auth.Forget(w.ids["partner"])
	_, err = w.auth.Bearer(t.Context(), w.keys["child-1"].plain)
	wantCode(t, err, domain.CodeInsufficient)
}

func TestLastUseIsCoarseAndBatched(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		stop := run(t, w.auth)
		token := w.mint(t, "partner", domain.TokenRequest{}).Token
		start := time.Now()
		for range 1200 { // ten minutes
			w.login(t, "customer")
			if _, err := w.auth.Bearer(t.Context(), w.keys["child-1"].plain); err != nil {
				t.Fatal(err)
			}
			time.Sleep(500 * time.Millisecond)
		}
		batches := w.store.uses
		perKey := map[string]int{}
		names := map[domain.ID]string{}
		for name, key := range w.keys {
			names[key.id] = name
		}
		for _, uses := range batches {
			for id, use := range uses {
				perKey[names[id]]++
				if use.AccountID != w.store.keys[id].AccountID || use.At.Before(start.Add(-time.Second)) {
					t.Errorf("use of %s: %+v", names[id], use)
				}
			}
		}
		if diff := cmp.Diff(map[string]int{"customer": 10, "child-1": 10, "partner": 1}, perKey); diff != "" {
			t.Errorf("uses recorded in ten minutes (-want +got):\n%s", diff)
		}
		if len(batches) > 11 {
			t.Errorf("%d batches, want at most one a minute for keys used together", len(batches))
		}

		// A failed batch is recorded later, a last one at the end.
		time.Sleep(2 * time.Minute)
		if _, err := w.auth.Bearer(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		used := time.Now()
		w.store.setDown(errors.New("down"))
		time.Sleep(30 * time.Second)
		w.store.setDown(nil)
		stop()
		if got := w.store.keys[w.keys["partner"].id].LastUsedAt; !got.Equal(used.Truncate(time.Millisecond)) {
			t.Errorf("last use after stopping = %v, want %v", got, used)
		}
	})
}

func TestRunStopsWhileTheDatabaseHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		stop := run(t, w.auth)
		w.login(t, "customer")
		w.store.setAfter(func(ctx context.Context, _ string) { <-ctx.Done() })
		time.Sleep(time.Second)
		began := time.Now()
		stop()
		if took := time.Since(began); took > stopTimeout {
			t.Errorf("stopping took %v", took)
		}
	})
}
