package session

import (
	"context"
	"sync"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

const (
	// drainTime bounds the end of a tenure: closing connections, recording facts, giving back leases.
	drainTime = 8 * time.Second
	// pollEvery is how often wishes and free instances are looked for.
	pollEvery = 250 * time.Millisecond
	// fleetEvery is how often a node looks at the others.
	fleetEvery = time.Second
	// claimBatch is how many instances are claimed by one call, or lost.
	claimBatch = 100
	// loseEvery is how often a node looks for instances that nobody holds though they count as connected. With silentFor,
	// it leaves a moment of the 90 s after which none does.
	loseEvery = 5 * time.Second
)

// tenure is the life of this process as one node: from joining until it leaves, or is removed, or has to
// assume so.
type tenure struct {
	m     *Manager
	node  domain.Node
	facts *factWriter
	began time.Time

	keeping sync.WaitGroup

	mu      sync.Mutex
	keepers map[domain.ID]*keeper
	// sureUntil is how long nobody else can hold what this node holds, as the database has confirmed.
	sureUntil time.Time
	// reachable is since when every renewal has succeeded; zero after one that has not.
	reachable time.Time

	// What only the loop of serve uses.
	whole     domain.Fleet // with those that are late
	fleet     domain.Fleet
	fleetAt   time.Time
	loseAt    time.Time // no look for lost ones before
	scheduled reporter
}

func newTenure(m *Manager, node domain.Node, began time.Time) *tenure {
	t := &tenure{m: m, node: node, began: began, keepers: map[domain.ID]*keeper{}, reachable: began}
	t.facts = newFactWriter(m, node.ID, t.lose)
	t.scheduled = reporter{log: m.cfg.Log, lost: "cannot look for instances to hold; trying again", found: "looking for instances again"}
	return t
}

// serve holds instances until ctx ends or the node has to stop, and cleans up.
func (t *tenure) serve(ctx context.Context) {
	// Keepers and facts outlive ctx: connections are closed in order.
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	serving, fence := context.WithCancel(ctx)
	defer fence()

	var workers sync.WaitGroup
	workers.Go(func() { t.facts.run(working) })
	fenced := false
	var renewing sync.WaitGroup
	renewal := newRenewal(t)
	renewing.Go(func() {
		fenced = renewal.run(serving)
		fence()
	})
	t.schedule(serving, working)
	renewing.Wait()
	if fenced {
		t.m.cfg.Log.WarnContext(ctx, "this node may have lost its instances: closing all connections")
		stop() // keepers close their links and write nothing
	} else {
		t.drain(working)
		stop()
	}
	t.keeping.Wait()
	workers.Wait()
}

// drain hands over everything and leaves.
func (t *tenure) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	for _, k := range t.all() {
		k.post(k.handOver)
	}
	closed := make(chan struct{})
	go func() { defer close(closed); t.keeping.Wait() }() // ends with the keepers, which serve waits for
	select {
	case <-closed:
	case <-ctx.Done():
	}
	t.facts.flush(ctx)
	if err := t.m.store.LeaveNode(ctx, t.node.ID); err != nil {
		t.m.cfg.Log.WarnContext(ctx, "cannot give back the instances; other nodes take them when this one expires", "error", err)
	}
}

// schedule looks for wishes and instances until ctx ends. Keepers live in working.
func (t *tenure) schedule(ctx, working context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	woken := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.m.wake:
			woken = true
		case <-timer.C:
		}
		t.scheduled.report(ctx, t.look(ctx, working, woken))
		woken = false
		timer.Reset(t.m.jittered(pollEvery))
	}
}

// look does one round of schedule. fresh asks for a new look at the fleet.
func (t *tenure) look(ctx, working context.Context, fresh bool) error {
	ctx, cancel := context.WithTimeout(ctx, t.m.callTimeout())
	defer cancel()
	wishes, err := t.m.store.ChangedWishes(ctx, t.node.ID)
	if err != nil {
		return err
	}
	for _, w := range wishes {
		if k := t.keeper(w.Lease); k != nil {
			k.post(func() { k.onWish(w) }) //nolint:contextcheck // in the keeper's goroutine, under its own context
		}
	}
	now := t.m.cfg.Now()
	due := now.Sub(t.fleetAt) >= fleetEvery
	if due {
		if err = t.reap(ctx, now); err != nil {
			return err
		}
	}
	if fresh || due {
		// Whoever renews in time has always more left, about two thirds.
		if t.whole, err = t.m.store.Fleet(ctx, t.m.cfg.LeaseTTL/2); err != nil {
			return err
		}
		t.fleet = withoutLate(t.whole, t.node.ID)
	}
	if due {
		t.fleetAt = now
		t.rebalance()
	}
	if err = t.claim(ctx, working); err != nil {
		return err
	}
	t.m.unheld.Store(int64(unheld(t.whole, t.node.ID, t.held())))
	if due {
		err = t.loseUnheld(ctx, now)
	}
	return err
}

