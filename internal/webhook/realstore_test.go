package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/store"
	"github.com/pombal-api/pombal/internal/testkit"
)

// real is accounts with webhooks in a real database.
type real struct {
	t        testing.TB
	db       *store.Store
	accounts []*store.Account
	hooks    []domain.Webhook
}

// newReal makes n accounts with a webhook each, whose events go to a path of its own below to.
func newReal(t testing.TB, engine testkit.Engine, n int, to string) *real {
	t.Helper()
	database := engine.New(t)
	db, err := store.Open(t.Context(), store.Config{URL: database.URL, DataDir: database.Dir, MaxConns: 16})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err = db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := &real{t: t, db: db}
	for i := range n {
		account := domain.Account{Name: "a", Plan: "free"}
		if err = db.CreateAccount(t.Context(), &account); err != nil {
			t.Fatal(err)
		}
		bound, err := db.Account(account.ID)
		if err != nil {
			t.Fatal(err)
		}
		hook := domain.Webhook{URL: fmt.Sprintf("%s/%d", to, i), Events: domain.AllEvents, Secret: []byte("secret"), Timeout: 5 * time.Second}
		if err = bound.CreateWebhook(t.Context(), &hook); err != nil {
			t.Fatal(err)
		}
		r.accounts, r.hooks = append(r.accounts, bound), append(r.hooks, hook)
	}
	return r
}

// publish makes an event in an account.
func (r *real) publish(ctx context.Context, account int, data []byte) (domain.ID, error) {
	e := []domain.Event{{InstanceID: r.hooks[account].ID, Type: domain.EventMessageSent, Data: data}}
	err := r.accounts[account].PublishEvents(ctx, e)
	return e[0].ID, err
}

// waiting tells whether a webhook has deliveries in a state.
func (r *real) has(hook int, state domain.DeliveryState) bool {
	list, _, err := r.accounts[hook].Deliveries(r.t.Context(), r.hooks[hook].ID, domain.PageRequest{Limit: 1}, domain.DeliveryFilter{State: state})
	if err != nil {
		r.t.Fatal(err)
	}
	return len(list) > 0
}

// worker starts a worker on a store, which ends with the test, or by stop.
func (r *real) worker(s Store, change ...func(*Worker)) (w *Worker, stop func()) {
	r.t.Helper()
	unsealed := func(_ *domain.Webhook, sealed []byte) ([]byte, error) { return sealed, nil }
	client := NewClient(NewURLPolicy(Loopback()...), unsealed, 64)
	w = NewWorker(Config{Store: s, Client: client})
	for _, c := range change {
		c(w)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); w.Run(ctx) }()
	stop = func() { cancel(); <-done; client.Close() }
	r.t.Cleanup(stop)
	return w, stop
}

// await waits for a condition.
func (r *real) await(what string, atMost time.Duration, met func() bool) {
	r.t.Helper()
	deadline := time.NewTimer(atMost)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !met() {
		select {
		case <-deadline.C:
			r.t.Fatalf("waited %v for %s", atMost, what)
		case <-tick.C:
		}
	}
}

// mortal is a store whose connection is cut when the worker dies: nothing gets through after that.
type mortal struct {
	Store
	dead atomic.Bool
}

var errDead = errors.New("dead")

func (m *mortal) RenewLanes(ctx context.Context, worker domain.ID, lease time.Duration) ([]domain.Lane, error) {
	if m.dead.Load() {
		return nil, errDead
	}
	return m.Store.RenewLanes(ctx, worker, lease)
}

func (m *mortal) Settle(ctx context.Context, outcomes []domain.Outcome, updates []domain.LaneUpdate) ([]domain.LaneKey, error) {
	if m.dead.Load() {
		return nil, domain.Unavailable(errDead)
	}
	return m.Store.Settle(ctx, outcomes, updates)
}

func (m *mortal) ClaimLanes(ctx context.Context, worker domain.ID, limit int, lease time.Duration) ([]domain.Lane, error) {
	if m.dead.Load() {
		return nil, errDead
	}
	return m.Store.ClaimLanes(ctx, worker, limit, lease)
}

