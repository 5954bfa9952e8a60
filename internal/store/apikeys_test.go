package store_test

import (
	"sync"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

func newKey(lookup string) domain.APIKey {
	return domain.APIKey{
		Name: "key " + lookup, Lookup: lookup, LastFour: "abcd", Digest: []byte("digest of " + lookup),
		Scopes: domain.ScopeInstancesRead | domain.ScopeKeysWrite, CreatedAt: at(0), ExpiresAt: at(1000),
	}
}

func addKey(t testing.TB, f *fixture, lookup string) domain.APIKey {
	t.Helper()
	k := newKey(lookup)
	if err := f.mine.CreateAPIKey(t.Context(), &k); err != nil {
		t.Fatal(err)
	}
	return k
}

func TestAPIKeys_CreateAndFind(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		for i, instances := range [][]domain.ID{nil, {}, {f.otherRow.ID, f.account.ID}} {
			k := newKey(string(rune('a' + i)))
			k.Instances = instances
			if err := f.mine.CreateAPIKey(ctx, &k); err != nil {
				t.Fatal(err)
			}
			if k.ID.IsZero() || k.AccountID != f.account.ID || k.CreatedAt != stored(0) || k.ExpiresAt != stored(1000) {
				t.Errorf("not filled in: %+v", k)
			}
			same(t, "by lookup", must[domain.APIKey](t)(f.KeyByLookup(ctx, k.Lookup)), k)
			same(t, "by id", must[domain.APIKey](t)(f.KeyByID(ctx, f.account.ID, k.ID)), k)
		}
		for _, lookup := range []string{"", "A", "aa", "nobody", "a\x00", "\xff", "a' OR '1'='1"} {
			_, err := f.KeyByLookup(ctx, lookup)
			wantCode(t, lookup, err, domain.CodeAPIKeyNotFound)
		}
		for account, id := range map[domain.ID]domain.ID{
			f.account.ID: f.otherKey.ID, {}: f.otherKey.ID, f.otherAccount.ID: {}, domain.NewID(at(0)): f.otherKey.ID,
		} {
			_, err := f.KeyByID(ctx, account, id)
			wantCode(t, "another's id", err, domain.CodeAPIKeyNotFound)
		}
	})
}

func TestAPIKeys_RetryReplacesTheUnseenSecret(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		want := addKey(t, f, "first")
		again := newKey("second")
		again.ID, again.Name = want.ID, "another name"
		if err := f.mine.CreateAPIKey(ctx, &again); err != nil {
			t.Fatal(err)
		}
		want.Lookup, want.Digest = "second", []byte("digest of second")
		same(t, "retried", again, want)
		same(t, "read", must[domain.APIKey](t)(f.KeyByLookup(ctx, "second")), want)
		_, err := f.KeyByLookup(ctx, "first")
		wantCode(t, "the unseen secret", err, domain.CodeAPIKeyNotFound)
	})
}

func TestAPIKeys_Revoke(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		want := addKey(t, f, "a")
		keep := addKey(t, f, "b")
		if err := f.mine.RevokeAPIKey(ctx, want.ID, at(5)); err != nil {
			t.Fatal(err)
		}
		want.RevokedAt = stored(5)
		same(t, "authentication still reads it", must[domain.APIKey](t)(f.KeyByLookup(ctx, "a")), want)
		keys, info, err := f.mine.APIKeys(ctx, domain.PageRequest{Limit: 10})
		if err != nil || info.Total != 1 {
			t.Errorf("total %d, %v", info.Total, err)
		}
		same(t, "listed", keys, []domain.APIKey{keep})

		for what, id := range map[string]domain.ID{"revoked": want.ID, "another's": f.otherKey.ID, "unknown": domain.NewID(at(0)), "zero": {}} {
			wantCode(t, what, f.mine.RevokeAPIKey(ctx, id, at(6)), domain.CodeAPIKeyNotFound)
			_, err := f.mine.RotateAPIKey(ctx, id, domain.KeyRotation{Lookup: "z", Digest: []byte{1}, RotatedAt: at(6)})
			wantCode(t, what, err, domain.CodeAPIKeyNotFound)
		}
		unseen := newKey("c")
		unseen.ID = want.ID
		wantCode(t, "retry of a revoked key", f.mine.CreateAPIKey(ctx, &unseen), domain.CodeAPIKeyNotFound)
	})
}