// loseUnheld tells the world of instances that have died with their node and that no other one has room for.
func (t *tenure) loseUnheld(ctx context.Context, now time.Time) error {
	if t.m.Unheld() == 0 || now.Before(t.loseAt) || !t.isSettled(now) {
		return nil
	}
	n, err := t.m.store.LoseUnheld(ctx, silentFor, claimBatch)
	if n < claimBatch {
		t.loseAt = now.Add(loseEvery)
	}
	if n > 0 {
		t.m.cfg.Log.WarnContext(ctx, "instances are not connected any more: no node has room for them", "instances", n)
	}
	return err
}

// reached notes whether a renewal that was begun at a moment has succeeded.
func (t *tenure) reached(began time.Time, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case !ok:
		t.reachable = time.Time{}
	case t.reachable.IsZero():
		t.reachable = began
	}
}

// setSure notes how long the leases are good for.
func (t *tenure) setSure(until time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sureUntil = until
}

// isSure reports whether nobody else can have taken over what this node holds.
func (t *tenure) isSure(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return now.Before(t.sureUntil)
}

// isSettled reports whether the database has been there for so long that all nodes have had time to renew, or to claim
// what is free, after an outage.
func (t *tenure) isSettled(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.reachable.IsZero() && now.Sub(t.reachable) >= t.m.cfg.LeaseTTL/2
}

// reap removes nodes that have expired, if they could have renewed.
func (t *tenure) reap(ctx context.Context, now time.Time) error {
	if !t.isSettled(now) {
		return nil
	}
	n, err := t.m.store.ReapNodes(ctx)
	if n > 0 {
		t.m.cfg.Log.WarnContext(ctx, "nodes have died: their instances are free", "nodes", n)
	}
	return err
}

// rebalance hands over a little of what this node holds above its share.
func (t *tenure) rebalance() {
	keepers := t.all()
	n := min(surplus(t.fleet, t.node.ID, len(keepers)), t.m.cfg.HandOverPerSecond)
	for _, k := range keepers[:min(n, len(keepers))] {
		k.post(k.giveWay)
	}
}

// claim takes free instances up to the node's share.
func (t *tenure) claim(ctx, working context.Context) error {
	for {
		room := shares(t.fleet)[t.node.ID] - t.held()
		if room <= 0 {
			return nil
		}
		limit := min(room, claimBatch)
		wishes, err := t.m.store.ClaimLinks(ctx, t.node.ID, limit)
		if err != nil {
			return err
		}
		for _, w := range wishes {
			t.keep(working, w)
		}
		if len(wishes) < limit {
			return nil
		}
	}
}

// keep starts the keeper of an instance that was claimed.
func (t *tenure) keep(ctx context.Context, w domain.LinkWish) {
	ctx, cancel := context.WithCancel(ctx)
	k := newKeeper(t, w, cancel)
	t.mu.Lock()
	t.keepers[w.Instance] = k
	t.mu.Unlock()
	t.m.held.Add(1)
	t.keeping.Go(func() {
		defer t.m.held.Add(-1)
		defer cancel()
		k.run(ctx)
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.keepers[w.Instance] == k {
			delete(t.keepers, w.Instance)
		}
	})
}

// keeper returns the keeper of a lease, nil if there is none.
func (t *tenure) keeper(l domain.Lease) *keeper {
	t.mu.Lock()
	defer t.mu.Unlock()
	if k := t.keepers[l.Instance]; k != nil && k.lease == l {
		return k
	}
	return nil
}

func (t *tenure) all() []*keeper {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]*keeper, 0, len(t.keepers))
	for _, k := range t.keepers {
		list = append(list, k)
	}
	return list
}

func (t *tenure) held() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.keepers)
}

// lose stops the keeper of a lease that is gone, at once and without a trace.
func (t *tenure) lose(l domain.Lease) {
	if k := t.keeper(l); k != nil {
		k.cancel()
	}
}