// unreliable accepts, refuses, hangs up and hangs, and remembers what it has accepted.
type unreliable struct {
	mu       sync.Mutex
	accepted map[string]int // by event
	posted   map[string]int
}

func (u *unreliable) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body struct {
		ID string `json:"id"`
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.ID != r.Header.Get("webhook-id") {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	u.mu.Lock()
	u.posted[body.ID]++
	u.mu.Unlock()
	switch n := rand.IntN(100); {
	case n < 10:
		w.WriteHeader(http.StatusInternalServerError)
		return
	case n < 15:
		panic(http.ErrAbortHandler) //nolint:forbidigo // it is how a handler breaks off
	case n < 17:
		<-r.Context().Done()
		return
	case n < 19:
		u.accept(body.ID)           // and nobody hears of it
		panic(http.ErrAbortHandler) //nolint:forbidigo // it is how a handler breaks off
	}
	u.accept(body.ID)
	w.WriteHeader(http.StatusNoContent)
}

func (u *unreliable) accept(id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.accepted[id]++
}

// Every event is accepted by its receiver at least once, or is known to be exhausted, whatever receivers do, and
// though workers die.
func TestWorker_LosesNothing(t *testing.T) {
	t.Parallel()
	events, deaths := 2_000, 4
	if os.Getenv("POMBAL_SOAK") != "" {
		events, deaths = 100_000, 20
	}
	for _, engine := range testkit.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			receiver := &unreliable{accepted: map[string]int{}, posted: map[string]int{}}
			server := httptest.NewServer(receiver)
			t.Cleanup(server.Close)
			r := newReal(t, engine, 5, server.URL)
			loseNothing(t, r, receiver, events, deaths)
		})
	}
}

func loseNothing(t *testing.T, r *real, receiver *unreliable, events, deaths int) {
	soon := func(w *Worker) {
		w.delays = []time.Duration{0, 20 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond}
		w.cfg.Lease, w.cfg.Drain = time.Second, time.Millisecond
		w.sender = hasty{w.sender.(*Client)}
	}
	r.worker(r.db, soon) // this one lives
	var workers sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	workers.Go(func() {
		for range deaths {
			m := &mortal{Store: r.db}
			w, stop := r.worker(m, soon)
			for w.Stats().Attempts == 0 && ctx.Err() == nil { // it dies at work
				w.Wake()
				<-time.After(time.Millisecond)
			}
			<-time.After(time.Duration(rand.IntN(200)) * time.Millisecond)
			m.dead.Store(true)
			stop()
		}
	})
	published := make([]domain.ID, events)
	var publishing sync.WaitGroup
	for p := range 8 {
		publishing.Go(func() {
			for i := p; i < events; i += 8 {
				id, err := r.publish(t.Context(), i%len(r.accounts), []byte(`{"n":1}`))
				if err != nil {
					t.Error(err)
					return
				}
				published[i] = id
			}
		})
	}
	publishing.Wait()
	for i := range r.hooks {
		r.await("the end of all deliveries", 5*time.Minute, func() bool { return !r.has(i, domain.DeliveryWaiting) })
	}
	cancel()
	workers.Wait()

	exhausted := r.exhausted()
	receiver.mu.Lock()
	defer receiver.mu.Unlock()
	twice := 0
	for _, id := range published {
		text := id.Prefixed(domain.PrefixEvent)
		if receiver.accepted[text] == 0 && !exhausted[id] {
			t.Errorf("event %s was posted %d times, accepted never, and is not exhausted", text, receiver.posted[text])
		}
		if receiver.accepted[text] > 1 {
			twice++
		}
	}
	t.Logf("%d events, %d exhausted, %d accepted more than once", events, len(exhausted), twice)
}

// exhausted lists the events of exhausted deliveries.
func (r *real) exhausted() map[domain.ID]bool {
	r.t.Helper()
	ids := map[domain.ID]bool{}
	for i := range r.hooks {
		list, info, err := r.accounts[i].Deliveries(r.t.Context(), r.hooks[i].ID, domain.PageRequest{Limit: 10_000}, domain.DeliveryFilter{State: domain.DeliveryExhausted})
		if err != nil || info.HasMore {
			r.t.Fatal(err, info)
		}
		for _, d := range list {
			ids[d.Event.ID] = true
		}
	}
	return ids
}

