package soak

import (
	"encoding/json"
	"fmt"
	"hash/maphash"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/testkit/apitest"
	"github.com/pombal-api/pombal/pkg/api"
)

// trouble is what an endpoint makes, in thousandths of its requests.
type trouble struct {
	refuse, reset int
	slow          time.Duration // at most, to answer
	hang          int           // requests in all that it never answers
}

// endpoint is a URL of a customer.
type endpoint struct {
	url, path string
	secret    string // "" for one that is not known
	hooks     []string
	trouble   trouble
	wants     func(instance, event string) bool

	mu       sync.Mutex
	accepted map[string]uint64 // the hashes of bodies, by the webhook-id
	bodies   map[string]uint64 // of all requests
	latest   time.Time         // when something was last accepted
	posts    int
	again    int // accepted once more
	wrong    []string
	dice     *rand.Rand
}

// receivers is a server with endpoints.
type receivers struct {
	url  string
	seed maphash.Seed
	all  map[string]*endpoint // by path
}

// newReceivers starts a server that ends with the test. Endpoints are added before any is called.
func newReceivers(tb testing.TB) *receivers {
	tb.Helper()
	r := &receivers{seed: maphash.MakeSeed(), all: map[string]*endpoint{}}
	server := httptest.NewServer(r)
	tb.Cleanup(server.Close)
	r.url = server.URL
	return r
}

func (r *receivers) add(t trouble, wants func(instance, event string) bool) *endpoint {
	path := fmt.Sprintf("/%d", len(r.all))
	e := &endpoint{
		url: r.url + path, path: path, trouble: t, wants: wants, accepted: map[string]uint64{}, bodies: map[string]uint64{},
		dice: rand.New(rand.NewPCG(uint64(len(r.all)), 4)),
	}
	r.all[path] = e
	return e
}

// subscribe makes a webhook for an endpoint.
func (o *office) subscribe(e *endpoint, instance *string, types ...api.EventType) {
	o.tb.Helper()
	body := api.CreateWebhook{URL: e.url, Events: types, InstanceID: instance}
	if e.secret != "" {
		body.Secret = &e.secret
	}
	hook, err := o.api.Webhooks.Create(o.tb.Context(), body)
	if err != nil {
		o.tb.Fatal(err)
	}
	e.secret, e.hooks = hook.Secret, append(e.hooks, hook.ID)
}

// messageTypes are the types that are published.
var messageTypes = []api.EventType{
	api.EventTypeMessageReceived, api.EventTypeMessageSent, api.EventTypeMessageDelivered, api.EventTypeMessageRead, api.EventTypeMessageFailed,
}

// ServeHTTP implements http.Handler.
func (r *receivers) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	e := r.all[req.URL.Path]
	body, err := io.ReadAll(req.Body)
	if e == nil || err != nil {
		return // a sender that died
	}
	refuse, reset, hang, wait := e.throw()
	e.note(apitest.Received{Header: req.Header, Body: body}, maphash.Bytes(r.seed, body))
	switch {
	case hang:
		<-req.Context().Done()
		return
	case wait > 0 && !pause(req.Context(), wait):
		return
	case reset:
		if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_ = c.(*net.TCPConn).SetLinger(0) // so that Close resets
			_ = c.Close()
		}
		return
	case refuse:
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	e.accept(req.Header.Get("webhook-id"), maphash.Bytes(r.seed, body))
}

// throw decides what becomes of a request.
func (e *endpoint) throw() (refuse, reset, hang bool, wait time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := &e.trouble
	if t.slow > 0 {
		wait = time.Duration(e.dice.Int64N(int64(t.slow)))
	}
	if hang = t.hang > 0 && e.dice.IntN(100) == 0; hang {
		t.hang--
	}
	roll := e.dice.IntN(1000)
	return roll < t.refuse, roll >= t.refuse && roll < t.refuse+t.reset, hang, wait
}

