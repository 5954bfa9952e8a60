// Package postgres starts a PostgreSQL server for a benchmark, as durable as one in production, and
// makes databases on it.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// Server is a running server.
type Server struct {
	// URL of its maintenance database.
	URL string
	// PID of the postmaster; 0 when the server is not on this machine.
	PID int
	// Version such as "15.18".
	Version string

	cmd *exec.Cmd // nil when somebody else started it
	dir string
}

// Settings are lines of postgresql.conf for a private server: durable, and with memory that the data of
// a benchmark fits in. Without replication the log may leave out what a bulk load writes.
func Settings(sharedBuffers string) []string {
	return []string{
		"shared_buffers = " + sharedBuffers, "fsync = on", "synchronous_commit = on", "full_page_writes = on",
		"wal_level = minimal", "max_wal_senders = 0", "max_wal_size = 8GB",
		"maintenance_work_mem = 1GB", "max_connections = 100", "jit = off",
	}
}

// Start starts a private server whose data lies in dir, which must not exist. It ends with Close, or
// with this process.
func Start(ctx context.Context, dir string, settings []string) (*Server, error) {
	c, err := newCluster(dir)
	if err != nil {
		return nil, err
	}
	if err = c.init(ctx, settings); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "server.log")) //nolint:gosec // the folder that c.init has made
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	cmd := c.command(context.WithoutCancel(ctx), "postgres", "-D", c.data())
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	s := &Server{URL: c.url(), PID: cmd.Process.Pid, cmd: cmd, dir: dir}
	if err := s.await(ctx); err != nil {
		tail, _ := os.ReadFile(log.Name())
		return nil, errors.Join(fmt.Errorf("PostgreSQL did not start: %w\n%s", err, tail), s.Close())
	}
	return s, nil
}

// Join uses a server that somebody else has started. The user must be allowed to create databases.
func Join(ctx context.Context, address string) (*Server, error) {
	s := &Server{URL: address}
	if err := s.await(ctx); err != nil {
		return nil, err
	}
	s.PID = localPostmaster(ctx, address)
	return s, nil
}

// localPostmaster finds the process of a server on this machine, for its CPU. Whoever may not ask gets 0.
func localPostmaster(ctx context.Context, address string) int {
	u, err := url.Parse(address)
	if err != nil {
		return 0
	}
	if ip := net.ParseIP(u.Hostname()); u.Hostname() != "localhost" && u.Hostname() != "" && (ip == nil || !ip.IsLoopback()) {
		return 0
	}
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return 0
	}
	defer func() { _ = conn.Close(ctx) }()
	var first string
	if conn.QueryRow(ctx, "SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)").Scan(&first) != nil {
		return 0
	}
	pid, _ := strconv.Atoi(first)
	if _, err := os.Stat(fmt.Sprintf("/proc/%d/stat", pid)); err != nil {
		return 0
	}
	return pid
}

// await waits until the server answers.
func (s *Server) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	retry := time.NewTicker(100 * time.Millisecond)
	defer retry.Stop()
	for {
		conn, err := pgx.Connect(ctx, s.URL)
		if err == nil {
			s.Version, _, _ = strings.Cut(conn.PgConn().ParameterStatus("server_version"), " ")
			return conn.Close(ctx)
		}
		var refused *net.OpError
		if !errors.As(err, &refused) && !strings.Contains(err.Error(), "57P03") { // 57P03: still starting
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-retry.C:
		}
	}
}

// Close stops a private server and deletes its data.
func (s *Server) Close() error {
	if s.cmd == nil {
		return nil
	}
	// Nobody wants the data: no checkpoint on the way out.
	err := s.cmd.Process.Signal(syscall.SIGQUIT)
	_ = s.cmd.Wait() // says that it was told to quit
	return errors.Join(err, os.RemoveAll(s.dir))
}

// CreateDatabase makes an empty database and returns its URL and a function that drops it.
func (s *Server) CreateDatabase(ctx context.Context, name string) (address string, drop func() error, err error) {
	if err = s.exec(ctx, "CREATE DATABASE "+name+" TEMPLATE template0 STRATEGY file_copy"); err != nil {
		return "", nil, err
	}
	u, err := url.Parse(s.URL)
	if err != nil {
		return "", nil, err
	}
	u.Path = "/" + name
	return u.String(), func() error {
		return s.exec(context.WithoutCancel(ctx), "DROP DATABASE "+name+" WITH (FORCE)")
	}, nil
}

func (s *Server) exec(ctx context.Context, statement string) error {
	conn, err := pgx.Connect(ctx, s.URL)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, statement)
	return err
}
