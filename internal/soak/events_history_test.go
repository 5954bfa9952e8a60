package soak

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/pombal-api/pombal/pkg/api"
)

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

// has is an error until the stream has yielded n events.
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
