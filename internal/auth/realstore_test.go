package auth_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/auth"
	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/seal"
	"github.com/pombal-api/pombal/internal/store"
	"github.com/pombal-api/pombal/internal/testkit"
)

// site is a real database with two nodes on it, a partner and its child.
type site struct {
	stores         []*store.Store
	nodes          []*auth.Authenticator
	stop           []func()
	partner, child domain.Account
}

func pepper() []byte { return bytes.Repeat([]byte("pepper-0"), 4) }

// openSite opens one store for each node; SQLite, which one process serves, has one for both.
func openSite(tb testing.TB, engine testkit.Engine) *site {
	tb.Helper()
	db := engine.New(tb)
	s := &site{}
	for i := range 2 {
		if i == 0 || db.URL != "" {
			s.stores = append(s.stores, openStore(tb, db))
		}
		s.nodes = append(s.nodes, newNode(tb, s.stores[len(s.stores)-1]))
	}
	s.partner = domain.Account{Name: "Partner", Plan: "free", Status: domain.AccountActive, Partner: true}
	if err := s.stores[0].CreateAccount(tb.Context(), &s.partner); err != nil {
		tb.Fatal(err)
	}
	s.child = domain.Account{Name: "Child", Plan: "free", Status: domain.AccountActive, ParentID: s.partner.ID}
	if err := s.stores[0].CreateAccount(tb.Context(), &s.child); err != nil {
		tb.Fatal(err)
	}
	return s
}

func openStore(tb testing.TB, db testkit.Database) *store.Store {
	tb.Helper()
	st, err := store.Open(tb.Context(), store.Config{URL: db.URL, DataDir: db.Dir})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := st.Close(); err != nil {
			tb.Error(err)
		}
	})
	if err := st.Migrate(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return st
}

