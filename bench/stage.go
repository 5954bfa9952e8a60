package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/pombal-api/pombal/bench/internal/child"
	"github.com/pombal-api/pombal/bench/internal/dataset"
	"github.com/pombal-api/pombal/bench/internal/floor"
	"github.com/pombal-api/pombal/bench/internal/load"
	"github.com/pombal-api/pombal/bench/internal/postgres"
	"github.com/pombal-api/pombal/internal/auth"
	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/seal"
)

// stage is everything that must be there before something can be measured.
type stage struct {
	options *options
	dir     string
	binary  string
	secret  string
	sealer  *seal.Sealer
	keys    []domain.NewKeySecret // the same ones on both engines
	self    string

	postgres    *postgres.Server
	databaseURL string
	dataDir     string
	data        *dataset.Data // in PostgreSQL
	sqliteData  *dataset.Data // nil without SQLite

	generator *load.Generator
	closers   []func() error
	log       *slog.Logger
}

// newStage prepares the databases. On an error the stage still wants to be closed.
func newStage(ctx context.Context, o *options) (*stage, error) {
	s := &stage{options: o, log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	for _, step := range []struct {
		name    string
		do      func(context.Context) error
		forData bool // only suites that ask the service need it
	}{
		{"a folder", s.makeFolder, false},
		{"secrets", s.makeSecrets, true},
		{"the binary", s.build, true},
		{"PostgreSQL", s.startPostgres, false},
		{"the data in PostgreSQL", s.fillPostgres, true},
		{"the data in SQLite", s.fillSQLite, true},
		{"the load generator", s.startGenerator, true},
	} {
		if step.forData && !o.needsData() {
			continue
		}
		start := time.Now()
		if err := step.do(ctx); err != nil {
			return s, fmt.Errorf("prepare %s: %w", step.name, err)
		}
		s.log.InfoContext(ctx, "prepared "+step.name, "took", time.Since(start).Round(10*time.Millisecond))
	}
	return s, nil
}

// Close undoes the preparations, the last one first.
func (s *stage) Close() error {
	var errs []error
	for i := range s.closers {
		errs = append(errs, s.closers[len(s.closers)-1-i]())
	}
	return errors.Join(errs...)
}

func (s *stage) onClose(f func() error) { s.closers = append(s.closers, f) }

func (s *stage) makeFolder(context.Context) (err error) {
	if s.self, err = os.Executable(); err != nil {
		return err
	}
	if s.dir, err = os.MkdirTemp("", "pombal-bench-"); err != nil {
		return err
	}
	s.onClose(func() error { return os.RemoveAll(s.dir) })
	return os.Chmod(s.dir, 0o711) //nolint:gosec // PostgreSQL's user has to get through
}

func (s *stage) makeSecrets(context.Context) (err error) {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	s.secret = base64.StdEncoding.EncodeToString(secret)
	s.sealer, err = seal.New(secret)
	return err
}

func (s *stage) build(ctx context.Context) error {
	if s.binary = s.options.binary; s.binary != "" {
		return nil
	}
	s.binary = filepath.Join(s.dir, "pombal")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", s.binary, "github.com/pombal-api/pombal/cmd/pombal") //nolint:gosec // our own
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	return output(cmd)
}

// output runs a command and makes what it said part of the error.
func output(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(cmd.Path), err, out)
	}
	return nil
}

func (s *stage) startPostgres(ctx context.Context) (err error) {
	if s.options.postgres != "" {
		s.postgres, err = postgres.Join(ctx, s.options.postgres)
	} else {
		s.postgres, err = postgres.Start(ctx, filepath.Join(s.dir, "postgres"), postgres.Settings(s.options.sharedBuffers))
	}
	if err != nil {
		return err
	}
	s.onClose(s.postgres.Close)
	address, drop, err := s.postgres.CreateDatabase(ctx, fmt.Sprintf("pombal_bench_%d", os.Getpid()))
	if err != nil {
		return err
	}
	s.databaseURL = address
	if s.options.postgres != "" { // a private server goes with all it has
		s.onClose(drop)
	}
	return nil
}

func (s *stage) fillPostgres(ctx context.Context) error {
	if err := s.migrate(ctx, node{DatabaseURL: s.databaseURL}); err != nil {
		return err
	}
	s.data = dataset.New(s.shape(s.options.rows))
	return s.data.LoadPostgres(ctx, s.databaseURL)
}

func (s *stage) fillSQLite(ctx context.Context) error {
	if s.options.sqliteRows == 0 {
		return nil
	}
	s.dataDir = filepath.Join(s.dir, "sqlite")
	if err := s.migrate(ctx, node{DataDir: s.dataDir}); err != nil {
		return err
	}
	s.sqliteData = dataset.New(s.shape(s.options.sqliteRows))
	return s.sqliteData.LoadSQLite(ctx, filepath.Join(s.dataDir, "pombal.db"))
}