// note looks at a request: its signatures, and that it says under one id always the same.
func (e *endpoint) note(r apitest.Received, hash uint64) {
	var body struct{ ID, Event, InstanceID string }
	id := r.Header.Get("webhook-id")
	err := json.Unmarshal(r.Body, &body)
	if err == nil && e.secret != "" {
		err = r.Verify(e.secret)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	before, known := e.bodies[id]
	e.bodies[id] = hash
	e.posts++
	switch {
	case len(e.wrong) >= 5:
	case err != nil:
		e.wrong = append(e.wrong, err.Error())
	case body.ID != id:
		e.wrong = append(e.wrong, fmt.Sprintf("%s came under the webhook-id %s", body.ID, id))
	case known && before != hash:
		e.wrong = append(e.wrong, "other bytes came under the webhook-id "+id)
	case !e.wants(body.InstanceID, body.Event):
		e.wrong = append(e.wrong, fmt.Sprintf("it has not asked for %s of %s", body.Event, body.InstanceID))
	}
}

func (e *endpoint) accept(id string, hash uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, known := e.accepted[id]; known {
		e.again++
	}
	e.accepted[id], e.latest = hash, time.Now()
}

// count is how many events have been accepted, of all endpoints.
func (r *receivers) count() (n int) {
	for _, e := range r.all {
		e.mu.Lock()
		n += len(e.accepted)
		e.mu.Unlock()
	}
	return n
}

// account holds what was accepted against what has happened, and counts what is neither accepted nor listed, by the
// path of the endpoint.
func (r *receivers) account(events []api.Event, listed map[string]map[string]bool) (missing, total int) {
	for _, e := range r.all {
		e.mu.Lock()
		for i := range events {
			if !e.wants(*events[i].InstanceID, string(events[i].Event)) {
				continue
			}
			total++
			if _, found := e.accepted[events[i].ID]; !found && !listed[e.path][events[i].ID] {
				missing++
			}
		}
		e.mu.Unlock()
	}
	return missing, total
}

// open lists what the log says is waiting or has been given up, by the endpoint.
func (o *office) open(r *receivers) (map[string]map[string]bool, int) {
	o.tb.Helper()
	listed, n := map[string]map[string]bool{}, 0
	for _, e := range r.all {
		listed[e.path] = map[string]bool{}
		for _, hook := range e.hooks {
			for _, status := range []api.ListWebhookLogsParamsStatus{api.ListWebhookLogsParamsStatusWaiting, api.ListWebhookLogsParamsStatusExhausted} {
				for log, err := range o.stream.Webhooks.AllLogs(o.tb.Context(), hook, api.ListWebhookLogsParams{Limit: 100, Status: status}) {
					if err != nil {
						o.tb.Fatal(err)
					}
					listed[e.path][log.EventID] = true
					n++
				}
			}
		}
	}
	return listed, n
}

// replay has everything tried again that was refused since a moment.
func (o *office) replay(r *receivers, since time.Time) (n int) {
	o.tb.Helper()
	for _, e := range r.all {
		for _, hook := range e.hooks {
			res, err := o.api.Webhooks.Replay(o.tb.Context(), hook, api.ReplayWebhook{Since: api.NewTime(since)})
			if err != nil {
				o.tb.Fatal(err)
			}
			n += res.Replayed
		}
	}
	return n
}

// report says what came, and complains of what must not have.
func (r *receivers) report(tb testing.TB) {
	tb.Helper()
	var paths []string
	for path := range r.all {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	posts, accepted, again := 0, 0, 0
	for _, path := range paths {
		e := r.all[path]
		e.mu.Lock()
		for _, wrong := range e.wrong {
			tb.Errorf("endpoint %s: %s", path, wrong)
		}
		posts, accepted, again = posts+e.posts, accepted+len(e.accepted), again+e.again
		for id := range e.bodies {
			if _, found := e.accepted[id]; !found {
				tb.Errorf("endpoint %s has never accepted %s", path, id)
				break
			}
		}
		e.mu.Unlock()
	}
	tb.Logf("%d requests came, %d events were accepted, %d times one was accepted again", posts, accepted, again)
}
