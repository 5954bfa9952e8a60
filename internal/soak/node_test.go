package soak

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/app"
	"github.com/pombal-api/pombal/internal/testkit"
	"github.com/pombal-api/pombal/internal/testkit/apitest"
)

// orderVariable tells this binary to be a node instead of a test.
const orderVariable = "POMBAL_TEST_SOAK_NODE"

// order is what a node is told.
type order struct {
	Database string
	Dir      string
	WhatsApp app.Sandbox
}

// runNode is the whole life of a node.
func runNode(text string) (code int) {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		fmt.Fprintln(os.Stderr, "panic:", err)
		return 2
	}
	go func() { // a node does not outlive its test
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(3)
	}()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	cfg := apitest.Config(testkit.Database{URL: o.Database, Dir: o.Dir})
	cfg.Sandbox = &o.WhatsApp
	node, err := app.Open(ctx, cfg, os.Stderr)
	if err == nil {
		_, _ = fmt.Fprintln(os.Stdout, node.URL())
		err = node.Run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "the node ends:", err)
		return 1
	}
	return 0
}

// node is a place in the fleet: one process after the other.
type node struct {
	site     *site
	name     string
	database string // its way to it

	mu     sync.Mutex
	lives  int
	proc   *process // nil while there is none
	frozen bool
}

// process is one life of a node.
type process struct {
	name  string // "b3" for the third life of b
	url   string
	cmd   *exec.Cmd
	stdin io.Closer
	log   string // a file
	wa    net.Listener
	done  chan struct{} // closed when it has ended
}

// start starts a process and waits until it serves.
func (n *node) start() error {
	n.mu.Lock()
	n.lives++
	p := &process{name: fmt.Sprintf("%s%d", n.name, n.lives), done: make(chan struct{})}
	n.mu.Unlock()
	if err := p.launch(n.site, n.database); err != nil {
		return fmt.Errorf("%s does not start: %w", p.name, err)
	}
	n.mu.Lock()
	n.proc, n.frozen = p, false
	n.mu.Unlock()
	n.site.setLive(p.name, true)
	return nil
}

func (p *process) launch(s *site, database string) (err error) {
	if p.wa, err = s.door(p.name); err != nil {
		return err
	}
	sandbox := s.sandbox
	sandbox.Addr = p.wa.Addr().String()
	text, err := json.Marshal(order{Database: withName(database, p.name), Dir: s.dir, WhatsApp: sandbox})
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	p.log = filepath.Join(s.dir, p.name+".log")
	log, err := os.Create(p.log)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the process has its own
	p.cmd = exec.Command(self)
	p.cmd.Env = append(os.Environ(), orderVariable+"="+string(text))
	p.cmd.Stderr = log
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return err
	}
	if err = p.cmd.Start(); err != nil {
		return err
	}
	s.addProcess(p)
	url, err := bufio.NewReader(stdout).ReadString('\n')
	go func() { // waited for by whoever ends the process
		defer close(p.done)
		_ = p.cmd.Wait() // ProcessState has the outcome
	}()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, p.remarks())
	}
	p.url = strings.TrimSpace(url)
	return nil
}

// kill9 ends the process as a crash would.
func (n *node) kill9() {
	p := n.take()
	n.site.setLive(p.name, false)
	p.kill()
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may be over already
	<-p.done
	_ = p.stdin.Close() // it may be closed already
	_ = p.wa.Close()
}

// terminate asks the process to stop, as service managers do, and waits until it has.
func (n *node) terminate(tb testing.TB) {
	tb.Helper()
	p := n.take()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		tb.Error(err)
	}
	select {
	case <-p.done:
		if code := p.cmd.ProcessState.ExitCode(); code != 0 {
			tb.Errorf("%s: the exit code after SIGTERM is %d\n%s", p.name, code, p.remarks())
		}
	case <-time.After(40 * time.Second):
		tb.Errorf("%s does not end after SIGTERM\n%s", p.name, p.remarks())
	}
	n.site.setLive(p.name, false)
	p.kill()
}

// freeze stops the process without its knowledge, as a machine that swaps or migrates does.
func (n *node) freeze(tb testing.TB) {
	tb.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.frozen = true
	n.site.setLive(n.proc.name, false)
	if err := n.proc.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		tb.Error(err)
	}
}

// thaw lets the process go on.
func (n *node) thaw(tb testing.TB) {
	tb.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.proc.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		tb.Error(err)
	}
	n.frozen = false
	n.site.setLive(n.proc.name, true)
}

// take removes the process from the node.
func (n *node) take() *process {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.proc
	n.proc = nil
	return p
}

// address is where the node serves; "" when it does not.
func (n *node) address() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proc == nil || n.frozen {
		return ""
	}
	return n.proc.url
}

// life is the name of the node's process; "" when there is none.
func (n *node) life() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proc == nil {
		return ""
	}
	return n.proc.name
}

// remarks are the last lines of the log that are more than information.
func (p *process) remarks() string {
	var lines []string
	raw, _ := os.ReadFile(p.log)
	for line := range strings.Lines(string(raw)) {
		if !strings.Contains(line, `"level":"INFO"`) && !isRefusal(line) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-20):], "")
}

// isRefusal tells the record of a request that was answered with a 503.
func isRefusal(line string) bool {
	return strings.Contains(line, `"msg":"request failed"`) &&
		(strings.Contains(line, "unavailable: ") || strings.Contains(line, `"error":"context deadline exceeded`))
}

// checkLog looks for what no log of a node may have. Races of the library with itself are only told: when a phone
// repeats its half of a pairing, for example, it handles both at once.
func (p *process) checkLog(tb testing.TB) {
	tb.Helper()
	raw, err := os.ReadFile(p.log)
	if err != nil {
		tb.Error(err)
	}
	const line = "==================\n"
	parts := strings.Split(string(raw), line)
	for i := range parts {
		switch {
		case !strings.HasPrefix(parts[i], "WARNING: DATA RACE"):
			p.checkLines(tb, parts[i])
		case strings.Contains(parts[i], "pombal-api/pombal"):
			tb.Errorf("in the log of %s: %s", p.name, parts[i])
		default:
			tb.Logf("in the log of %s: %s", p.name, parts[i])
		}
	}
}

// checkLines looks for panics and errors.
func (p *process) checkLines(tb testing.TB, text string) {
	tb.Helper()
	lines, errors := strings.Split(text, "\n"), 0
	for i, line := range lines {
		crash := strings.Contains(line, "panic")
		if !crash && (!strings.Contains(line, `"level":"ERROR"`) || isRefusal(line)) {
			continue
		}
		end := i + 1
		if crash { // the stacks follow
			end = min(i+60, len(lines))
		}
		if errors++; errors <= 3 {
			tb.Errorf("in the log of %s: %s", p.name, strings.Join(lines[i:end], "\n"))
		}
	}
}
