package testkit

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// errNoPostgres says that this machine has no PostgreSQL server to start.
var errNoPostgres = errors.New("the PostgreSQL server programs (initdb, pg_ctl, postgres) were not found: " +
	"install PostgreSQL 15 or newer, or point POMBAL_TEST_POSTGRES_URL at a server where databases may be created")

// cluster is one PostgreSQL data directory and the server on it.
type cluster struct {
	bin      string              // folder of initdb, pg_ctl and postgres
	dir      string              // holds data/, password, server.log; removed as a whole
	settings []string            // lines of postgresql.conf beyond the common ones
	cred     *syscall.Credential // whom the server runs as; nil is the caller
	port     int
	password string
}

// postgresBin returns the folder of the newest installed server: the one in PATH
// when it is complete, else the usual places of Debian, Red Hat and Homebrew.
func postgresBin() (string, error) {
	var found []string
	if path, err := exec.LookPath("postgres"); err == nil {
		found = append(found, filepath.Dir(path))
	}
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin",
		"/opt/homebrew/opt/postgresql@*/bin", "/usr/local/opt/postgresql@*/bin", "/usr/local/pgsql/bin",
	} {
		match, _ := filepath.Glob(pattern) // the only error is a bad pattern
		slices.Reverse(match)
		found = append(found, match...)
	}
	for _, dir := range found {
		if hasPrograms(dir, "initdb", "pg_ctl", "postgres") {
			return dir, nil
		}
	}
	return "", errNoPostgres
}

func hasPrograms(dir string, names ...string) bool {
	for _, name := range names {
		if _, err := exec.LookPath(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

// serverCredential returns the unprivileged user that the server runs as.
// PostgreSQL refuses to run as root, which is what containers usually are.
func serverCredential() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errUID := strconv.ParseUint(u.Uid, 10, 32)
		gid, errGID := strconv.ParseUint(u.Gid, 10, 32)
		if errUID == nil && errGID == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
		}
	}
	return nil, errors.New("PostgreSQL cannot run as root and there is no user postgres or nobody: run the tests as another user")
}

// newCluster describes a cluster below dir, which init creates.
func newCluster(bin, dir string, settings []string) (*cluster, error) {
	cred, err := serverCredential()
	if err != nil {
		return nil, err
	}
	return &cluster{bin: bin, dir: dir, settings: settings, cred: cred, password: rand.Text()}, nil
}

func (c *cluster) data() string { return filepath.Join(c.dir, "data") }

func (c *cluster) logFile() string { return filepath.Join(c.dir, "server.log") }

// url returns the address of one database of the cluster.
func (c *cluster) url(database string) string {
	u := url.URL{
		Scheme: "postgres",
		User:   url.UserPassword("postgres", c.password),
		Host:   net.JoinHostPort("127.0.0.1", strconv.Itoa(c.port)),
		Path:   "/" + database, RawQuery: "sslmode=disable",
	}
	return u.String()
}

// command prepares one of the server's programs: as the server's user, away from
// folders that this user may not enter, and deaf to the caller's PG* variables.
func (c *cluster) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, program), args...) //nolint:gosec // the program comes from postgresBin
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.cred, Setsid: true}
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "PG") && !strings.HasPrefix(kv, "LC_") && !strings.HasPrefix(kv, "LANG") {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	cmd.Env = append(cmd.Env, "LC_ALL=C")
	return cmd
}

func (c *cluster) run(ctx context.Context, program string, args ...string) error {
	cmd := c.command(ctx, program, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s%s", program, err, out.String(), c.logTail())
	}
	return nil
}

func (c *cluster) logTail() string {
	log, err := os.ReadFile(c.logFile())
	if err != nil {
		return ""
	}
	return string(log[max(0, len(log)-2000):])
}

// init makes the data directory, with a password so that nobody else on the
// machine becomes the superuser of a server that may run programs.
func (c *cluster) init(ctx context.Context) error {
	if err := os.Mkdir(c.dir, 0o700); err != nil {
		return err
	}
	if c.cred != nil {
		if err := os.Chown(c.dir, int(c.cred.Uid), int(c.cred.Gid)); err != nil {
			return err
		}
	}
	password := filepath.Join(c.dir, "password")
	if err := os.WriteFile(password, []byte(c.password+"\n"), 0o600); err != nil {
		return err
	}
	if c.cred != nil {
		if err := os.Chown(password, int(c.cred.Uid), int(c.cred.Gid)); err != nil {
			return err
		}
	}
	return c.run(ctx, "initdb", "--pgdata", c.data(), "--username=postgres", "--pwfile", password,
		"--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions")
}

// configure writes the settings, with a port that was free a moment ago.
func (c *cluster) configure(ctx context.Context) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	c.port = l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		return err
	}
	lines := append([]string{
		"listen_addresses = '127.0.0.1'", "port = " + strconv.Itoa(c.port),
		"unix_socket_directories = ''", "max_connections = 400",
		"dynamic_shared_memory_type = mmap", // inside the folder, so that a kill leaves nothing behind
	}, c.settings...)
	conf := strings.Join(lines, "\n") + "\n"
	return os.WriteFile(filepath.Join(c.data(), "postgresql.auto.conf"), []byte(conf), 0o600)
}

// start initialises the directory and starts the server. Another program may
// take the port between configure and the start, hence the second and third try.
func (c *cluster) start(ctx context.Context) error {
	if err := c.init(ctx); err != nil {
		return err
	}
	var err error
	for range 3 {
		if err = c.configure(ctx); err != nil {
			return err
		}
		if err = c.startServer(ctx); err == nil {
			return nil
		}
	}
	return err
}

func (c *cluster) startServer(ctx context.Context) error {
	return c.run(ctx, "pg_ctl", "start", "--wait", "--timeout=60", "--silent", "--pgdata", c.data(), "--log", c.logFile())
}

// stopServer stops the server and waits for its end. Modes are pg_ctl's: fast
// finishes cleanly, immediate is a crash that spares the processes.
func (c *cluster) stopServer(ctx context.Context, mode string) error {
	if _, err := os.Stat(filepath.Join(c.data(), "postmaster.pid")); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return c.run(ctx, "pg_ctl", "stop", "--wait", "--timeout=60", "--silent", "--mode="+mode, "--pgdata", c.data())
}

// remove stops the server, if it runs, and deletes everything that it had.
func (c *cluster) remove(ctx context.Context) error {
	// pg_ctl also fails when there is nothing to stop: the server was killed.
	errStop := c.stopServer(ctx, "immediate")
	if pid, err := c.pid(); err == nil && syscall.Kill(pid, 0) == nil && errStop != nil {
		return errStop
	}
	// The last processes of a killed server may still be writing.
	var err error
	for range 50 {
		if err = os.RemoveAll(c.dir); err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return err
}

// pid returns the process id of the server as its data directory names it.
func (c *cluster) pid() (int, error) {
	raw, err := os.ReadFile(filepath.Join(c.data(), "postmaster.pid"))
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(raw), "\n")
	return strconv.Atoi(first)
}

// clusterTimeout bounds the start or the stop of a server on a busy machine.
const clusterTimeout = 2 * time.Minute
