package main

import (
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // to look into PostgreSQL from outside

	"github.com/pombal-api/pombal/internal/testkit"
	"github.com/pombal-api/pombal/pkg/api"
)

// site is a database and the secret that belongs to it: what an operator has.
type site struct {
	testkit.Database
	secret string
}

func newSite(db testkit.Database) *site { return &site{db, newSecret()} }

// newSecret is what `openssl rand -base64 32` prints.
func newSecret() string {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret)
	return base64.StdEncoding.EncodeToString(secret)
}

// env are the variables that a process needs to serve the site on ports of its own choice.
func (s *site) env(more ...string) []string {
	return append([]string{
		"POMBAL_DATABASE_URL=" + s.URL, "POMBAL_DATA_DIR=" + s.Dir, "POMBAL_SECRET=" + s.secret,
		"POMBAL_ADDR=127.0.0.1:0", "POMBAL_ADMIN_ADDR=127.0.0.1:0",
	}, more...)
}

// serve starts a process that serves the site, and waits until it does.
func (s *site) serve(tb testing.TB, more ...string) *process {
	tb.Helper()
	return start(tb, s.env(more...), "serve").serving(tb)
}

// operate carries out an operator's command in this process and returns what it prints.
func (s *site) operate(tb testing.TB, args ...string) (string, error) {
	tb.Helper()
	out, _, err := runHere(tb.Context(), append(args, "--database-url", s.URL, "--data-dir", s.Dir, "--secret", s.secret)...)
	return strings.TrimSpace(out), err
}

// must is operate for commands that must succeed.
func (s *site) must(tb testing.TB, args ...string) string {
	tb.Helper()
	out, err := s.operate(tb, args...)
	if err != nil {
		tb.Fatalf("pombal %s: %v", strings.Join(args, " "), err)
	}
	return out
}

// newKey makes an account without tight limits and a key for it.
func (s *site) newKey(tb testing.TB, options ...string) (account, key string) {
	tb.Helper()
	account = s.must(tb, append([]string{"accounts", "create", "--name", tb.Name(), "--plan", "enterprise"}, options...)...)
	return account, s.must(tb, "keys", "create", "--account", account)
}

// open opens the database itself, as somebody does who looks over the program's shoulder.
func (s *site) open(tb testing.TB) *sql.DB {
	tb.Helper()
	driver, source := "pgx", s.URL
	if s.URL == "" {
		driver, source = "sqlite", "file:"+filepath.Join(s.Dir, "pombal.db")+"?_pragma=busy_timeout(10000)"
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		tb.Fatal(err)
	}
	db.SetMaxIdleConns(0)
	tb.Cleanup(func() { _ = db.Close() })
	return db
}

// exec changes the database behind the program's back.
func (s *site) exec(tb testing.TB, statement string) {
	tb.Helper()
	if _, err := s.open(tb).ExecContext(tb.Context(), statement); err != nil {
		tb.Fatal(err)
	}
}

// count reads a number from the database.
func (s *site) count(tb testing.TB, query string) (n int64) {
	tb.Helper()
	if err := s.open(tb).QueryRowContext(tb.Context(), query).Scan(&n); err != nil {
		tb.Fatal(err)
	}
	return n
}

// sdk is the Go client of a process, without retries.
func sdk(tb testing.TB, p *process, key string, options ...api.Option) *api.Client {
	tb.Helper()
	c, err := api.NewClient(p.url, key, append([]api.Option{api.WithHTTPClient(client(tb)), api.WithMaxRetries(0)}, options...)...)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// engineDatabase is a new, empty database of the engine.
func engineDatabase(tb testing.TB, name string) testkit.Database {
	tb.Helper()
	for _, engine := range testkit.Engines() {
		if engine.Name == name {
			return engine.New(tb)
		}
	}
	tb.Fatalf("there is no engine named %s", name)
	return testkit.Database{}
}
