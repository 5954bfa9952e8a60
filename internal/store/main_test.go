package store_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/store"
	"github.com/pombal-api/pombal/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// onEngines runs a test on each engine, each time with two accounts in a migrated database.
func onEngines(t *testing.T, test func(*testing.T, *fixture)) {
	t.Helper()
	t.Parallel()
	for _, engine := range testkit.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, engine.Name)
			test(t, f)
			f.checkOther(t)
			f.checkCounts(t)
		})
	}
}

// fixture is a store with an account that a test may use as it likes, and another one that must not notice.
type fixture struct {
	*store.Store
	place   string // URL or folder
	account domain.Account
	mine    *store.Account

	otherAccount domain.Account
	other        *store.Account
	otherRow     domain.Instance
	otherKey     domain.APIKey
}

func newFixture(t testing.TB, engine string) *fixture {
	t.Helper()
	f := new(fixture)
	f.Store, f.place = openStore(t, engine)
	f.account, f.mine = f.addAccount(t, "mine")
	f.otherAccount, f.other = f.addAccount(t, "other")
	f.otherRow = addInstance(t, f.other, domain.Instance{Name: "Other", ExternalID: "same", Phone: "5511999990000", TokenDigest: []byte("other token")})
	f.otherKey = domain.APIKey{Name: "other", Lookup: "otherlookup", LastFour: "9999", Digest: []byte("other digest")}
	if err := f.other.CreateAPIKey(t.Context(), &f.otherKey); err != nil {
		t.Fatal(err)
	}
	return f
}

// openStore returns a migrated store, and where its data is: a URL or a folder.
func openStore(t testing.TB, engine string) (s *store.Store, place string) {
	t.Helper()
	cfg := store.Config{MaxConns: 8, DrawQR: func(text string) string { return "data:" + text }}
	if engine == store.DialectPostgres {
		cfg.DataDir, cfg.URL = t.TempDir(), migratedPostgres(t)
		place = cfg.URL
	} else {
		cfg.DataDir = migratedSQLite(t)
		place = cfg.DataDir
	}
	s = must[*store.Store](t)(store.Open(t.Context(), cfg))
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, place
}

// migratedPostgres copies a database that was migrated once for all tests.
func migratedPostgres(t testing.TB) (url string) {
	t.Helper()
	return testkit.TemplatePostgres(t, "store "+schemaDigest(t), func(url string) error { return migrate(store.Config{URL: url}) })
}

// migratedSQLite does the same for SQLite.
func migratedSQLite(t testing.TB) (dir string) {
	t.Helper()
	return testkit.TemplateFolder(t, "store "+schemaDigest(t), func(dir string) error { return migrate(store.Config{DataDir: dir}) })
}

func migrate(cfg store.Config) error {
	s, err := store.Open(context.Background(), cfg)
	if err != nil {
		return err
	}
	return errors.Join(s.Migrate(context.Background()), s.Close())
}

func (f *fixture) addAccount(t testing.TB, name string) (domain.Account, *store.Account) {
	t.Helper()
	a := domain.Account{Name: name, Plan: "free"}
	if err := f.CreateAccount(t.Context(), &a); err != nil {
		t.Fatal(err)
	}
	return a, must[*store.Account](t)(f.Account(a.ID))
}

// addPartner makes a partner with two child accounts.
func (f *fixture) addPartner(t testing.TB) (partner *store.Partner, children []*store.Account) {
	t.Helper()
	owner := domain.Account{Name: "partner", Plan: "free", Partner: true}
	if err := f.CreateAccount(t.Context(), &owner); err != nil {
		t.Fatal(err)
	}
	partner = must[*store.Partner](t)(f.Partner(owner.ID))
	for i := range 2 {
		child := domain.Account{Name: fmt.Sprint("child ", i), Plan: "free"}
		if err := partner.CreateChild(t.Context(), &child); err != nil {
			t.Fatal(err)
		}
		children = append(children, must[*store.Account](t)(f.Account(child.ID)))
	}
	return partner, children
}

