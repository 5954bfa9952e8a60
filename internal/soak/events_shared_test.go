package soak

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/testkit"
)

// TestTwoNodesShareDeliveries kills one of two nodes with -9 while both deliver. What it had claimed goes on at the other
// one when its leases end, and nothing is lost.
func TestTwoNodesShareDeliveries(t *testing.T) {
	t.Parallel()
	engines := testkit.Engines()
	o := newOffice(t, engines[slices.IndexFunc(engines, func(e testkit.Engine) bool { return e.Name == "postgres" })])
	r := newReceivers(t)
	a := o.newClerk()
	const hooks = 12
	o.newInstances(hooks)
	of := map[string]*endpoint{} // by webhook
	for _, id := range o.instances {
		name := id.Prefixed(domain.PrefixInstance)
		e := r.add(trouble{slow: 60 * time.Millisecond}, func(instance, _ string) bool { return instance == name })
		o.subscribe(e, &name, messageTypes...)
		of[e.hooks[0]] = e
	}
	// As long as a is alone, all claims are its.
	a.publish(publication{Events: 10 * hooks, Batch: 10})
	workerA := ""
	eventually(t, 10*time.Second, func() error {
		for _, worker := range o.claims() {
			workerA = worker
			return nil
		}
		return errors.New("nobody has claimed anything")
	})
	b := o.newClerk()
	eventually(t, 10*time.Second, func() error { return o.settled(r) })

	var claims map[string]string
	n := soak(1000, 5000)
	for shared := false; !shared; { // who sees the events first may claim all webhooks, and keeps them while they last
		a.publish(publication{Events: n, Batch: 10, Writers: 2, Instances: o.instances[:hooks/2]})
		b.publish(publication{Events: n, Batch: 10, Writers: 2, Instances: o.instances[hooks/2:]})
		eventually(t, 2*time.Minute, func() error {
			held := map[bool]int{}
			claims = o.claims()
			for _, worker := range claims {
				held[worker == workerA]++
			}
			if shared = held[true] > 0 && held[false] > 0; shared {
				return nil
			}
			return errors.Join(a.isDone(), b.isDone(), o.settled(r))
		})
		if o.ackedEvents() > 20*n {
			t.Fatal("the nodes never share the webhooks")
		}
	}
	a.kill9()
	died, left := time.Now(), r.count()
	lost := 0
	for hook, worker := range claims {
		if worker != workerA {
			continue
		}
		lost++
		e := of[hook]
		eventually(t, lease+5*time.Second-time.Since(died), func() error {
			if !e.acceptedSince(died.Add(time.Second)) && !o.complete(e) { // what was on its way may still arrive
				return fmt.Errorf("nothing came to %s since its node died", e.path)
			}
			return nil
		})
	}
	t.Logf("a died with %d of %d webhooks at work and %d deliveries made; all of them got something again within %v", lost, len(claims), left, time.Since(died).Round(time.Millisecond))
	eventually(t, time.Minute, b.isDone)
	events := o.history() // a's last ones are in it, though it could not say so
	o.checkHistory(events)
	eventually(t, soak(30*time.Second, 5*time.Minute), func() error {
		if missing, total := r.account(events, nil); missing > 0 {
			return fmt.Errorf("%d of %d deliveries are missing", missing, total)
		}
		return o.settled(r)
	})
	r.report(t)
	t.Logf("all %d events were delivered %v after the death", len(events), time.Since(died).Round(time.Millisecond))
}

// claims says which worker serves which webhook.
func (o *office) claims() map[string]string {
	o.tb.Helper()
	conn, err := pgx.Connect(o.tb.Context(), o.db.URL)
	if err != nil {
		o.tb.Fatal(err)
	}
	rows, err := conn.Query(o.tb.Context(), `SELECT webhook_id::text, worker_id::text FROM webhook_lanes
		WHERE worker_id IS NOT NULL AND lease_until > clock_timestamp()`)
	claims := map[string]string{}
	if err == nil {
		var hook, worker string
		_, err = pgx.ForEachRow(rows, []any{&hook, &worker}, func() error {
			id, bad := domain.ParseUUID(hook)
			claims[id.Prefixed(domain.PrefixWebhook)] = worker
			return bad
		})
	}
	if err = errors.Join(err, conn.Close(o.tb.Context())); err != nil {
		o.tb.Fatal(err)
	}
	return claims
}

// settled is an error until every event is accepted and nothing is claimed.
func (o *office) settled(r *receivers) error {
	for _, e := range r.all {
		if !o.complete(e) {
			return fmt.Errorf("%s has not got all", e.path)
		}
	}
	if claims := o.claims(); len(claims) > 0 {
		return fmt.Errorf("%d webhooks are claimed", len(claims))
	}
	return nil
}

// complete tells whether an endpoint has accepted all events that are known to be committed.
func (o *office) complete(e *endpoint) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	for id, event := range o.acked {
		if _, found := e.accepted[id]; !found && e.wants(event.Instance, event.Type) {
			return false
		}
	}
	return true
}

func (e *endpoint) acceptedSince(t time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.latest.After(t)
}
