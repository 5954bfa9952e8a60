package auth

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pombal-api/pombal/internal/domain"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeStore keeps rows in memory with the store's rules: what is asked for by one who may not have it
// is not found, and every change of a key or an account gets the next version.
type fakeStore struct {
	mu        sync.Mutex
	accounts  map[domain.ID]domain.Account
	keys      map[domain.ID]domain.APIKey
	instances map[domain.ID]domain.Instance
	signing   []domain.SigningKey
	previous  map[string]domain.ID // keys by the lookup before their last rotation
	changes   []domain.ID          // the account of version i+1
	forgotten int64                // versions up to this are no longer on record
	uses      []map[domain.ID]domain.KeyUse

	calls map[string]int
	down  error                                    // what every call fails with
	after func(ctx context.Context, method string) // called when a read has its answer and has not returned it yet
}

func newFakeStore() *fakeStore {
	return &fakeStore{
		accounts: map[domain.ID]domain.Account{}, keys: map[domain.ID]domain.APIKey{},
		instances: map[domain.ID]domain.Instance{}, previous: map[string]domain.ID{}, calls: map[string]int{},
	}
}

// read runs get under the lock, counts the call, and gives tests a place to interfere.
func read[T any](ctx context.Context, s *fakeStore, method string, get func() (T, error)) (T, error) {
	s.mu.Lock()
	s.calls[method]++
	value, err := get()
	if s.down != nil {
		err = domain.Unavailable(s.down)
	}
	after := s.after
	s.mu.Unlock()
	if after != nil {
		after(ctx, method)
	}
	if ctx.Err() != nil {
		err = domain.Unavailable(ctx.Err())
	}
	return value, err
}

func (s *fakeStore) KeyByLookup(ctx context.Context, lookup string) (domain.APIKey, error) {
	return read(ctx, s, "KeyByLookup", func() (domain.APIKey, error) {
		for _, key := range s.keys {
			if key.Lookup == lookup {
				return key, nil
			}
		}
		if key, ok := s.keys[s.previous[lookup]]; ok {
			return key, nil
		}
		return domain.APIKey{}, domain.APIKeyNotFound()
	})
}

func (s *fakeStore) KeyByID(ctx context.Context, account, id domain.ID) (domain.APIKey, error) {
	return read(ctx, s, "KeyByID", func() (domain.APIKey, error) {
		if key, ok := s.keys[id]; ok && key.AccountID == account {
			return key, nil
		}
		return domain.APIKey{}, domain.APIKeyNotFound()
	})
}

func (s *fakeStore) AccountByID(ctx context.Context, id domain.ID) (domain.Account, error) {
	return read(ctx, s, "AccountByID", func() (domain.Account, error) {
		if account, ok := s.accounts[id]; ok {
			return account, nil
		}
		return domain.Account{}, domain.AccountNotFound()
	})
}

func (s *fakeStore) InstanceByToken(ctx context.Context, digest []byte) (domain.Instance, error) {
	return read(ctx, s, "InstanceByToken", func() (domain.Instance, error) {
		for _, instance := range s.instances {
			if bytes.Equal(instance.TokenDigest, digest) {
				return instance, nil
			}
		}
		return domain.Instance{}, domain.InstanceNotFound()
	})
}

func (s *fakeStore) TouchKeys(ctx context.Context, uses map[domain.ID]domain.KeyUse) error {
	_, err := read(ctx, s, "TouchKeys", func() (struct{}, error) {
		if s.down == nil {
			s.uses = append(s.uses, uses)
			for id, use := range uses {
				if key, ok := s.keys[id]; ok && key.AccountID == use.AccountID {
					key.LastUsedAt = use.At
					s.keys[id] = key
				}
			}
		}
		return struct{}{}, nil
	})
	return err
}

func (s *fakeStore) AuthChanges(ctx context.Context, after int64) ([]domain.ID, int64, bool, error) {
	type answer struct {
		accounts []domain.ID
		version  int64
		complete bool
	}
	a, err := read(ctx, s, "AuthChanges", func() (answer, error) {
		version := int64(len(s.changes))
		if after < s.forgotten {
			return answer{nil, version, false}, nil
		}
		return answer{slices.Clone(s.changes[min(after, version):]), version, true}, nil
	})
	return a.accounts, a.version, a.complete, err
}

func (s *fakeStore) SigningKeys(ctx context.Context) ([]domain.SigningKey, error) {
	return read(ctx, s, "SigningKeys", func() ([]domain.SigningKey, error) { return slices.Clone(s.signing), nil })
}

func (s *fakeStore) AddSigningKey(ctx context.Context, key domain.SigningKey, retirePreviousAt time.Time) error {
	_, err := read(ctx, s, "AddSigningKey", func() (struct{}, error) {
		if s.down == nil {
			for i := range s.signing {
				if s.signing[i].RetiresAt.IsZero() {
					s.signing[i].RetiresAt = retirePreviousAt
				}
			}
			s.signing = append(s.signing, key)
		}
		return struct{}{}, nil
	})
	return err
}

func (s *fakeStore) count(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[method]
}

// total counts the calls that a request may cause: all but the background's.
func (s *fakeStore) total() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for method, calls := range s.calls {
		if method != "AuthChanges" && method != "TouchKeys" {
			n += calls
		}
	}
	return n
}

func (s *fakeStore) setDown(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = err
}