func addInstance(t testing.TB, a *store.Account, in domain.Instance) domain.Instance {
	t.Helper()
	if err := a.CreateInstance(t.Context(), &in, 0); err != nil {
		t.Fatal(err)
	}
	return in
}

// checkOther finds the other account as newFixture left it.
func (f *fixture) checkOther(t testing.TB) {
	t.Helper()
	ctx := t.Context()
	same(t, "the other account's instance", must[domain.Instance](t)(f.other.Instance(ctx, f.otherRow.ID)), f.otherRow)
	same(t, "the other account's key", must[domain.APIKey](t)(f.KeyByID(ctx, f.otherAccount.ID, f.otherKey.ID)), f.otherKey)
	same(t, "the other account", must[domain.Account](t)(f.AccountByID(ctx, f.otherAccount.ID)), f.otherAccount)
	same(t, "the other account's page", page(t, f.other, domain.InstanceFilter{}, 100), []string{"Other"})
}

// checkCounts compares the totals of every account with its instances, and those of every partner.
func (f *fixture) checkCounts(t testing.TB) {
	t.Helper()
	ctx := t.Context()
	accounts, _, err := f.Accounts(ctx, domain.PageRequest{Limit: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range accounts {
		bound := must[*store.Account](t)(f.Account(a.ID))
		real := map[domain.Status]int64{}
		err := bound.StreamInstances(ctx, domain.InstanceFilter{}, nil, func(in *domain.Instance) error {
			real[""]++
			real[in.Status]++
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		checkTotals(t, a.Name, bound, real)
		if a.Partner {
			f.checkPartnerCounts(t, a)
		}
	}
}

func (f *fixture) checkPartnerCounts(t testing.TB, partner domain.Account) {
	t.Helper()
	bound := must[*store.Partner](t)(f.Partner(partner.ID))
	children, _, err := bound.Children(t.Context(), domain.PageRequest{Limit: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	real := map[domain.Status]int64{}
	for _, c := range children {
		child := must[*store.Account](t)(f.Account(c.ID))
		err := child.StreamInstances(t.Context(), domain.InstanceFilter{}, nil, func(in *domain.Instance) error {
			real[""]++
			real[in.Status]++
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	checkTotals(t, "the partner", bound, real)
}

func checkTotals(t testing.TB, name string, p pager, real map[domain.Status]int64) {
	t.Helper()
	for _, status := range append(domain.Statuses(), "") {
		info, err := p.EachInstance(t.Context(), domain.InstanceFilter{Status: status}, domain.PageRequest{Limit: 1}, ignore)
		if err != nil {
			t.Fatal(err)
		}
		if info.Total != real[status] {
			t.Errorf("%s counts %d instances in status %q, has %d", name, info.Total, status, real[status])
		}
	}
}

// pager is what accounts and partners have in common.
type pager interface {
	EachInstance(context.Context, domain.InstanceFilter, domain.PageRequest, func(*domain.InstanceView) error) (domain.PageInfo, error)
}

func ignore(*domain.InstanceView) error { return nil }

// page returns the names of the first instances that a filter finds.
func page(t testing.TB, p pager, f domain.InstanceFilter, limit int) (names []string) {
	t.Helper()
	_, err := p.EachInstance(t.Context(), f, domain.PageRequest{Limit: limit}, func(v *domain.InstanceView) error {
		names = append(names, string(v.Name))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// must returns a function that unwraps a result, or ends the test.
func must[T any](t testing.TB) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func same(t testing.TB, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func wantCode(t testing.TB, what string, err error, code domain.Code) {
	t.Helper()
	if err == nil || domain.CodeOf(err) != code {
		t.Errorf("%s: got error %v, want code %s", what, err, code)
	}
}

// at is a moment with nanoseconds, which no column keeps.
func at(seconds int) time.Time {
	return time.Date(2026, 5, 4, 3, 2, 1, 123_456_789, time.UTC).Add(time.Duration(seconds) * time.Second)
}

// stored is at as it comes back.
func stored(seconds int) time.Time { return at(seconds).Truncate(time.Millisecond) }