func TestAPIKeys_Rotate(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		want := addKey(t, f, "a")
		rotate := func(r domain.KeyRotation) {
			t.Helper()
			r.LastFour, r.Digest = "of "+r.Lookup, []byte("digest of "+r.Lookup)
			got := must[domain.APIKey](t)(f.mine.RotateAPIKey(ctx, want.ID, r))
			want.LastFour, want.Digest = r.LastFour, r.Digest
			if r.Lookup != "" {
				want.Lookup = r.Lookup
			}
			same(t, "rotated", got, want)
			same(t, "read", must[domain.APIKey](t)(f.KeyByLookup(ctx, want.Lookup)), want)
		}
		request := domain.NewID(at(0))
		want.PreviousDigest, want.PreviousExpiresAt = want.Digest, stored(10+3600)
		rotate(domain.KeyRotation{Request: request, Lookup: "b", Overlap: time.Hour, RotatedAt: at(10)})
		same(t, "found by the public part that the old secret carries", must[domain.APIKey](t)(f.KeyByLookup(ctx, "a")), want)

		// The same call again: "b" was never seen, the first secret keeps its end.
		rotate(domain.KeyRotation{Request: request, Lookup: "c", Overlap: time.Hour, RotatedAt: at(20)})
		same(t, "still found", must[domain.APIKey](t)(f.KeyByLookup(ctx, "a")), want)
		_, err := f.KeyByLookup(ctx, "b")
		wantCode(t, "the unseen secret", err, domain.CodeAPIKeyNotFound)

		// Another call: the second secret is the one that overlaps now; the public part may also stay.
		want.PreviousDigest, want.PreviousExpiresAt = want.Digest, stored(30+60)
		rotate(domain.KeyRotation{Request: domain.NewID(at(1)), Overlap: time.Minute, RotatedAt: at(30)})
		_, err = f.KeyByLookup(ctx, "a")
		wantCode(t, "the first secret", err, domain.CodeAPIKeyNotFound)

		want.PreviousDigest, want.PreviousExpiresAt = nil, time.Time{}
		rotate(domain.KeyRotation{Lookup: "d", RotatedAt: at(40)}) // no overlap
		_, err = f.KeyByLookup(ctx, "c")
		wantCode(t, "without overlap", err, domain.CodeAPIKeyNotFound)
	})
}

func TestAPIKeys_Touch(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		a, b := addKey(t, f, "a"), addKey(t, f, "b")
		touch := func(uses map[domain.ID]domain.KeyUse) {
			t.Helper()
			if err := f.TouchKeys(ctx, uses); err != nil {
				t.Fatal(err)
			}
		}
		touch(nil)
		touch(map[domain.ID]domain.KeyUse{
			a.ID:                 {AccountID: f.account.ID, At: at(7)},
			b.ID:                 {AccountID: f.account.ID, At: at(8)},
			f.otherKey.ID:        {AccountID: f.account.ID, At: at(9)}, // not that account's key
			domain.NewID(at(0)):  {AccountID: f.account.ID, At: at(9)},
			domain.NewID(at(10)): {At: at(9)},
		})
		a.LastUsedAt, b.LastUsedAt = stored(7), stored(8)
		touch(map[domain.ID]domain.KeyUse{a.ID: {AccountID: f.account.ID, At: at(6)}}) // late news
		same(t, "a", must[domain.APIKey](t)(f.KeyByLookup(ctx, "a")), a)
		same(t, "b", must[domain.APIKey](t)(f.KeyByLookup(ctx, "b")), b)
		_, _, complete, err := f.AuthChanges(ctx, 0)
		if err != nil || !complete {
			t.Errorf("complete %v, %v", complete, err)
		}
	})
}

// Two nodes record overlapping sets of keys at once.
func TestAPIKeys_TouchConcurrently(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		uses := map[domain.ID]domain.KeyUse{}
		for _, l := range []string{"a", "b", "c", "d", "e"} {
			uses[addKey(t, f, l).ID] = domain.KeyUse{AccountID: f.account.ID, At: at(1)}
		}
		var nodes sync.WaitGroup
		for range 4 {
			nodes.Go(func() {
				for range 10 {
					if err := f.TouchKeys(t.Context(), uses); err != nil {
						t.Error(err)
					}
				}
			})
		}
		nodes.Wait()
	})
}

// changes is what AuthChanges answers.
type changes struct {
	accounts []domain.ID
	version  int64
	complete bool
}