// hasty waits for nobody for long.
type hasty struct{ *Client }

func (h hasty) send(ctx context.Context, r request) (reply, error) {
	r.webhook.Timeout = 300 * time.Millisecond
	return h.Client.send(ctx, r)
}

// BenchmarkWorker is the whole way of an event of 300 bytes: published by one of 32, delivered to the receiver of
// its account, recorded. It ends when all are.
func BenchmarkWorker(b *testing.B) {
	for _, engine := range testkit.Engines() {
		for _, hooks := range []int{1, 20, 200} {
			b.Run(fmt.Sprintf("%s/webhooks=%d", engine.Name, hooks), func(b *testing.B) {
				var got atomic.Int64
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					got.Add(1)
					w.WriteHeader(http.StatusNoContent)
				}))
				defer server.Close()
				r := newReal(b, engine, hooks, server.URL)
				w, stop := r.worker(r.db)
				defer stop()
				data := fmt.Appendf(nil, `{"x":"%0300d"}`, 0)
				b.ResetTimer()
				var publishing sync.WaitGroup
				for p := range 32 {
					publishing.Go(func() {
						for i := p; i < b.N; i += 32 {
							if _, err := r.publish(b.Context(), i%hooks, data); err != nil {
								b.Error(err)
								return
							}
							w.Wake()
						}
					})
				}
				publishing.Wait()
				published := b.Elapsed()
				r.await("all", 5*time.Minute, func() bool {
					return got.Load() >= int64(b.N) && w.Stats() == Stats{}
				})
				b.ReportMetric(float64(b.N)/published.Seconds(), "published/s")
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
				b.ReportMetric(float64(got.Load())/float64(b.N), "posts/event")
			})
		}
	}
}

// BenchmarkWorkerLatency is the time from when an event is about to be published to its receiver, at 100 events a
// second over 20 webhooks, and with two more of them that hang.
func BenchmarkWorkerLatency(b *testing.B) {
	for _, engine := range testkit.Engines() {
		for _, hanging := range []int{0, 2} {
			b.Run(fmt.Sprintf("%s/hanging=%d", engine.Name, hanging), func(b *testing.B) { benchLatency(b, engine, hanging) })
		}
	}
}

func benchLatency(b *testing.B, engine testkit.Engine, hanging int) {
	const healthy = 20
	got := make(chan time.Duration, b.N)
	begun := time.Now()
	end := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Data struct {
				At time.Duration `json:"at"`
			} `json:"data"`
		}
		if n, _ := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/")); n >= healthy {
			<-end
			return
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			b.Error(err)
		}
		got <- time.Since(begun) - body.Data.At
	}))
	defer server.Close()
	defer close(end)
	r := newReal(b, engine, healthy+hanging, server.URL)
	w, stop := r.worker(r.db, func(w *Worker) { w.cfg.Drain = time.Millisecond })
	defer stop()
	for i := range hanging { // they hang for a while already
		for range 50 {
			if _, err := r.publish(b.Context(), healthy+i, []byte(`{}`)); err != nil {
				b.Fatal(err)
			}
		}
	}
	w.Wake()
	b.ResetTimer()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var publishing sync.WaitGroup
	for i := range b.N {
		<-tick.C
		publishing.Go(func() {
			hook := i % (healthy + hanging)
			if _, err := r.publish(b.Context(), hook, fmt.Appendf(nil, `{"at":%d}`, time.Since(begun))); err != nil {
				b.Error(err)
			}
			w.Wake()
			if hook >= healthy {
				got <- -1
			}
		})
	}
	publishing.Wait()
	var all []time.Duration
	for range b.N {
		if d := <-got; d >= 0 {
			all = append(all, d)
		}
	}
	slices.Sort(all)
	for _, p := range []int{50, 95, 99} {
		b.ReportMetric(float64(all[len(all)*p/100].Microseconds())/1000, fmt.Sprintf("p%d-ms", p))
	}
}
