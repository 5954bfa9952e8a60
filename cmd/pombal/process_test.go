package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// output collects what a process prints.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// process is a running pombal.
type process struct {
	cmd         *exec.Cmd
	stdout, log *output
	done        chan struct{} // closed when it has ended
	url, admin  string        // where it serves
}

// start starts the program with these variables beside the test's own. It is killed when the test ends.
func start(tb testing.TB, env []string, args ...string) *process {
	tb.Helper()
	p := &process{cmd: exec.Command(binary(tb), args...), stdout: &output{}, log: &output{}, done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = p.stdout, p.log
	if err := p.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	go func() { // waited for by kill
		defer close(p.done)
		_ = p.cmd.Wait() // ProcessState has the outcome
	}()
	tb.Cleanup(func() {
		p.kill()
		if tb.Failed() {
			tb.Logf("what was remarkable in the log of process %d:\n%s", p.cmd.Process.Pid, p.remarks())
		}
	})
	return p
}

// remarks are the last lines of the log that are more than information.
func (p *process) remarks() string {
	var lines []string
	for line := range strings.Lines(p.log.String()) {
		if !strings.Contains(line, `"level":"INFO"`) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-5):], "")
}

// kill ends the process as a crash would.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may be over already
	<-p.done
}

// terminate asks the process to stop, as service managers do.
func (p *process) terminate(tb testing.TB) {
	tb.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		tb.Fatal(err)
	}
}

// exitCode waits for the end.
func (p *process) exitCode(tb testing.TB) int {
	tb.Helper()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(30 * time.Second):
		tb.Fatal("the process does not end")
		return -1
	}
}

// stop stops the process in order.
func (p *process) stop(tb testing.TB) {
	tb.Helper()
	p.terminate(tb)
	if code := p.exitCode(tb); code != 0 {
		tb.Errorf("the exit code after SIGTERM is %d", code)
	}
}

// ended reports that the process is over, to those who wait for something else.
func (p *process) ended() error {
	select {
	case <-p.done:
		return fmt.Errorf("it has ended with code %d: %s", p.cmd.ProcessState.ExitCode(), p.log)
	default:
		return nil
	}
}

// serving waits for the line of the log that says where it serves.
func (p *process) serving(tb testing.TB) *process {
	tb.Helper()
	eventually(tb, 30*time.Second, func() error {
		var line struct{ Msg, Addr, Admin string }
		lines := bufio.NewScanner(strings.NewReader(p.log.String()))
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "serving" {
				p.url, p.admin = "http://"+line.Addr, "http://"+line.Admin
				return nil
			}
		}
		if err := p.ended(); err != nil {
			tb.Fatal(err)
		}
		return errors.New("it does not say that it serves")
	})
	return p
}

// client talks to processes and leaves no connection behind.
func client(tb testing.TB) *http.Client {
	tb.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 32}
	tb.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}
}

// call sends a request and reads the answer. The header lists names and values in turn.
func call(tb testing.TB, c *http.Client, method, url, body string, header ...string) (status int, answer string, err error) {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), method, url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := c.Do(req)
	if err != nil {
		return 0, "", err
	}
	text, err := io.ReadAll(res.Body)
	return res.StatusCode, string(text), errors.Join(err, res.Body.Close())
}

// mustCall is call for requests that must be answered with the status.
func mustCall(tb testing.TB, c *http.Client, want int, method, url, body string, header ...string) string {
	tb.Helper()
	status, answer, err := call(tb, c, method, url, body, header...)
	if err != nil || status != want {
		tb.Fatalf("%s %s: %d, want %d (%v): %s", method, url, status, want, err, answer)
	}
	return answer
}
