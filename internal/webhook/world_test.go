package webhook

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// fakeSender answers by a function, and keeps record.
type fakeSender struct {
	answer func(ctx context.Context, r request) (reply, error)

	mu       sync.Mutex
	began    map[domain.ID][]time.Time // by event
	inFlight map[domain.ID]int         // by webhook
	most     map[domain.ID]int
	total    int
	peak     int
}

func newFakeSender(answer func(ctx context.Context, r request) (reply, error)) *fakeSender {
	return &fakeSender{answer: answer, began: map[domain.ID][]time.Time{}, inFlight: map[domain.ID]int{}, most: map[domain.ID]int{}}
}

func (f *fakeSender) prepare(*domain.Webhook) (endpoint, error) {
	return endpoint{secrets: Secrets{Current: []byte("secret")}}, nil
}

func (f *fakeSender) send(ctx context.Context, r request) (reply, error) {
	begun, hook := time.Now(), r.webhook.ID
	f.mu.Lock()
	f.began[r.event.ID] = append(f.began[r.event.ID], begun)
	f.inFlight[hook]++
	f.total++
	f.most[hook] = max(f.most[hook], f.inFlight[hook])
	f.peak = max(f.peak, f.total)
	f.mu.Unlock()
	out, err := f.answer(ctx, r)
	f.mu.Lock()
	f.inFlight[hook]--
	f.total--
	f.mu.Unlock()
	out.At, out.Took = begun.Truncate(time.Millisecond), time.Since(begun)
	return out, err
}

func (f *fakeSender) times(event domain.ID) []time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.began[event])
}

func (f *fakeSender) attempts() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, times := range f.began {
		n += len(times)
	}
	return n
}

// busiest returns the most attempts that were in flight at a time, to an endpoint and to all.
func (f *fakeSender) busiest(webhook domain.ID) (most, peak int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.most[webhook], f.peak
}

func answered(status int) (reply, error) {
	r := reply{Attempt: domain.Attempt{StatusCode: status}}
	if status/100 != 2 {
		r.Failure = domain.FailureStatus
	}
	return r, nil
}

func accept(context.Context, request) (reply, error) { return answered(200) }

// hang answers nothing until the endpoint's timeout.
func hang(ctx context.Context, r request) (reply, error) {
	select {
	case <-ctx.Done():
		return reply{}, ctx.Err()
	case <-time.After(r.webhook.Timeout):
		return reply{Attempt: domain.Attempt{Failure: domain.FailureTimeout}}, nil
	}
}

// hanging marks a webhook as one whose endpoint hangs, which isHanging tells.
func hanging(w *domain.Webhook) { w.Name = "hangs" }

func isHanging(r request) bool { return r.webhook.Name == "hangs" }

// world is a worker at work, in fake time.
type world struct {
	*Worker
	store  *memStore
	sender *fakeSender
	stop   func() // and wait
}

func newWorld(t *testing.T, answer func(ctx context.Context, r request) (reply, error), change ...func(*Config)) *world {
	t.Helper()
	store := newMemStore()
	store.delay = time.Millisecond
	w := &world{store: store, sender: newFakeSender(answer)}
	w.Worker, w.stop = w.run(t, change...)
	return w
}

// run starts a worker, maybe another one, on the store.
func (w *world) run(t *testing.T, change ...func(*Config)) (*Worker, func()) {
	t.Helper()
	cfg := Config{Store: w.store}
	for _, c := range change {
		c(&cfg)
	}
	worker := NewWorker(cfg)
	worker.sender = w.sender
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); worker.Run(ctx) }()
	stop := func() { cancel(); <-done }
	t.Cleanup(stop)
	return worker, stop
}

func (w *world) publish(webhook domain.ID, n int) []domain.ID {
	ids := w.store.publish(webhook, n)
	w.Wake()
	return ids
}

func (w *world) event(delivery domain.ID) domain.ID {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	return w.store.deliveries[delivery].Event.ID
}

func (w *world) delivery(id domain.ID) domain.Delivery {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	return *w.store.deliveries[id]
}

// held is how many lanes some worker holds.
func (w *world) held() (n int) {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	for _, l := range w.store.lanes {
		if !l.worker.IsZero() {
			n++
		}
	}
	return n
}