func newNode(tb testing.TB, st *store.Store) *auth.Authenticator {
	tb.Helper()
	secret := []byte("0Zk3-jvT,9qLw.Xr5~b7Yd#m2Pc+eU8Ns")
	sealer, err := seal.New(secret)
	if err != nil {
		tb.Fatal(err)
	}
	a, err := auth.New(auth.Config{Pepper: pepper(), Issuer: "https://pombal.test", Audience: "pombal"}, st, sealer)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// start runs the nodes until stopAll, or the end of the test.
func (s *site) start(tb testing.TB) {
	tb.Helper()
	for _, a := range s.nodes {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { // waited for by stopAll
			defer close(done)
			if err := a.Run(ctx); err != nil {
				tb.Errorf("Run: %v", err)
			}
		}()
		s.stop = append(s.stop, func() { cancel(); <-done })
	}
	tb.Cleanup(s.stopAll)
}

func (s *site) stopAll() {
	for _, stop := range s.stop {
		stop()
	}
	s.stop = nil
}

func (s *site) account(tb testing.TB, id domain.ID) *store.Account {
	tb.Helper()
	a, err := s.stores[0].Account(id)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// addKey gives the account a key and returns its secret.
func (s *site) addKey(tb testing.TB, account domain.ID) (domain.APIKey, string) {
	tb.Helper()
	fresh := auth.NewKey(pepper())
	key := domain.APIKey{
		Name: "test", Lookup: fresh.Lookup, LastFour: fresh.LastFour, Digest: fresh.Digest, Scopes: domain.AllScopes,
	}
	if err := s.account(tb, account).CreateAPIKey(tb.Context(), &key); err != nil {
		tb.Fatal(err)
	}
	return key, fresh.Plain
}

// everywhere fails unless every node answers the credential with code ("" for letting it in).
func (s *site) everywhere(tb testing.TB, what, credential string, code domain.Code) {
	tb.Helper()
	for i, a := range s.nodes {
		if _, err := a.Bearer(tb.Context(), credential); err == nil && code != "" || err != nil && domain.CodeOf(err) != code {
			tb.Errorf("%s: node %d: error = %v, want %q", what, i, err, code)
		}
	}
}

// within fails unless every node answers the credential with code before the time is over.
func (s *site) within(tb testing.TB, limit time.Duration, what, credential string, code domain.Code) {
	tb.Helper()
	began := time.Now()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for i, a := range s.nodes {
		for {
			_, err := a.Bearer(tb.Context(), credential)
			if err == nil && code == "" || err != nil && domain.CodeOf(err) == code {
				break
			}
			if time.Since(began) > limit {
				tb.Fatalf("%s: node %d: error = %v after %v, want %q", what, i, err, limit, code)
			}
			<-tick.C
		}
	}
	tb.Logf("%s: seen everywhere after %v", what, time.Since(began).Round(time.Millisecond))
}

func TestOverRealDatabases(t *testing.T) {
	t.Parallel()
	for _, engine := range testkit.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			s := openSite(t, engine)
			s.start(t)
			key, plain := s.addKey(t, s.child.ID)
			partnerKey, partnerPlain := s.addKey(t, s.partner.ID)
			s.everywhere(t, "fresh key", plain, "")

			p, err := s.nodes[0].Bearer(t.Context(), plain)
			if err != nil {
				t.Fatal(err)
			}
			grant, err := s.nodes[0].Mint(t.Context(), p, domain.TokenRequest{})
			if err != nil {
				t.Fatal(err)
			}
			s.everywhere(t, "its token, signed by node 0", grant.Token, "")
			s.checkOnBehalf(t, partnerPlain)

			at := time.Now()
			suspended, active := domain.AccountSuspended, domain.AccountActive
			for _, step := range []struct {
				what   string
				status domain.AccountStatus
				code   domain.Code
			}{
				{"suspended partner", suspended, domain.CodeInsufficient}, {"active partner", active, ""},
			} {
				patch := domain.AccountPatch{Status: &step.status}
				if _, err = s.account(t, s.partner.ID).Update(t.Context(), patch, at); err != nil {
					t.Fatal(err)
				}
				s.within(t, time.Second, step.what+", key of the child", plain, step.code)
				s.within(t, time.Second, step.what+", token of the child", grant.Token, step.code)
			}

			fresh := s.rotate(t, key, time.Hour)
			s.within(t, time.Second, "rotated key", fresh, "")
			s.everywhere(t, "its former secret", plain, "")
			last := s.rotate(t, key, 0)
			s.within(t, time.Second, "rotated key without overlap", last, "")
			s.within(t, time.Second, "its former secret", fresh, domain.CodeInvalidAPIKey)

			if err = s.account(t, s.child.ID).RevokeAPIKey(t.Context(), key.ID, at); err != nil {
				t.Fatal(err)
			}
			s.within(t, time.Second, "revoked key", last, domain.CodeInvalidAPIKey)
			s.within(t, time.Second, "token of the revoked key", grant.Token, domain.CodeInvalidAPIKey)
			s.everywhere(t, "another account's key", partnerPlain, "")

			s.stopAll()
			used, err := s.stores[0].KeyByID(t.Context(), s.partner.ID, partnerKey.ID)
			if err != nil || used.LastUsedAt.Before(at.Add(-time.Minute)) {
				t.Errorf("last use = %v, %v", used.LastUsedAt, err)
			}
		})
	}
}

