// Package apitest gives tests a whole Pombal: a real node on a real database, with tenants to call it
// and the contract harness in between. Only tests may import it.
package apitest

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"io"
	"io/fs"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	pombal "github.com/pombal-api/pombal"
	"github.com/pombal-api/pombal/internal/app"
	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/testkit"
	"github.com/pombal-api/pombal/migrations"
	"github.com/pombal-api/pombal/pkg/api"
)

// Server is one running node.
type Server struct {
	URL, AdminURL string
	App           *app.App
	Operator      *app.Operator
	Contract      *testkit.Contract

	stop func()
}

// Contract is openapi.yaml, loaded once: what all tests of a package see is recorded together.
var Contract = sync.OnceValues(func() (*testkit.Contract, error) { return testkit.LoadContract(pombal.OpenAPI) })

// secret is the operator's secret of all test nodes.
var secret = base64.StdEncoding.EncodeToString([]byte("\x8a\x11pombal\xf3test\x00\x97secret\xe0of\x1632\xc4bytes!\x9d\xbe"))

// Config is a configuration for tests on the database. Instances reach nobody: see NewWhatsApp.
func Config(db testkit.Database) app.Config {
	return app.Config{
		Database:       app.Database{DatabaseURL: app.Secret(db.URL), DataDir: db.Dir, MaxConns: 10},
		Secrets:        app.Secrets{Secret: app.Secret(secret)},
		Addr:           "127.0.0.1:0",
		AdminAddr:      "127.0.0.1:0",
		TokenIssuer:    "pombal-test",
		RequestTimeout: 10 * time.Second,
		ShutdownGrace:  5 * time.Second,
		Sandbox:        nowhere(),
		Plans: app.Plans{
			{Name: "free", RequestsPerMinute: 500, Groups: map[string]int{"instances": 50}},
			{Name: "test", RequestsPerMinute: 10_000_000},
			{Name: "small", RequestsPerMinute: 10_000_000, MaxInstances: 3},
		},
	}
}

// NewDatabase makes a migrated database, a copy of a template: migrating each would take longer than most tests.
func NewDatabase(tb testing.TB, engine testkit.Engine) testkit.Database {
	tb.Helper()
	template := "pombal_" + migrationsHash(tb)
	migrate := func(db app.Database) error { return app.Migrate(context.WithoutCancel(tb.Context()), db, io.Discard) }
	if engine.Name != "postgres" {
		return testkit.Database{Dir: testkit.TemplateFolder(tb, template, func(dir string) error {
			return migrate(app.Database{DataDir: dir})
		})}
	}
	url := testkit.TemplatePostgres(tb, template, func(url string) error {
		return migrate(app.Database{DatabaseURL: app.Secret(url)})
	})
	return testkit.Database{URL: url, Dir: tb.TempDir()}
}

func migrationsHash(tb testing.TB) string {
	tb.Helper()
	h := sha256.New()
	err := fs.WalkDir(migrations.FS, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(migrations.FS, path)
		h.Write([]byte(path))
		h.Write(text)
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}

// Start runs a node on a new database of the engine until the test ends. The options change its
// configuration.
func Start(tb testing.TB, engine testkit.Engine, options ...func(*app.Config)) *Server {
	tb.Helper()
	return StartOn(tb, NewDatabase(tb, engine), options...)
}

// StartOn runs a node on the database until the test ends.
func StartOn(tb testing.TB, db testkit.Database, options ...func(*app.Config)) *Server {
	tb.Helper()
	cfg := Config(db)
	for _, option := range options {
		option(&cfg)
	}
	logTo := io.Discard
	if os.Getenv("POMBAL_TEST_LOG") != "" {
		logTo = tb.Output()
	}
	node, err := app.Open(tb.Context(), cfg, logTo)
	if err != nil {
		tb.Fatal(err)
	}
	return Run(tb, node)
}

// Run runs a node that was opened in another way until the test ends.
func Run(tb testing.TB, node *app.App) *Server {
	tb.Helper()
	return run(tb, node, node.Run)
}

// RunDev runs dev until the test ends, and returns when it is ready: on a slow machine before its sample is connected.
func RunDev(tb testing.TB, dev *app.Dev) *Server {
	tb.Helper()
	ready := make(chan int, 1)
	s := run(tb, dev.App, func(ctx context.Context) error {
		return dev.Run(ctx, func(missing int) error {
			ready <- missing
			return nil
		})
	})
	select {
	case missing := <-ready:
		tb.Logf("%d instances of the sample are not connected yet", missing)
	case <-tb.Context().Done():
	}
	return s
}

func run(tb testing.TB, node *app.App, serve func(context.Context) error) *Server {
	tb.Helper()
	contract, err := Contract()
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background()) // outlives tb.Context, which ends before cleanups
	done := make(chan error, 1)
	s := &Server{URL: node.URL(), AdminURL: node.AdminURL(), App: node, Operator: node.Operator(), Contract: contract.For(tb)}
	go func() { done <- serve(ctx) }() // waited for by stop
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Errorf("the node did not stop in order: %v", err)
		}
	})
	tb.Cleanup(s.stop)
	return s
}

