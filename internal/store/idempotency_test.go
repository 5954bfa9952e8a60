package store_test

import (
	"sync"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

func claim(key string, resource byte) domain.IdempotencyClaim {
	return domain.IdempotencyClaim{
		Key: key, Fingerprint: [32]byte{1}, Resource: domain.ID{resource}, LockFor: time.Minute, KeepFor: time.Hour,
	}
}

func TestIdempotency_Lifecycle(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		ask := func(what string, c domain.IdempotencyClaim, want domain.IdempotencyResult) {
			t.Helper()
			same(t, what, must[domain.IdempotencyResult](t)(f.mine.ClaimIdempotency(ctx, c)), want)
		}
		ask("first", claim("k", 1), domain.IdempotencyResult{State: domain.IdempotencyClaimed, Resource: domain.ID{1}})
		ask("meanwhile", claim("k", 2), domain.IdempotencyResult{State: domain.IdempotencyInProgress, Resource: domain.ID{1}})
		ask("another key", claim("K", 3), domain.IdempotencyResult{State: domain.IdempotencyClaimed, Resource: domain.ID{3}})
		other := claim("k", 4)
		other.Fingerprint = [32]byte{2}
		ask("another request", other, domain.IdempotencyResult{State: domain.IdempotencyMismatch, Resource: domain.ID{1}})
		if got := must[domain.IdempotencyResult](t)(f.other.ClaimIdempotency(ctx, claim("k", 5))); got.State != domain.IdempotencyClaimed {
			t.Errorf("another account's key: %+v", got)
		}

		answer := domain.StoredAnswer{Status: 201, Header: map[string]string{"Location": "/v1/instances/x"}, Sealed: []byte("sealed\x00")}
		finish := func(c domain.IdempotencyClaim, resource byte, a domain.StoredAnswer) {
			t.Helper()
			if err := f.mine.FinishIdempotency(ctx, c.Key, c.Fingerprint, domain.ID{resource}, a); err != nil {
				t.Fatal(err)
			}
		}
		finish(claim("k", 1), 9, domain.StoredAnswer{Status: 500}) // not that claim's resource: nothing
		finish(other, 1, domain.StoredAnswer{Status: 500})         // not that claim's request
		finish(claim("unknown", 1), 1, domain.StoredAnswer{Status: 500})
		finish(claim("k", 1), 1, answer)
		finish(claim("k", 1), 1, domain.StoredAnswer{Status: 500}) // the first to finish has won
		replay := domain.IdempotencyResult{State: domain.IdempotencyReplay, Resource: domain.ID{1}, Answer: answer}
		ask("finished", claim("k", 6), replay)
		ask("another request, finished", other, domain.IdempotencyResult{State: domain.IdempotencyMismatch, Resource: domain.ID{1}})
		if err := f.mine.ReleaseIdempotency(ctx, "k", [32]byte{1}, domain.ID{1}); err != nil {
			t.Fatal(err)
		}
		ask("a finished one stays", claim("k", 6), replay)

		if err := f.mine.ReleaseIdempotency(ctx, "K", [32]byte{1}, domain.ID{3}); err != nil {
			t.Fatal(err)
		}
		ask("released", claim("K", 7), domain.IdempotencyResult{State: domain.IdempotencyClaimed, Resource: domain.ID{3}})
		if err := f.mine.ForgetIdempotency(ctx, "k", [32]byte{1}, domain.ID{1}); err != nil {
			t.Fatal(err)
		}
		ask("a finished one is not forgotten", claim("k", 6), replay)
		ask("and claimed again", claim("K", 8), domain.IdempotencyResult{State: domain.IdempotencyInProgress, Resource: domain.ID{3}})
		if err := f.mine.ForgetIdempotency(ctx, "K", [32]byte{1}, domain.ID{3}); err != nil {
			t.Fatal(err)
		}
		corrected := claim("K", 9)
		corrected.Fingerprint = [32]byte{9}
		ask("forgotten, for another request", corrected, domain.IdempotencyResult{State: domain.IdempotencyClaimed, Resource: domain.ID{9}})
		if got := must[domain.IdempotencyResult](t)(f.other.ClaimIdempotency(ctx, claim("k", 8))); got.State != domain.IdempotencyInProgress {
			t.Errorf("the other account's claim was touched: %+v", got)
		}
	})
}

