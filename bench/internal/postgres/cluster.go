package postgres

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

	"github.com/pombal-api/pombal/bench/internal/child"
)

// cluster is a data directory and who serves it.
type cluster struct {
	bin, dir, password string
	port               int
	cred               *syscall.Credential // whom the server runs as; nil is this user
}

func newCluster(dir string) (*cluster, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	cred, err := credential()
	return &cluster{bin: bin, dir: dir, password: rand.Text(), cred: cred}, err
}

// programs returns the folder of the newest server.
func programs() (string, error) {
	var found []string
	if path, err := exec.LookPath("postgres"); err == nil {
		found = append(found, filepath.Dir(path))
	}
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin", "/usr/local/pgsql/bin",
	} {
		match, _ := filepath.Glob(pattern) // the only error is a bad pattern
		slices.Reverse(match)
		found = append(found, match...)
	}
	for _, dir := range found {
		_, errInit := exec.LookPath(filepath.Join(dir, "initdb"))
		_, errServer := exec.LookPath(filepath.Join(dir, "postgres"))
		if errInit == nil && errServer == nil {
			return dir, nil
		}
	}
	return "", errors.New("the PostgreSQL server programs (initdb, postgres) were not found: install PostgreSQL 15 or newer, " +
		"or name a server with -postgres")
}

// credential returns an unprivileged user when this one is root, as whom PostgreSQL refuses to run.
func credential() (*syscall.Credential, error) {
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
	return nil, errors.New("PostgreSQL does not run as root, and there is no user postgres or nobody to run it as")
}

func (c *cluster) data() string { return filepath.Join(c.dir, "data") }

func (c *cluster) url() string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword("postgres", c.password),
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(c.port)), Path: "/postgres", RawQuery: "sslmode=disable",
	}
	return u.String()
}

// command prepares a program of the server: as its user, out of folders that this user may not enter,
// deaf to this process's PG* variables, and not outliving this process.
func (c *cluster) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, program), args...) //nolint:gosec // found by programs
	cmd.Dir = "/"
	cmd.SysProcAttr = child.DieWithParent(&syscall.SysProcAttr{Credential: c.cred, Setpgid: true})
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "PG") && !strings.HasPrefix(kv, "LC_") && !strings.HasPrefix(kv, "LANG") {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	cmd.Env = append(cmd.Env, "LC_ALL=C")
	return cmd
}

// init makes the data directory with a password, so that nobody else on this machine gets in.
func (c *cluster) init(ctx context.Context, settings []string) error {
	if err := c.own(os.Mkdir(c.dir, 0o700), c.dir); err != nil {
		return err
	}
	password := filepath.Join(c.dir, "password")
	if err := c.own(os.WriteFile(password, []byte(c.password+"\n"), 0o600), password); err != nil {
		return err
	}
	cmd := c.command(ctx, "initdb", "--pgdata", c.data(), "--username=postgres", "--pwfile", password,
		"--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-instructions")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, bytes.TrimSpace(out))
	}
	var err error
	if c.port, err = child.FreePort(ctx); err != nil {
		return err
	}
	lines := append([]string{
		"listen_addresses = '127.0.0.1'", "port = " + strconv.Itoa(c.port), "unix_socket_directories = ''",
		"dynamic_shared_memory_type = mmap", // inside the folder: a killed server leaves nothing behind
	}, settings...)
	return os.WriteFile(filepath.Join(c.data(), "postgresql.auto.conf"), []byte(strings.Join(lines, "\n")+"\n"), 0o600)
}

// own gives what was just made to the server's user.
func (c *cluster) own(err error, path string) error {
	if err != nil || c.cred == nil {
		return err
	}
	return os.Chown(path, int(c.cred.Uid), int(c.cred.Gid))
}
