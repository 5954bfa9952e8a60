package soak

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// clerk is a place for a node of an office: one process after the other.
type clerk struct {
	office *office
	name   string

	mu       sync.Mutex
	lives    int
	proc     *process // nil while there is none
	admin    string   // where its metrics are
	told     int      // publications in this life
	finished atomic.Int64
}

// newClerk adds a node to the office, and starts it.
func (o *office) newClerk() *clerk {
	o.tb.Helper()
	c := &clerk{office: o, name: string(rune('a' + len(o.clerks)))}
	if err := c.start(); err != nil {
		o.tb.Fatal(err)
	}
	o.clerks = append(o.clerks, c)
	return c
}

// start starts a process and waits until it serves.
func (c *clerk) start() error {
	c.lives++
	p := &process{name: fmt.Sprintf("%s%d", c.name, c.lives), done: make(chan struct{})}
	o := c.office
	text, err := json.Marshal(o.db)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	p.log = filepath.Join(o.db.Dir, p.name+".log")
	log, err := os.Create(p.log)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the process has its own
	p.cmd = exec.Command(self)
	p.cmd.Env, p.cmd.Stderr = append(os.Environ(), publisherVariable+"="+string(text)), log
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return err
	}
	p.stdin = stdin
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err = p.cmd.Start(); err != nil {
		return err
	}
	o.processes = append(o.processes, p)
	out := bufio.NewReader(stdout)
	first, err := out.ReadString('\n')
	c.mu.Lock()
	defer c.mu.Unlock()
	c.finished.Store(0)
	go func() { // waited for by whoever ends the process
		defer close(p.done)
		c.listen(json.NewDecoder(out))
		_ = p.cmd.Wait() // ProcessState has the outcome
	}()
	if err != nil {
		return fmt.Errorf("%s does not start: %w\n%s", p.name, err, p.remarks())
	}
	p.url, c.admin, _ = strings.Cut(strings.TrimSpace(first), " ")
	c.proc, c.told = p, 0
	return nil
}

// listen takes receipts until the process is dead. The last one may be cut off.
func (c *clerk) listen(in *json.Decoder) {
	for {
		var r receipt
		if in.Decode(&r) != nil {
			return
		}
		c.office.take(&r)
		if r.Refused {
			c.office.tb.Logf("%s was too busy to publish", c.name)
		}
		if r.Error != "" {
			c.office.tb.Errorf("%s cannot publish: %s", c.name, r.Error)
		}
		if r.Done {
			c.finished.Add(1)
		}
	}
}

// process returns the process; nil when there is none.
func (c *clerk) process() *process {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.proc
}

// kill9 ends the process as a crash would, and returns when all its receipts are taken.
func (c *clerk) kill9() {
	c.mu.Lock()
	p := c.proc
	c.proc = nil
	c.mu.Unlock()
	if p == nil {
		return
	}
	_ = p.cmd.Process.Kill() // it may be over already
	<-p.done
	_ = p.stdin.Close() // it may be closed already
}

// publish has the node publish, and returns at once.
func (c *clerk) publish(p publication) {
	c.office.tb.Helper()
	p.Account, p.Batch, p.Writers = c.office.account, max(1, p.Batch), max(1, p.Writers)
	if p.Instances == nil {
		p.Instances = c.office.instances
	}
	if err := json.NewEncoder(c.process().stdin.(io.Writer)).Encode(p); err != nil {
		c.office.tb.Fatal(err)
	}
	c.told++
}

// isDone tells whether the node has published all it was told to.
func (c *clerk) isDone() error {
	if n := int(c.finished.Load()); n < c.told {
		return fmt.Errorf("%s has finished %d of %d publications", c.name, n, c.told)
	}
	return nil
}

// metric reads a metric of the node.
func (c *clerk) metric(ctx context.Context, name string) (value float64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.admin+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	t := &http.Transport{DisableKeepAlives: true}
	res, err := (&http.Client{Transport: t, Timeout: 10 * time.Second}).Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		if text, found := strings.CutPrefix(lines.Text(), name+" "); found {
			_, err = fmt.Sscan(text, &value)
			return value, err
		}
	}
	return 0, errors.Join(fmt.Errorf("there is no metric %s", name), lines.Err())
}
