package soak

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/testkit"
	"github.com/pombal-api/pombal/pkg/api"
)

// TestEventsSurviveDeaths kills a node with -9 again and again while it publishes and delivers. Every event that was
// committed reaches every endpoint that wants it, or is in the log of its webhook; the stream skips and repeats none.
func TestEventsSurviveDeaths(t *testing.T) {
	t.Parallel()
	for _, engine := range testkit.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			seed, began := seedOf(t), time.Now()
			o, r := newOffice(t, engine), newReceivers(t)
			node := o.newClerk()
			o.furnish(r)
			first := o.firstEvent(node)
			f := o.follow(o.stream, first)
			customer := o.customer()

			h := &killer{node: node, receivers: r, dice: rand.New(rand.NewPCG(seed, 5))}
			h.run(t, soak(2000, 100_000)/scale, soak(3, 20))

			events := o.history()
			o.checkHistory(events)
			listed, open := o.open(r) // what is taken from the list meanwhile has been accepted before
			if missing, total := r.account(events, listed); missing > 0 {
				t.Errorf("%d of %d deliveries are neither made nor in the log", missing, total)
			}
			t.Logf("seed %d: after %d kills, %d events, %d of them known to be committed; %d deliveries wait or are given up, %v after the beginning",
				seed, h.kills, len(events), o.ackedEvents(), open, time.Since(began).Round(time.Second))

			eventually(t, time.Minute, func() error { return f.has(len(events) - 1) })
			f.check(t, events[1:])
			o.deliverAll(r, events, began)
			customer()
			r.report(t)
			o.calls.logCalls(t)
			t.Logf("all was delivered %v after the beginning", time.Since(began).Round(time.Second))
		})
	}
}

// furnish makes instances and endpoints of all kinds.
func (o *office) furnish(r *receivers) {
	o.tb.Helper()
	own := r.add(trouble{slow: 5 * time.Millisecond, refuse: 30}, nil) // an instance has a webhook of its own
	in, err := o.api.Instances.Create(o.tb.Context(), api.CreateInstance{Name: "Own", WebhookURL: &own.url,
		WebhookEvents: []api.WebhookEvent{api.WebhookEventMessageSent, api.WebhookEventMessageFailed}})
	if err != nil {
		o.tb.Fatal(err)
	}
	o.addInstance(in.ID)
	own.wants = func(instance, event string) bool {
		return instance == in.ID && (event == "message.sent" || event == "message.failed")
	}
	own.hooks = append(own.hooks, o.webhooks()[0].ID)
	o.newInstances(7)
	one, other := o.instances[1].Prefixed("inst"), o.instances[2].Prefixed("inst")

	all := r.add(trouble{refuse: 15, reset: 5}, func(string, string) bool { return true })
	o.subscribe(all, nil, messageTypes...)
	failed := r.add(trouble{reset: 40, refuse: 10}, func(_, event string) bool { return event == "message.failed" })
	o.subscribe(failed, nil, api.EventTypeMessageFailed)
	slow := r.add(trouble{slow: 30 * time.Millisecond, hang: soak(1, 10)}, func(instance, _ string) bool { return instance == one })
	o.subscribe(slow, &one, messageTypes...)
	// Two webhooks with the same URL: what both match comes once.
	same := r.add(trouble{refuse: 50, hang: soak(0, 5)}, func(instance, event string) bool {
		return event == "message.read" || instance == other
	})
	o.subscribe(same, nil, api.EventTypeMessageRead)
	o.subscribe(same, &other, messageTypes...)
}

func (o *office) webhooks() []api.Webhook {
	o.tb.Helper()
	page, err := o.api.Webhooks.List(o.tb.Context(), api.ListWebhooksParams{})
	if err != nil {
		o.tb.Fatal(err)
	}
	return page.Data
}

// firstEvent publishes an event, to follow what comes after it.
func (o *office) firstEvent(c *clerk) (id string) {
	o.tb.Helper()
	c.publish(publication{Events: 1})
	eventually(o.tb, 10*time.Second, c.isDone)
	o.mu.Lock()
	defer o.mu.Unlock()
	for id = range o.acked {
		break
	}
	return id
}

// customer reads events and logs all the time, until the function that is returned is called.
func (o *office) customer() (stop func()) {
	ctx, cancel := context.WithCancel(o.tb.Context())
	var running sync.WaitGroup
	hook := o.webhooks()[0].ID
	running.Go(func() {
		for pause(ctx, scale*100*time.Millisecond) {
			_, err := o.api.Events.List(o.tb.Context(), api.ListEventsParams{})
			o.calls.note("events", err)
			_, err = o.api.Webhooks.Logs(o.tb.Context(), hook, api.ListWebhookLogsParams{})
			o.calls.note("logs", err)
			_, err = o.api.Webhooks.Get(o.tb.Context(), hook)
			o.calls.note("webhook", err)
		}
	})
	return func() { cancel(); running.Wait() }
}

// killer kills a node in the middle of its work.
type killer struct {
	node      *clerk
	receivers *receivers
	dice      *rand.Rand
	kills     int
}

// run publishes events over several lives of the node, and returns when they are all committed.
func (k *killer) run(t *testing.T, events, kills int) {
	t.Helper()
	o := k.node.office
	for ; ; k.kills++ {
		before, accepted := o.ackedEvents(), k.receivers.count()
		quota := max(1, (events-before)/(kills-k.kills+1))
		k.node.publish(publication{Events: quota, Batch: 1 + k.dice.IntN(20), Writers: 3, Size: 1 + k.dice.IntN(300), Every: time.Millisecond})
		if k.kills == kills {
			eventually(t, 3*time.Minute, k.node.isDone)
			return
		}
		if k.kills%2 == 0 && (k.kills == 0 || isLong()) { // in the middle of delivering; after a kill it begins with the next lease
			more := 1 + k.dice.IntN(quota)
			_ = retry(t.Context(), 2*lease, func() error { // endpoints may be slow, or have all they want
				if n := k.receivers.count() - accepted; n < more {
					return fmt.Errorf("%d of %d more accepted", n, more)
				}
				return nil
			})
		} else { // in the middle of publishing
			until := before + 1 + k.dice.IntN(quota*9/10)
			eventually(t, time.Minute, func() error {
				if n := o.ackedEvents(); n < until {
					return fmt.Errorf("%d of %d published", n, until)
				}
				return nil
			})
		}
		k.node.kill9()
		if err := k.node.start(); err != nil {
			t.Fatal(err)
		}
	}
}

// deliverAll replays what was refused until every endpoint has everything.
func (o *office) deliverAll(r *receivers, events []api.Event, began time.Time) {
	o.tb.Helper()
	none := map[string]map[string]bool{}
	replayed, rounds := 0, 0
	eventually(o.tb, soak(2*time.Minute, 20*time.Minute), func() error {
		if rounds++; rounds%50 == 1 { // a second passes between two
			replayed += o.replay(r, began.Add(-time.Minute))
		}
		missing, total := r.account(events, none)
		if missing > 0 {
			return fmt.Errorf("%d of %d deliveries are missing", missing, total)
		}
		return nil
	})
	// The last outcomes are recorded a moment after they are accepted; what a node died over waits once more.
	eventually(o.tb, time.Minute, func() error {
		if rounds++; rounds%50 == 1 {
			replayed += o.replay(r, began.Add(-time.Minute))
		}
		if _, open := o.open(r); open > 0 {
			return fmt.Errorf("%d deliveries are still open", open)
		}
		return nil
	})
	o.tb.Logf("%d deliveries were replayed", replayed)
}
