package soak

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pombal-api/pombal/internal/app"
	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/testkit"
	"github.com/pombal-api/pombal/internal/testkit/apitest"
	"github.com/pombal-api/pombal/pkg/api"
)

// Nodes of these tests publish events on demand: messages, which nothing publishes otherwise, come in any number.

// publisherVariable tells this binary to be such a node instead of a test. It holds the database.
const publisherVariable = "POMBAL_TEST_SOAK_PUBLISHER"

func init() {
	if text := os.Getenv(publisherVariable); text != "" {
		os.Exit(runPublisher(text))
	}
}

// publication is what such a node is told to publish, as a line of JSON on its standard input.
type publication struct {
	Account   domain.ID
	Instances []domain.ID // whose events they are, at random
	Events    int
	Batch     int           // events in a transaction
	Writers   int           // transactions at a time
	Size      int           // bytes of an event's data, roughly
	Every     time.Duration // how long a writer waits after a transaction
}

// receipt is what the node answers: for each transaction, after the commit, and at the end.
type receipt struct {
	Events []published `json:",omitempty"`
	Error  string      `json:",omitempty"`
	Done   bool        `json:",omitempty"`
}

// published is an event that is committed.
type published struct {
	ID       string
	Instance string
	Type     string
	Sequence int64
	at       time.Time // when the test was told
}

