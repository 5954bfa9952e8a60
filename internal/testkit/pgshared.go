package testkit

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// sharedSettings trade the durability of a cluster that nobody keeps for speed.
// Tests of crashes take NewPrivatePostgres.
func sharedSettings() []string {
	return []string{
		"fsync = off", "synchronous_commit = off", "full_page_writes = off",
		"checkpoint_timeout = 1h", "max_wal_size = 8GB",
	}
}

// sharedPostgres joins the cluster that all test binaries of this user share, which
// the first of them starts. The URL is that of its maintenance database.
//
// Three locks next to the data keep order. "users" is share-locked by every test
// binary for its whole life. "start" is held by the one that starts the server.
// "watcher" is held by the watcher (see pgwatch.go), which stops the server some
// seconds after the last user has gone, however it went.
var sharedPostgres = sync.OnceValues(func() (membership, error) {
	if url := os.Getenv("POMBAL_TEST_POSTGRES_URL"); url != "" {
		return membership{url: url}, nil
	}
	bin, err := postgresBin()
	if err != nil {
		return membership{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), clusterTimeout)
	defer cancel()
	home, err := sharedHome(bin)
	if err != nil {
		return membership{}, err
	}
	return joinShared(ctx, bin, home, linger)
})

// membership is the use of the shared cluster by this process.
type membership struct {
	url string
	// users is locked and never closed: the end of this process is what the watcher
	// waits for. The garbage collector would close a file that nothing refers to.
	users *os.File
}

func joinShared(ctx context.Context, bin, home string, linger time.Duration) (membership, error) {
	users, err := lockFile(filepath.Join(home, "users"), syscall.LOCK_SH)
	if err != nil {
		return membership{}, err
	}
	url, err := findOrStart(ctx, watchOrder{
		Bin: bin, Dir: filepath.Join(home, "cluster"), Linger: linger,
		Users: users.Name(), Lock: filepath.Join(home, "watcher"),
	}, filepath.Join(home, "start"))
	if err != nil {
		return membership{}, errors.Join(err, users.Close())
	}
	return membership{url: url, users: users}, nil
}

// sharedHome returns the folder of the shared cluster, which belongs to the caller
// and differs by server and by settings.
func sharedHome(bin string) (string, error) {
	key := sha256.Sum256([]byte(bin + "\n" + strings.Join(sharedSettings(), "\n")))
	home := filepath.Join(os.TempDir(), fmt.Sprintf("pombal-test-pg-%d-%x", os.Getuid(), key[:4]))
	// The server's user passes through it, nobody else may put files in it.
	if err := os.Mkdir(home, 0o711); err != nil && !errors.Is(err, os.ErrExist) { //nolint:gosec // see above
		return "", err
	}
	info, err := os.Lstat(home)
	if err != nil {
		return "", err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() || int(stat.Uid) != os.Getuid() || info.Mode().Perm()&0o022 != 0 {
		return "", fmt.Errorf("%s is not a folder of this user alone: remove it", home)
	}
	return home, os.Chmod(home, 0o711) //nolint:gosec // whatever the umask was
}

// findOrStart returns the maintenance URL of the cluster that the watcher guards or,
// when there is none, is to guard. One process at a time gets past startLock.
func findOrStart(ctx context.Context, order watchOrder, startLock string) (string, error) {
	start, err := lockFile(startLock, syscall.LOCK_EX)
	if err != nil {
		return "", err
	}
	defer func() { _ = start.Close() }()

	address := filepath.Join(order.Dir, "url")
	watched, err := isLocked(order.Lock)
	if err != nil {
		return "", err
	}
	known, err := os.ReadFile(address) //nolint:gosec // a file of ours
	if err == nil && watched && answers(ctx, string(known)) {
		return string(known), nil
	}
	c, err := newCluster(order.Bin, order.Dir, sharedSettings())
	if err != nil {
		return "", err
	}
	// What a killed watcher or a killed starter has left behind.
	if err := c.remove(ctx); err != nil {
		return "", err
	}
	if !watched {
		if err := watchShared(order); err != nil {
			return "", err
		}
	}
	if err := c.start(ctx); err != nil {
		return "", err
	}
	url := c.url("postgres")
	return url, os.WriteFile(address, []byte(url), 0o600)
}

// watchShared starts the watcher of the shared cluster and lets go of it.
func watchShared(order watchOrder) error {
	log, err := os.Create(order.Lock + ".log")
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd, stdin, err := startWatcher(order, log)
	if err != nil {
		return err
	}
	return errors.Join(stdin.Close(), cmd.Process.Release())
}

// isLocked tells whether another process holds the lock.
func isLocked(path string) (bool, error) {
	f, err := lockFile(path, syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return false, f.Close()
}

// answers tells whether a server is there. One that refuses us, say because it has
// too many connections, is there too.
func answers(ctx context.Context, url string) bool {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		var refused *pgconn.PgError
		return errors.As(err, &refused)
	}
	return conn.Close(ctx) == nil
}