func (s *fakeStore) setAfter(f func(context.Context, string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.after = f
}

// changeKey and changeAccount change a row and record it, in one transaction as it were.
func (s *fakeStore) changeKey(id domain.ID, change func(*domain.APIKey)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := s.keys[id]
	change(&key)
	s.keys[id] = key
	s.changes = append(s.changes, key.AccountID)
}

func (s *fakeStore) rotate(id domain.ID, fresh domain.NewKeySecret, overlap time.Duration) {
	s.changeKey(id, func(k *domain.APIKey) {
		s.previous[k.Lookup] = id
		k.PreviousDigest, k.PreviousExpiresAt = k.Digest, time.Now().Add(overlap)
		k.Lookup, k.Digest = fresh.Lookup, fresh.Digest
	})
}

func (s *fakeStore) changeAccount(id domain.ID, change func(*domain.Account)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	account := s.accounts[id]
	change(&account)
	s.accounts[id] = account
	s.changes = append(s.changes, id)
}

// testSealer binds to its place, which is all that the tests here want of sealing. Its key stands for
// the operator's secret.
type testSealer struct{ key string }

func (t testSealer) Seal(plain, ad []byte) []byte {
	return slices.Concat([]byte(t.key), ad, []byte("\x00"), plain)
}

func (t testSealer) Open(sealed, ad []byte) ([]byte, error) {
	plain, ok := bytes.CutPrefix(sealed, slices.Concat([]byte(t.key), ad, []byte("\x00")))
	if !ok {
		return nil, errors.New("does not open")
	}
	return plain, nil
}

// world is a store with a customer, a partner with two children, a second partner with one child, and
// a key for each of them.
type world struct {
	store *fakeStore
	auth  *Authenticator
	ids   map[string]domain.ID // accounts and instances by name
	keys  map[string]testKey   // by the name of the account
}

type testKey struct {
	id    domain.ID
	plain string
}

func testPepper() []byte { return bytes.Repeat([]byte("pepper-0"), 4) }

func testConfig() Config {
	return Config{Pepper: testPepper(), Issuer: "https://pombal.test", Audience: "pombal"}
}

func newWorld(tb testing.TB) *world {
	tb.Helper()
	w := &world{store: newFakeStore(), ids: map[string]domain.ID{}, keys: map[string]testKey{}}
	for _, a := range []struct {
		name, parent string
		partner      bool
	}{
		{"customer", "", false}, {"partner", "", true}, {"child-1", "partner", false}, {"child-2", "partner", false},
		{"rival", "", true}, {"rival-child", "rival", false},
	} {
		id := domain.NewID(time.Now())
		w.ids[a.name] = id
		w.store.accounts[id] = domain.Account{
			ID: id, ParentID: w.ids[a.parent], Name: a.name, Status: domain.AccountActive, Partner: a.partner,
		}
		w.addKey(a.name, a.name, func(*domain.APIKey) {})
	}
	for _, name := range []string{"inst-a", "inst-b", "inst-c"} {
		w.ids[name] = domain.NewID(time.Now())
	}
	w.auth = w.node(tb)
	return w
}

// node returns another Authenticator over the same store.
func (w *world) node(tb testing.TB) *Authenticator {
	tb.Helper()
	a, err := New(testConfig(), w.store, testSealer{"s1"})
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// addKey gives the account a key, remembered under name.
func (w *world) addKey(name, account string, change func(*domain.APIKey)) testKey {
	fresh := NewKey(testPepper())
	key := domain.APIKey{
		ID: domain.NewID(time.Now()), AccountID: w.ids[account], Name: name, Lookup: fresh.Lookup,
		LastFour: fresh.LastFour, Digest: fresh.Digest, Scopes: domain.AllScopes, CreatedAt: time.Now(),
	}
	change(&key)
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	w.store.keys[key.ID] = key
	w.keys[name] = testKey{key.ID, fresh.Plain}
	return w.keys[name]
}

// addInstance gives the account an instance that is found by token.
func (w *world) addInstance(name, account, token string) domain.ID {
	id := w.ids[name]
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	w.store.instances[id] = domain.Instance{
		ID: id, AccountID: w.ids[account], Name: name, TokenDigest: InstanceTokenDigest(testPepper(), token),
	}
	return id
}

// login returns the principal of the key.
func (w *world) login(tb testing.TB, key string) *domain.Principal {
	tb.Helper()
	p, err := w.auth.Bearer(tb.Context(), w.keys[key].plain)
	if err != nil {
		tb.Fatalf("key of %s: %v", key, err)
	}
	return p
}

// mint returns a token of the key.
func (w *world) mint(tb testing.TB, key string, req domain.TokenRequest) domain.TokenGrant {
	tb.Helper()
	grant, err := w.auth.Mint(tb.Context(), w.login(tb, key), req)
	if err != nil {
		tb.Fatalf("mint with key of %s: %v", key, err)
	}
	return grant
}

// run runs the Authenticator until the returned function, which also waits for its end.
func run(tb testing.TB, a *Authenticator) (stop func()) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- a.Run(ctx) }()
	return func() {
		tb.Helper()
		cancel()
		if err := <-done; err != nil {
			tb.Errorf("Run: %v", err)
		}
	}
}

// wantCode fails unless err carries the code; "" is for no error.
func wantCode(tb testing.TB, err error, code domain.Code) {
	tb.Helper()
	if code == "" {
		if err != nil {
			tb.Fatalf("error = %v, want none", err)
		}
		return
	}
	if err == nil || domain.CodeOf(err) != code {
		tb.Fatalf("error = %v, want %s", err, code)
	}
}
