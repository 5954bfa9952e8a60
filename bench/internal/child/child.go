// Package child starts the processes of a benchmark: servers that say where they listen, and that do not
// outlive the benchmark, however it ends.
package child

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Server is a running server.
type Server struct {
	// Name for reports.
	Name string
	// Addr is host:port of its API.
	Addr string
	// PID of its process.
	PID int

	cmd    *exec.Cmd
	exited chan struct{}
	log    string
}

// patience bounds the start and the end of a server on a busy machine.
const patience = 30 * time.Second

// Start starts cmd, which must write a JSON line with its "addr" to its standard error when it listens.
// All that it writes there goes to the file log.
func Start(ctx context.Context, name string, cmd *exec.Cmd, log string) (*Server, error) {
	file, err := os.Create(log) //nolint:gosec // in the benchmark's own folder
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	cmd.Stderr = file
	cmd.SysProcAttr = DieWithParent(&syscall.SysProcAttr{Setpgid: true}) // an interrupt is for the parent
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	s := &Server{Name: name, PID: cmd.Process.Pid, cmd: cmd, exited: make(chan struct{}), log: log}
	go func() { // ends with the process
		_ = cmd.Wait() // whoever wants the reason reads the log
		close(s.exited)
	}()
	if err := s.await(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("%s did not start: %w", name, err), s.Close())
	}
	return s, nil
}

// await waits for the address.
func (s *Server) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	for {
		written, err := os.ReadFile(s.log)
		if err != nil {
			return err
		}
		if s.Addr = address(written); s.Addr != "" {
			return nil
		}
		select {
		case <-s.exited:
			return fmt.Errorf("it ended and said:\n%s", written)
		case <-ctx.Done():
			return fmt.Errorf("%w; it said:\n%s", ctx.Err(), written)
		case <-retry.C:
		}
	}
}

// address returns the first "addr" of the lines that are complete.
func address(log []byte) string {
	for line := range bytes.Lines(log) {
		var entry struct {
			Addr string `json:"addr"`
		}
		if line[len(line)-1] == '\n' && json.Unmarshal(line, &entry) == nil && entry.Addr != "" {
			return entry.Addr
		}
	}
	return ""
}

// Announce is what a server of ours writes for Start to find.
func Announce(addr string) error {
	return json.NewEncoder(os.Stderr).Encode(map[string]string{"addr": addr})
}

// Close asks the server to end, and kills it if it does not.
func (s *Server) Close() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may be gone already
	select {
	case <-s.exited:
		return nil
	case <-time.After(patience):
		return errors.Join(fmt.Errorf("%s did not end", s.Name), s.cmd.Process.Kill())
	}
}

// Serve serves h on a free port of this machine until ctx ends, and announces where.
func Serve(ctx context.Context, h http.Handler) error {
	l, err := listen(ctx)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: patience}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := Announce(l.Addr().String()); err != nil {
		return err
	}
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