// room makes a new database of an engine: the URL of one in PostgreSQL, or else a folder for SQLite.
func (s *stage) room(ctx context.Context, engine, name string) (address, dir string, err error) {
	if engine == engineSQLite {
		dir = filepath.Join(s.dir, name)
		return "", dir, os.Mkdir(dir, 0o700)
	}
	address, drop, err := s.postgres.CreateDatabase(ctx, fmt.Sprintf("pombal_bench_%d_%s", os.Getpid(), name))
	if err == nil && s.options.postgres != "" { // a private server goes with all it has
		s.onClose(drop)
	}
	return address, "", err
}

// migrate lets the binary make its tables.
func (s *stage) migrate(ctx context.Context, n node) error {
	cmd := exec.CommandContext(ctx, s.binary, "migrate") //nolint:gosec // the binary under test
	cmd.Env = s.environment(n)
	return output(cmd)
}

// shape is the data for a number of rows. The accounts of the list suite are the same for any number,
// so that both engines give the same answers. Without a growth suite there are only those and the rest.
func (s *stage) shape(rows int) dataset.Shape {
	shape := dataset.Shape{
		Medium: 240, Large: 8, Rows: rows, CreatedFrom: time.Date(2025, time.January, 1, 0, 0, 0, 0, time.UTC),
		NewKey: s.key,
	}
	if !s.options.suites[suiteGrowth] || s.options.profileDir != "" {
		return shape
	}
	for _, size := range []int{50, 1_000, 100_000, 1_000_000} {
		if size <= rows/2 {
			shape.Sizes = append(shape.Sizes, size)
		}
	}
	shape.Children, shape.OfChildren = 1_000, min(1_000_000, rows/3)
	return shape
}

// key returns the nth API key.
func (s *stage) key(n int) domain.NewKeySecret {
	for len(s.keys) <= n {
		s.keys = append(s.keys, auth.NewKey(s.sealer.Derive("api-keys", 32)))
	}
	return s.keys[n]
}

func (s *stage) startGenerator(context.Context) error {
	cmd := exec.Command(s.self, roleLoad) //nolint:gosec,noctx // this program; it ends by Close
	cmd.Stderr = os.Stderr
	g, err := load.Start(cmd)
	if err != nil {
		return err
	}
	s.generator = g
	s.onClose(g.Close)
	return nil
}

// plans has the one plan of all accounts, with limits that are never reached.
func plans() []domain.Plan {
	const many = 1_000_000_000
	return []domain.Plan{{Name: "free", RequestsPerMinute: many}, {Name: dataset.PlanName, RequestsPerMinute: many}}
}

// environment is how a node is configured, on top of this process's own.
func (s *stage) environment(n node) []string {
	encoded, _ := json.Marshal(plans()) // structs of texts and numbers always can be
	env := append(os.Environ(), "POMBAL_SECRET="+s.secret, "POMBAL_PLANS="+string(encoded),
		"POMBAL_DATABASE_URL="+n.DatabaseURL, "POMBAL_ADDR=127.0.0.1:0", "POMBAL_ADMIN_ADDR=127.0.0.1:0")
	if n.DataDir != "" {
		env = append(env, "POMBAL_DATA_DIR="+n.DataDir)
	}
	return env
}

// serve starts the real binary.
func (s *stage) serve(ctx context.Context, name, binary string, n node) (*child.Server, error) {
	cmd := exec.Command(binary, "serve") //nolint:noctx // it ends by Close
	cmd.Env = s.environment(n)
	return s.launch(ctx, name, cmd)
}

// cast starts this program in a role.
func (s *stage) cast(ctx context.Context, name, role string, part script) (*child.Server, error) {
	raw, err := json.Marshal(part)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(s.dir, name+".json")
	if err = os.WriteFile(path, raw, 0o600); err != nil { //nolint:gosec // in the benchmark's own folder
		return nil, err
	}
	return s.launch(ctx, name, exec.Command(s.self, role, path)) //nolint:gosec,noctx // this program; it ends by Close
}

func (s *stage) launch(ctx context.Context, name string, cmd *exec.Cmd) (*child.Server, error) {
	server, err := child.Start(ctx, name, cmd, filepath.Join(s.dir, name+".log"))
	if err != nil {
		return nil, err
	}
	s.onClose(server.Close)
	return server, nil
}

// floorConfig is what the floor must know.
func (s *stage) floorConfig() floor.Config {
	accounts := map[string]domain.ID{}
	for _, a := range s.listAccounts() {
		accounts["Bearer "+a.Key] = a.ID
	}
	return floor.Config{DatabaseURL: s.databaseURL, Accounts: accounts, CursorKey: s.sealer.Derive("cursors", 32)}
}

// listAccounts are the accounts of the list suite.
func (s *stage) listAccounts() []*dataset.Account {
	return append(append([]*dataset.Account{}, s.data.Medium...), s.data.Large...)
}
