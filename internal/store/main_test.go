package store_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/store"
	"github.com/pombal-api/pombal/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// onEngines runs a test on each engine with a migrated, empty database.
func onEngines(t *testing.T, test func(*testing.T, *store.Store)) {
	t.Helper()
	for _, engine := range testkit.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			test(t, newStore(t, engine.Name))
		})
	}
}

func newStore(t testing.TB, engine string) *store.Store {
	t.Helper()
	cfg := store.Config{DataDir: t.TempDir()}
	if engine == store.DialectPostgres {
		cfg.URL = testkit.TemplatePostgres(t, "store", func(url string) error {
			s, err := store.Open(t.Context(), store.Config{URL: url})
			if err != nil {
				return err
			}
			defer s.Close()
			return s.Migrate(t.Context())
		})
		cfg.MaxConns = 8
	}
	s, err := store.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if engine == store.DialectSQLite {
		if err := s.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

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

func wantCode(t testing.TB, err error, code domain.Code) {
	t.Helper()
	if err == nil || domain.CodeOf(err) != code {
		t.Fatalf("got error %v, want code %s", err, code)
	}
}