func TestIdempotency_TakeOver(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		// Whoever claimed it is dead: go on with the resource that it may have made.
		dead := claim("k", 1)
		dead.LockFor = -time.Second
		must[domain.IdempotencyResult](t)(f.mine.ClaimIdempotency(ctx, dead))
		want := domain.IdempotencyResult{State: domain.IdempotencyClaimed, Resource: domain.ID{1}}
		same(t, "taken over", must[domain.IdempotencyResult](t)(f.mine.ClaimIdempotency(ctx, claim("k", 2))), want)
		want.State = domain.IdempotencyInProgress
		same(t, "and locked", must[domain.IdempotencyResult](t)(f.mine.ClaimIdempotency(ctx, claim("k", 3))), want)

		// Expired: as if it had never been, also for another request.
		old := claim("e", 1)
		old.KeepFor = -time.Second
		must[domain.IdempotencyResult](t)(f.mine.ClaimIdempotency(ctx, old))
		if err := f.mine.FinishIdempotency(ctx, "e", old.Fingerprint, domain.ID{1}, domain.StoredAnswer{Status: 201}); err != nil {
			t.Fatal(err)
		}
		fresh := claim("e", 2)
		fresh.Fingerprint = [32]byte{7}
		want = domain.IdempotencyResult{State: domain.IdempotencyClaimed, Resource: domain.ID{2}}
		same(t, "expired", must[domain.IdempotencyResult](t)(f.mine.ClaimIdempotency(ctx, fresh)), want)
		want.State = domain.IdempotencyInProgress
		same(t, "claimed anew", must[domain.IdempotencyResult](t)(f.mine.ClaimIdempotency(ctx, fresh)), want)
	})
}

func TestIdempotency_OneOfManyWins(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		var calls sync.WaitGroup
		results := make([]domain.IdempotencyResult, 12)
		for i := range results {
			calls.Go(func() {
				got, err := f.mine.ClaimIdempotency(t.Context(), claim("k", byte(i+1)))
				if err != nil {
					t.Error(err)
				}
				results[i] = got
			})
		}
		calls.Wait()
		won := 0
		for i, r := range results {
			if r.State == domain.IdempotencyClaimed {
				won++
				same(t, "the winner's resource", r.Resource, domain.ID{byte(i + 1)})
			} else if r.State != domain.IdempotencyInProgress || r.Resource != results[0].Resource && r.Resource.IsZero() {
				t.Errorf("a loser got %+v", r)
			}
		}
		if won != 1 {
			t.Errorf("%d calls won", won)
		}
	})
}

func TestSweep(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		for i := range 3 {
			old := claim(string(rune('a'+i)), 1)
			old.KeepFor = -time.Duration(i+1) * time.Minute
			must[domain.IdempotencyResult](t)(f.mine.ClaimIdempotency(ctx, old))
		}
		must[domain.IdempotencyResult](t)(f.other.ClaimIdempotency(ctx, claim("kept", 1)))
		must[[]domain.RateGrant](t)(f.LeaseRate(ctx, []domain.RateLease{{Bucket: "b", Limit: 5, Want: 5}}))
		execSQL(t, f, ageSQL(f.Dialect()))
		if n, err := f.Sweep(ctx); err != nil || n < 3+3 {
			t.Errorf("removed %d, %v", n, err)
		}
		if n, err := f.Sweep(ctx); err != nil || n != 0 {
			t.Errorf("then removed %d, %v", n, err)
		}
		kept := must[domain.IdempotencyResult](t)(f.other.ClaimIdempotency(ctx, claim("kept", 1)))
		if kept.State != domain.IdempotencyInProgress {
			t.Errorf("a live key was swept: %+v", kept)
		}
		// Whoever is behind what was swept must purge everything; whoever is not goes on.
		behind := changesAfter(t, f, 0)
		if behind.complete {
			t.Errorf("behind: %+v", behind)
		}
		addKey(t, f, "new")
		if next := changesAfter(t, f, behind.version); !next.complete || len(next.accounts) != 1 {
			t.Errorf("next: %+v", next)
		}
	})
}

// ageSQL makes all recorded changes and windows two hours old.
func ageSQL(dialect string) []string {
	if dialect == "sqlite" {
		return []string{"UPDATE auth_changes SET changed_at = changed_at - 7200000"}
	}
	return []string{
		"UPDATE auth_changes SET changed_at = changed_at - interval '2 hours'",
		"UPDATE rate_windows SET window_start = window_start - interval '2 hours'",
	}
}

func TestSweep_ManyBatches(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		insert := `INSERT INTO idempotency_keys (account_id, key, resource_id, locked_until, expires_at, status, fingerprint)
			SELECT a.id, 'k' || s.i, a.id, a.created_at, a.created_at, 0, a.name
			FROM accounts a, (WITH RECURSIVE s (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 1200) SELECT i FROM s) AS s
			WHERE a.name = 'mine'`
		if f.Dialect() == "postgres" {
			insert = `INSERT INTO idempotency_keys (account_id, key, resource_id, locked_until, expires_at, status, fingerprint)
				SELECT a.id, 'k' || i, a.id, a.created_at, a.created_at - i * interval '1 second', 0, '\x00'
				FROM accounts a, generate_series(1, 1200) i WHERE a.name = 'mine'`
		}
		execSQL(t, f, []string{insert})
		if n, err := f.Sweep(t.Context()); err != nil || n != 1200 {
			t.Errorf("removed %d, %v", n, err)
		}
	})
}