func changesAfter(t testing.TB, f *fixture, version int64) (c changes) {
	t.Helper()
	var err error
	if c.accounts, c.version, c.complete, err = f.AuthChanges(t.Context(), version); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAuthChanges(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		start := changesAfter(t, f, 0)
		if !start.complete || start.version == 0 || len(start.accounts) != 2 {
			t.Fatalf("at first: %+v", start)
		}
		key := addKey(t, f, "a")
		rotate := func(digest byte) error {
			_, err := f.mine.RotateAPIKey(ctx, key.ID, domain.KeyRotation{RotatedAt: at(0), Digest: []byte{digest}})
			return err
		}
		update := func(p domain.AccountPatch) error {
			_, err := f.mine.Update(ctx, p, at(0))
			return err
		}
		version := start.version + 1
		for _, c := range []struct {
			name string
			make func() error
		}{
			{"create a key", func() error { k := newKey("b"); return f.mine.CreateAPIKey(ctx, &k) }},
			{"retry it", func() error { k := newKey("c"); k.ID = key.ID; return f.mine.CreateAPIKey(ctx, &k) }},
			{"rotate a key", func() error { return rotate(1) }},
			{"rotate it again", func() error { return rotate(2) }},
			{"revoke a key", func() error { return f.mine.RevokeAPIKey(ctx, key.ID, at(0)) }},
			{"update", func() error { return update(domain.AccountPatch{Name: new("n")}) }},
			{"change origins", func() error { return update(domain.AccountPatch{AllowedOrigins: &[]string{"https://o"}}) }},
			{"set", func() error {
				_, err := f.SetAccount(ctx, f.account.ID, domain.AccountAdminPatch{Plan: new("p")}, at(0))
				return err
			}},
		} {
			if err := c.make(); err != nil {
				t.Fatal(c.name, err)
			}
			got := changesAfter(t, f, version)
			version++
			if !got.complete || got.version != version {
				t.Errorf("%s: %+v, want version %d", c.name, got, version)
			}
			same(t, c.name, got.accounts, []domain.ID{f.account.ID})
		}
		all := changesAfter(t, f, start.version)
		if !all.complete || all.version != version {
			t.Errorf("all: %+v", all)
		}
		same(t, "each account once", all.accounts, []domain.ID{f.account.ID})
		if now := changesAfter(t, f, version); !now.complete || len(now.accounts) > 0 {
			t.Errorf("nothing new: %+v", now)
		}
		// Ahead of the database, which was restored from a backup: purge everything.
		if ahead := changesAfter(t, f, version+5); ahead.complete {
			t.Errorf("ahead: %+v", ahead)
		}
	})
}

// Whoever has seen a version has seen every change up to it, also while many change at once.
func TestAuthChanges_NeverMissesOne(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		const writers, updates = 4, 15
		var writing sync.WaitGroup
		for w := range writers {
			_, account := f.addAccount(t, string(rune('a'+w)))
			writing.Go(func() {
				for i := range updates {
					if _, err := account.Update(ctx, domain.AccountPatch{ExternalID: new(string(rune('a' + i)))}, at(0)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		done := make(chan struct{})
		go func() { writing.Wait(); close(done) }() // ends with the writers
		var seen int64
		for last := false; !last; {
			select {
			case <-done:
				last = true
			default:
			}
			got := changesAfter(t, f, seen)
			if !got.complete || got.version > seen && len(got.accounts) == 0 {
				t.Fatalf("after %d: %+v", seen, got)
			}
			seen = got.version
		}
		if all := changesAfter(t, f, 0); len(all.accounts) != 2+writers || all.version != seen {
			t.Errorf("in the end: %+v after %d", all, seen)
		}
	})
}

func TestSigningKeys(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		first := domain.SigningKey{ID: "k1", Public: []byte("public"), Sealed: []byte("sealed"), CreatedAt: stored(0), ActivatesAt: stored(60)}
		second := domain.SigningKey{ID: "k2", Public: []byte("public2"), Sealed: []byte("sealed2"), CreatedAt: stored(100), ActivatesAt: stored(160)}
		third := domain.SigningKey{ID: "k3", Public: []byte("public3"), Sealed: []byte("sealed3"), CreatedAt: stored(200), ActivatesAt: stored(260)}
		for _, step := range []struct {
			key    domain.SigningKey
			retire time.Time
		}{{first, at(1)}, {second, at(300)}, {third, at(400)}} {
			if err := f.AddSigningKey(ctx, step.key, step.retire); err != nil {
				t.Fatal(err)
			}
		}
		first.RetiresAt, second.RetiresAt = stored(300), stored(400)
		same(t, "keys", must[[]domain.SigningKey](t)(f.SigningKeys(ctx)), []domain.SigningKey{first, second, third})
	})
}