// Stop stops the node in order and waits for it.
func (s *Server) Stop() { s.stop() }

// HTTP is a client whose every answer is held against openapi.yaml.
func (s *Server) HTTP(tb testing.TB) *http.Client {
	tb.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	tb.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: s.Contract.For(tb).Transport(transport), Timeout: 30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// Tenant is an account with a key of all scopes.
type Tenant struct {
	Server  *Server
	Account domain.Account
	ID      string // acct_…
	Key     string
	API     *api.Client
}

// NewTenant makes an account of the plan "test" and a key for it.
func (s *Server) NewTenant(tb testing.TB, options ...func(*app.NewAccount)) *Tenant {
	tb.Helper()
	n := app.NewAccount{Name: nameOf(tb), Plan: "test"}
	for _, option := range options {
		option(&n)
	}
	account, err := s.Operator.CreateAccount(tb.Context(), n)
	if err != nil {
		tb.Fatal(err)
	}
	t := &Tenant{Server: s, Account: account, ID: account.ID.Prefixed(domain.PrefixAccount)}
	t.Key = t.NewKey(tb)
	t.API = t.Client(tb, t.Key)
	return t
}

// nameOf is the end of the test's name, as much of it as names may have.
func nameOf(tb testing.TB) string {
	name := tb.Name()
	return name[max(0, len(name)-100):]
}

// NewPartner makes a partner account.
func (s *Server) NewPartner(tb testing.TB) *Tenant {
	tb.Helper()
	return s.NewTenant(tb, func(n *app.NewAccount) { n.Partner = true })
}

// NewChild makes a child account of the partner t.
func (t *Tenant) NewChild(tb testing.TB) *Tenant {
	tb.Helper()
	return t.Server.NewTenant(tb, func(n *app.NewAccount) { n.Parent = t.ID })
}

// NewKey makes another key with the scopes, all by default.
func (t *Tenant) NewKey(tb testing.TB, scopes ...string) string {
	tb.Helper()
	_, secret, err := t.Server.Operator.CreateKey(tb.Context(), app.NewKey{Account: t.ID, Name: nameOf(tb), Scopes: scopes})
	if err != nil {
		tb.Fatal(err)
	}
	return secret
}

// Client is the Go SDK with the credential, without retries.
func (t *Tenant) Client(tb testing.TB, credential string) *api.Client {
	tb.Helper()
	client, err := api.NewClient(t.Server.URL, credential, api.WithHTTPClient(t.Server.HTTP(tb)), api.WithMaxRetries(0))
	if err != nil {
		tb.Fatal(err)
	}
	return client
}

// NewInstance makes an instance.
func (t *Tenant) NewInstance(tb testing.TB, name string) *api.Instance {
	tb.Helper()
	instance, err := t.API.Instances.Create(tb.Context(), api.CreateInstance{Name: name})
	if err != nil {
		tb.Fatal(err)
	}
	return instance
}