// rotate gives the key a new secret and returns it.
func (s *site) rotate(t *testing.T, key domain.APIKey, overlap time.Duration) string {
	t.Helper()
	fresh := auth.KeyWithLookup(pepper(), key.Lookup)
	_, err := s.account(t, key.AccountID).RotateAPIKey(t.Context(), key.ID, domain.KeyRotation{
		Request: domain.NewID(time.Now()), Lookup: fresh.Lookup, LastFour: fresh.LastFour, Digest: fresh.Digest,
		Overlap: overlap, RotatedAt: time.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return fresh.Plain
}

func (s *site) checkOnBehalf(t *testing.T, partnerPlain string) {
	t.Helper()
	p, err := s.nodes[0].Bearer(t.Context(), partnerPlain)
	if err != nil {
		t.Fatal(err)
	}
	acting, err := s.nodes[0].OnBehalf(t.Context(), p, s.child.ID.Prefixed("acct"), false)
	if err != nil || acting.Account.ID != s.child.ID || acting.Actor.ID != s.partner.ID {
		t.Errorf("on behalf of the child: %+v, %v", acting, err)
	}
	_, err = s.nodes[0].OnBehalf(t.Context(), p, s.partner.ID.Prefixed("acct"), false)
	if domain.CodeOf(err) != domain.CodeAccountNotFound {
		t.Errorf("on behalf of itself: %v", err)
	}
}

func TestInstanceTokensOverRealDatabases(t *testing.T) {
	t.Parallel()
	for _, engine := range testkit.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			s := openSite(t, engine)
			s.start(t)
			token, instance := s.addInstance(t)
			for _, a := range s.nodes {
				p, found, err := a.APIKeyHeader(t.Context(), token)
				if err != nil {
					t.Fatal(err)
				}
				if found.ID != instance.ID || p.Account.ID != s.child.ID || !p.MaySee(instance.ID) || !p.Restricted() {
					t.Errorf("principal %+v, instance %+v", p, found)
				}
			}
			if _, err := s.account(t, s.child.ID).DeleteInstance(t.Context(), instance.ID, 0); err != nil {
				t.Fatal(err)
			}
			for _, a := range s.nodes {
				if _, _, err := a.APIKeyHeader(t.Context(), token); domain.CodeOf(err) != domain.CodeInvalidAPIKey {
					t.Errorf("after the deletion: %v", err)
				}
			}
		})
	}
}

// addInstance gives the child an instance that is found by its token.
func (s *site) addInstance(tb testing.TB) (string, domain.Instance) {
	tb.Helper()
	token := auth.NewInstanceToken()
	instance := domain.Instance{
		Name: "shop", Integration: domain.IntegrationWeb, Desired: domain.DesiredDisconnected,
		Status: domain.StatusDisconnected, TokenDigest: auth.InstanceTokenDigest(pepper(), token),
	}
	if err := s.account(tb, s.child.ID).CreateInstance(tb.Context(), &instance, 0); err != nil {
		tb.Fatal(err)
	}
	return token, instance
}

// TestFirstSigningKeyOverRealDatabases has both nodes mint at once on a database without a key.
func TestFirstSigningKeyOverRealDatabases(t *testing.T) {
	t.Parallel()
	for _, engine := range testkit.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			s := openSite(t, engine)
			_, plain := s.addKey(t, s.child.ID)
			tokens := make(chan string, len(s.nodes))
			for _, a := range s.nodes {
				go func() {
					var grant domain.TokenGrant
					p, err := a.Bearer(t.Context(), plain)
					if err == nil {
						grant, err = a.Mint(t.Context(), p, domain.TokenRequest{})
					}
					if err != nil {
						t.Error(err)
					}
					tokens <- grant.Token
				}()
			}
			for range s.nodes {
				s.everywhere(t, "token of the race", <-tokens, "")
			}
			if err := s.nodes[0].RotateSigningKey(t.Context()); err != nil {
				t.Fatal(err)
			}
			keys, err := s.stores[0].SigningKeys(t.Context())
			if err != nil || len(keys) < 2 {
				t.Fatalf("%d keys, %v", len(keys), err)
			}
			newest, live := keys[len(keys)-1], 0
			for _, key := range keys {
				if key.RetiresAt.IsZero() {
					live++
				}
			}
			if live != 1 || !newest.RetiresAt.IsZero() || newest.ActivatesAt.Sub(newest.CreatedAt) != 5*time.Minute {
				t.Errorf("keys after a rotation: %+v", keys)
			}
		})
	}
}

// BenchmarkInstanceToken is why instances found by their token are not kept in memory.
func BenchmarkInstanceToken(b *testing.B) {
	for _, engine := range testkit.Engines() {
		b.Run(engine.Name, func(b *testing.B) {
			s := openSite(b, engine)
			s.start(b)
			token, _ := s.addInstance(b)
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := s.nodes[0].APIKeyHeader(b.Context(), token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