// runPublisher is the whole life of such a node.
func runPublisher(text string) (code int) {
	var db testkit.Database
	if err := json.Unmarshal([]byte(text), &db); err != nil {
		fmt.Fprintln(os.Stderr, "panic:", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	cfg := apitest.Config(db)
	cfg.PrivateNetwork = true
	node, err := app.Open(ctx, cfg, os.Stderr)
	if err == nil {
		_, _ = fmt.Fprintln(os.Stdout, node.URL(), node.AdminURL())
		go obey(ctx, node) // ends with the process
		err = node.Run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "the node ends:", err)
		return 1
	}
	return 0
}

// obey publishes what it is told to. The process ends with its standard input.
func obey(ctx context.Context, node *app.App) {
	in := json.NewDecoder(os.Stdin)
	var mu sync.Mutex
	out := json.NewEncoder(os.Stdout)
	tell := func(r receipt) {
		mu.Lock()
		defer mu.Unlock()
		_ = out.Encode(r) // a test that has gone closes the standard input too
	}
	for {
		var p publication
		if err := in.Decode(&p); err != nil {
			os.Exit(3)
		}
		if err := p.publish(ctx, node, tell); err != nil {
			tell(receipt{Error: err.Error()})
		}
		tell(receipt{Done: true})
	}
}

func (p *publication) publish(ctx context.Context, node *app.App, tell func(receipt)) error {
	var left atomic.Int64
	left.Store(int64(p.Events))
	pad := strings.Repeat("x", p.Size)
	writers, ctx := errgroup.WithContext(ctx)
	for range max(1, p.Writers) {
		writers.Go(func() error {
			for {
				n := min(left.Add(-int64(p.Batch))+int64(p.Batch), int64(p.Batch))
				if n <= 0 {
					return nil
				}
				events := p.batch(int(n), pad)
				if err := node.Publish(ctx, p.Account, events); err != nil {
					return err
				}
				tell(receiptOf(events))
				if p.Every > 0 && !pause(ctx, p.Every) {
					return ctx.Err()
				}
			}
		})
	}
	return writers.Wait()
}

// messageEvents are the types that are published.
var messageEvents = []domain.EventSet{
	domain.EventMessageReceived, domain.EventMessageSent, domain.EventMessageDelivered, domain.EventMessageRead, domain.EventMessageFailed,
}

func (p *publication) batch(n int, pad string) []domain.Event {
	events := make([]domain.Event, n)
	for i := range events {
		events[i] = domain.Event{
			InstanceID: p.Instances[rand.IntN(len(p.Instances))], Type: messageEvents[rand.IntN(len(messageEvents))],
			Data: fmt.Appendf(nil, `{"n":"%x","pad":"%s"}`, rand.Uint64(), pad),
		}
	}
	return events
}

func receiptOf(events []domain.Event) (r receipt) {
	for i := range events {
		e := &events[i]
		r.Events = append(r.Events, published{
			ID: e.ID.Prefixed(domain.PrefixEvent), Instance: e.InstanceID.Prefixed(domain.PrefixInstance),
			Type: e.Type.Name(), Sequence: e.Sequence,
		})
	}
	return r
}

// office is an account on a database, and the nodes that publish and deliver its events.
type office struct {
	tb        testing.TB
	db        testkit.Database
	account   domain.ID
	key       string
	api       *api.Client // on any node that serves; answers are held against openapi.yaml
	stream    *api.Client // the same, without that
	calls     *site       // counts them
	clerks    []*clerk
	instances []domain.ID

	mu        sync.Mutex
	processes []*process
	acked     map[string]published
}

// newOffice makes an office without nodes.
func newOffice(tb testing.TB, engine testkit.Engine) *office {
	tb.Helper()
	o := &office{tb: tb, db: engine.New(tb), acked: map[string]published{}, calls: &site{tb: tb, calls: map[string]int{}}}
	cfg := apitest.Config(o.db)
	if err := app.Migrate(tb.Context(), cfg.Database, io.Discard); err != nil {
		tb.Fatal(err)
	}
	operator, err := app.OpenOperator(tb.Context(), cfg, io.Discard)
	if err != nil {
		tb.Fatal(err)
	}
	account, err := operator.CreateAccount(tb.Context(), app.NewAccount{Name: "soak", Plan: "test"})
	if err == nil {
		o.account = account.ID
		_, o.key, err = operator.CreateKey(tb.Context(), app.NewKey{Account: account.ID.Prefixed(domain.PrefixAccount), Name: "soak"})
	}
	if err = errors.Join(err, operator.Close()); err != nil {
		tb.Fatal(err)
	}
	contract, err := apitest.Contract()
	if err != nil {
		tb.Fatal(err)
	}
	transport := o.transport(nil)
	o.api = o.client(contract.For(tb).Transport(transport))
	o.stream = o.client(transport)
	tb.Cleanup(o.end)
	return o
}

// client is the SDK on whatever node the transport leads to.
func (o *office) client(t http.RoundTripper) *api.Client {
	o.tb.Helper()
	c, err := api.NewClient("http://pombal.test", o.key, api.WithHTTPClient(&http.Client{Transport: t, Timeout: 20 * time.Second}), api.WithMaxRetries(0))
	if err != nil {
		o.tb.Fatal(err)
	}
	return c
}

// transport leads to a node, or for nil to any that serves, as a load balancer does.
func (o *office) transport(to *clerk) *http.Transport {
	t := &http.Transport{MaxIdleConnsPerHost: 16, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		clerks := []*clerk{to}
		if to == nil {
			clerks = o.clerks
		}
		for _, i := range rand.Perm(len(clerks)) {
			if p := clerks[i].process(); p != nil {
				return (&net.Dialer{}).DialContext(ctx, network, strings.TrimPrefix(p.url, "http://"))
			}
		}
		return nil, errors.New("no node serves")
	}}
	o.tb.Cleanup(t.CloseIdleConnections)
	return t
}

// end kills what runs and looks at all logs.
func (o *office) end() {
	for _, c := range o.clerks {
		c.kill9()
	}
	for _, p := range o.processes {
		p.checkLog(o.tb)
		if o.tb.Failed() {
			o.tb.Logf("what was remarkable in the log of %s:\n%s", p.name, p.remarks())
		}
	}
}

