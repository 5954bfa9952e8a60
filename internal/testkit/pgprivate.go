package testkit

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// PrivatePostgres is a PostgreSQL server for one test, as durable as a real one, that
// the test may stop, kill and start again. It ends with the test, or with the test's
// process when that is killed.
type PrivatePostgres struct {
	// URL of an empty database. It stays the same over restarts.
	URL string

	tb      testing.TB
	cluster *cluster
}

// NewPrivatePostgres starts a server. It takes about a second, so only tests of
// crashes and of absent databases should want one. Extra settings are lines of
// postgresql.conf, such as "max_connections = 20". POMBAL_TEST_POSTGRES_URL does not
// help here: without the server's programs the test is skipped, or fails when CI is set.
func NewPrivatePostgres(tb testing.TB, settings ...string) *PrivatePostgres {
	tb.Helper()
	bin, err := postgresBin()
	switch {
	case errors.Is(err, errNoPostgres) && os.Getenv("CI") == "":
		tb.Skip(err)
	case err != nil:
		tb.Fatal(err)
	}
	p := &PrivatePostgres{tb: tb}
	if err := p.launch(bin, settings); err != nil {
		tb.Fatalf("start a private PostgreSQL: %v", err)
	}
	return p
}

func (p *PrivatePostgres) launch(bin string, settings []string) error {
	// Not TB.TempDir: the server's user has to get through the folders above.
	home, err := os.MkdirTemp("", "pombal-test-pg-private-")
	if err != nil {
		return err
	}
	p.tb.Cleanup(func() { _ = os.RemoveAll(home) })
	if err = os.Chmod(home, 0o711); err != nil { //nolint:gosec // see above
		return err
	}
	p.cluster, err = newCluster(bin, filepath.Join(home, "cluster"), settings)
	if err != nil {
		return err
	}
	// First the watcher: it removes whatever there is when this process dies.
	watcher, stdin, err := startWatcher(watchOrder{Bin: bin, Dir: p.cluster.dir}, os.Stderr)
	if err != nil {
		return err
	}
	p.tb.Cleanup(func() {
		if err := errors.Join(stdin.Close(), watcher.Wait()); err != nil {
			p.tb.Errorf("remove the private PostgreSQL: %v", err)
		}
	})
	ctx, cancel := context.WithTimeout(p.tb.Context(), clusterTimeout)
	defer cancel()
	if err := p.cluster.start(ctx); err != nil {
		return err
	}
	p.URL = p.cluster.url("pombal")
	return execPostgres(ctx, p.cluster.url("postgres"), createSQL("pombal", "template0"))
}

// Kill9 kills the server's main process at once, as a crash would. Its other processes
// notice that by themselves a moment later; Start waits for them.
func (p *PrivatePostgres) Kill9() {
	p.tb.Helper()
	pid, err := p.cluster.pid()
	if err == nil {
		err = syscall.Kill(pid, syscall.SIGKILL)
	}
	if err != nil {
		p.tb.Fatalf("kill PostgreSQL: %v", err)
	}
}

// Stop shuts the server down: connections are cut, nothing is lost.
func (p *PrivatePostgres) Stop() {
	p.tb.Helper()
	ctx, cancel := context.WithTimeout(p.tb.Context(), clusterTimeout)
	defer cancel()
	if err := p.cluster.stopServer(ctx, "fast"); err != nil {
		p.tb.Fatalf("stop PostgreSQL: %v", err)
	}
}

// Start starts the server again after Stop or Kill9, on the same port and data, and
// returns when it answers.
func (p *PrivatePostgres) Start() {
	p.tb.Helper()
	ctx, cancel := context.WithTimeout(p.tb.Context(), clusterTimeout)
	defer cancel()
	retry := time.NewTicker(100 * time.Millisecond)
	defer retry.Stop()
	for deadline := time.Now().Add(30 * time.Second); ; {
		// After a kill it fails as long as an orphan uses the old shared memory.
		err := p.cluster.startServer(ctx)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			p.tb.Fatalf("start PostgreSQL again: %v", err)
		}
		<-retry.C
	}
}