// newInstances makes instances.
func (o *office) newInstances(n int) {
	o.tb.Helper()
	for i := range n {
		in, err := o.api.Instances.Create(o.tb.Context(), api.CreateInstance{Name: fmt.Sprintf("Instance %d", i)})
		if err != nil {
			o.tb.Fatal(err)
		}
		o.addInstance(in.ID)
	}
}

func (o *office) addInstance(id string) {
	o.tb.Helper()
	parsed, err := domain.ParsePrefixed(domain.PrefixInstance, id)
	if err != nil {
		o.tb.Fatal(err)
	}
	o.instances = append(o.instances, parsed)
}

// ackedEvents is how many events are known to be committed.
func (o *office) ackedEvents() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.acked)
}

func (o *office) take(r *receipt) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	for _, e := range r.Events {
		e.at = now
		o.acked[e.ID] = e
	}
}

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
	if err := p.cmd.Start(); err != nil {
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

// history lists all events of the account.
func (o *office) history() (events []api.Event) {
	o.tb.Helper()
	for e, err := range o.stream.Events.All(o.tb.Context(), api.ListEventsParams{Limit: 100}) {
		if err != nil {
			o.tb.Fatal(err)
		}
		events = append(events, e)
	}
	return events
}

// checkHistory holds the list against the receipts: nothing that is committed is missing, and sequences have no gaps.
func (o *office) checkHistory(events []api.Event) {
	o.tb.Helper()
	last := map[string]int64{}
	listed := make(map[string]bool, len(events))
	for _, e := range events {
		instance := *e.InstanceID
		if last[instance]++; *e.Sequence != last[instance] {
			o.tb.Fatalf("%s of %s has the sequence %d, want %d", e.ID, instance, *e.Sequence, last[instance])
		}
		if a, found := o.acked[e.ID]; found && (a.Sequence != *e.Sequence || a.Instance != instance || a.Type != string(e.Event)) {
			o.tb.Errorf("the list has %+v, published was %+v", e, a)
		}
		if listed[e.ID] {
			o.tb.Errorf("the list has %s twice", e.ID)
		}
		listed[e.ID] = true
	}
	missing := 0
	for id := range o.acked {
		if !listed[id] {
			missing++
		}
	}
	if missing > 0 {
		o.tb.Errorf("%d of %d events that were committed are not in the list", missing, len(o.acked))
	}
}

// follower keeps what a stream yields.
type follower struct {
	stop context.CancelFunc
	done chan struct{}

	mu   sync.Mutex
	ids  []string
	came map[string]time.Time
	err  error
}

// follow follows events with the SDK, which connects again by itself, from behind an event on.
func (o *office) follow(client *api.Client, after string) *follower {
	ctx, cancel := context.WithCancel(context.Background())
	f := &follower{stop: cancel, done: make(chan struct{}), came: map[string]time.Time{}}
	go func() { // ended by the cleanup below, at the latest
		defer close(f.done)
		for e, err := range client.Events.Stream(ctx, api.StreamEventsParams{After: &after}) {
			f.mu.Lock()
			if err == nil {
				f.ids, f.came[e.ID] = append(f.ids, e.ID), time.Now()
			} else if ctx.Err() == nil {
				f.err = err
			}
			f.mu.Unlock()
		}
	}()
	o.tb.Cleanup(func() { cancel(); <-f.done })
	return f
}

// has waits until the stream has yielded n events.
func (f *follower) has(n int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil || len(f.ids) < n {
		return fmt.Errorf("the stream has yielded %d events of %d: %w", len(f.ids), n, f.err)
	}
	return nil
}

// check compares what came with what has happened.
func (f *follower) check(tb testing.TB, want []api.Event) {
	tb.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range max(len(f.ids), len(want)) {
		switch {
		case i >= len(want):
			tb.Errorf("the stream yielded %d events, want %d", len(f.ids), len(want))
			return
		case i >= len(f.ids) || f.ids[i] != want[i].ID:
			tb.Errorf("event %d of %d of the stream is not the one that has happened", i, len(f.ids))
			return
		}
	}
}
