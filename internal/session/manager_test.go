package session

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// After a start, and after every socket was cut, dials are spread.
func TestManager_PacesDials(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		const n, perSecond = 300, 50
		_, ids := w.connected(n, Config{MaxDialsPerSecond: perSecond, Capacity: 500})
		time.Sleep(10 * time.Second)
		for _, id := range ids {
			w.driver.last(id).down(domain.ReasonConnectionLost)
		}
		time.Sleep(n/perSecond*time.Second + 2*time.Second)
		for _, id := range ids {
			w.wantStatus(id, connected, "")
		}
		if len(w.driver.opens) != 2*n {
			t.Errorf("%d dials, want %d", len(w.driver.opens), 2*n)
		}
		for i, at := range w.driver.opens {
			if i+perSecond < len(w.driver.opens) && w.driver.opens[i+perSecond].Sub(at) < 990*time.Millisecond {
				t.Fatalf("more than %d dials in %v", perSecond, w.driver.opens[i+perSecond].Sub(at))
			}
		}
	})
}

func TestManager_Capacity(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var ids []domain.ID
		for range 10 {
			ids = append(ids, w.store.add("jid"))
			time.Sleep(time.Millisecond)
		}
		w.node(Config{Capacity: 6})
		time.Sleep(5 * time.Second)
		for i, id := range ids { // those that wait longest
			if l, _ := w.store.link(id); (l.in.Status == connected) != (i < 6) {
				t.Errorf("number %d is %s", i, l.in.Status)
			}
		}
		w.node(Config{Capacity: 100})
		time.Sleep(5 * time.Second)
		for _, id := range ids {
			w.wantStatus(id, connected, "")
		}
	})
}

// A node that joins gets its share, gently, without any connection being seen to break; one that leaves
// gives everything back at once.
func TestManager_RebalancesAndHandsOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, ids := w.connected(60, Config{Name: "a"})
		for _, id := range ids {
			w.wantChanges(id, connected)
		}
		b, stopB := w.node(Config{Name: "b"})
		_ = b
		time.Sleep(2 * time.Second)
		if got := held(w); got["b"] == 0 || got["b"] > 15 {
			t.Errorf("two seconds after b has joined: %v", got)
		}
		time.Sleep(30 * time.Second)
		if got := held(w); got["a"] > 33 || got["b"] < 27 {
			t.Errorf("half a minute after b has joined: %v", got)
		}
		began := time.Now()
		stopB()
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("leaving took %v", took)
		}
		time.Sleep(3 * time.Second)
		if got := held(w); got["a"] != 60 {
			t.Errorf("after b has left: %v", got)
		}
		for _, id := range ids {
			w.wantStatus(id, connected, "")
			w.wantChanges(id)
			if n := w.driver.open(id); n != 1 {
				t.Errorf("%d open links", n)
			}
		}
	})
}

// held counts the instances of each node by its name.
func held(w *world) map[string]int {
	got := map[string]int{}
	w.store.locked(func() {
		for _, l := range w.store.links {
			if n := w.store.nodes[l.node]; n != nil {
				got[n.Name]++
			}
		}
	})
	return got
}

func TestShares(t *testing.T) {
	t.Parallel()
	node := func(id byte, capacity, held int) domain.Node {
		return domain.Node{ID: domain.ID{id}, Capacity: capacity, Held: held}
	}
	for name, c := range map[string]struct {
		fleet   domain.Fleet
		want    []int
		surplus int // of the first node
	}{
		"alone":                    {domain.Fleet{Nodes: []domain.Node{node(1, 100, 50)}, Wanted: 50}, []int{50}, 0},
		"above its capacity":       {domain.Fleet{Nodes: []domain.Node{node(1, 10, 10)}, Wanted: 50}, []int{10}, 0},
		"evenly, rounded up":       {domain.Fleet{Nodes: []domain.Node{node(1, 100, 10), node(2, 100, 0)}, Wanted: 11}, []int{6, 6}, 4},
		"a tenth more is fine":     {domain.Fleet{Nodes: []domain.Node{node(1, 100, 11), node(2, 100, 9)}, Wanted: 20}, []int{10, 10}, 0},
		"a small one":              {domain.Fleet{Nodes: []domain.Node{node(1, 100, 90), node(2, 10, 10)}, Wanted: 100}, []int{90, 10}, 0},
		"nobody has room":          {domain.Fleet{Nodes: []domain.Node{node(1, 100, 60), node(2, 100, 50)}, Wanted: 100}, []int{50, 50}, 0},
		"no more than there is":    {domain.Fleet{Nodes: []domain.Node{node(1, 100, 0), node(2, 100, 0)}, Wanted: 1}, []int{1, 1}, 0},
		"nothing is wanted of any": {domain.Fleet{Nodes: []domain.Node{node(1, 100, 0)}}, []int{0}, 0},
	} {
		got := shares(c.fleet)
		for i, n := range c.fleet.Nodes {
			if got[n.ID] != c.want[i] {
				t.Errorf("%s: node %d has a share of %d, want %d", name, i, got[n.ID], c.want[i])
			}
		}
		if got := surplus(c.fleet, domain.ID{1}, c.fleet.Nodes[0].Held); got != c.surplus {
			t.Errorf("%s: surplus %d, want %d", name, got, c.surplus)
		}
		total := 0
		for _, n := range c.fleet.Nodes {
			total += n.Held
		}
		if got := unheld(c.fleet, domain.ID{1}, c.fleet.Nodes[0].Held); got != max(0, c.fleet.Wanted-total) {
			t.Errorf("%s: %d are held by nobody", name, got)
		}
	}
}

// A node that is cut off alone closes its connections before another one can take them over.
func TestManager_CutOffAlone(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]func(*memStore){
		"cut off":            func(s *memStore) { s.downs[onlyNode(s)] = errTimeout },
		"removed by another": func(s *memStore) { s.remove(onlyNode(s)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				_, ids := w.connected(3, Config{Name: "a"})
				first := w.driver.last(ids[0])
				began := time.Now()
				w.store.locked(func() { cut(w.store) })
				time.Sleep(10 * time.Millisecond)
				w.node(Config{Name: "b"})
				time.Sleep(40 * time.Second)
				for _, id := range ids {
					w.wantStatus(id, connected, "")
					if n := w.driver.open(id); n != 1 {
						t.Errorf("%d open links", n)
					}
				}
				closed, _, _ := first.at()
				if closed.IsZero() || closed.Sub(began) > 15*time.Second {
					t.Errorf("closed after %v", closed.Sub(began))
				}
				if next := w.driver.nth(ids[0], 1); name == "cut off" && next.opened.Before(closed) {
					t.Errorf("taken over %v before it was closed", closed.Sub(next.opened))
				}
			})
		})
	}
}

func onlyNode(s *memStore) (id domain.ID) {
	for id = range s.nodes {
		break
	}
	return id
}

// While the database is down for everybody, connections stay, and what happens meanwhile is written soon
// after. Nobody is buried alive when it returns.
func TestManager_DatabaseDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var nodes []*Manager
		var ids []domain.ID
		for range 20 {
			ids = append(ids, w.store.add("jid"))
		}
		for _, name := range []string{"a", "b", "c"} {
			m, _ := w.node(Config{Name: name})
			nodes = append(nodes, m)
		}
		time.Sleep(20 * time.Second)
		for _, id := range ids {
			w.wantStatus(id, connected, "")
			w.wantChanges(id, connected)
		}
		owners, attempts := map[domain.ID]int64{}, map[domain.ID]int{}
		for _, id := range ids {
			l, _ := w.store.link(id)
			owners[id], attempts[id] = l.Epoch, w.driver.attempts(id)
		}
		w.store.setDown(errors.Join(domain.ErrDatabaseDown, errors.New("connection refused")))
		time.Sleep(10 * time.Second)
		w.driver.set(func(d *fakeDriver) { d.answer = func(*fakeLink) {} })
		gone := ids[0]
		w.driver.last(gone).event(domain.LinkLoggedOut, domain.ReasonLoggedOut, 0)
		time.Sleep(20 * time.Second)
		_, err := w.desk(nodes[0]).Connect(t.Context(), domain.ID{1}, ids[1], domain.PairingWish{Method: domain.PairByQR})
		wantCode(t, err, domain.CodeUnavailable)
		w.store.setDown(nil)
		time.Sleep(10 * time.Second)
		w.wantStatus(gone, disconnected, domain.ReasonLoggedOut)
		time.Sleep(30 * time.Second)
		for _, id := range ids[1:] {
			w.wantStatus(id, connected, "")
			w.wantChanges(id)
			if l, _ := w.store.link(id); w.driver.attempts(id) != attempts[id] || l.Epoch != owners[id] {
				t.Errorf("%d attempts instead of %d, epoch %d instead of %d", w.driver.attempts(id), attempts[id], l.Epoch, owners[id])
			}
		}
	})
}

// The grace has an end, and a process that is alone needs none.
func TestManager_LongOutage(t *testing.T) {
	t.Parallel()
	for alone, down := range map[bool]error{false: domain.ErrDatabaseDown, true: errors.New("disk full")} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			_, ids := w.connected(1, Config{Alone: alone})
			w.store.setDown(down)
			time.Sleep(9 * time.Minute)
			if w.driver.open(ids[0]) != 1 || w.driver.attempts(ids[0]) != 1 {
				t.Errorf("alone %v: the link was closed", alone)
			}
			time.Sleep(2 * time.Minute)
			if n := w.driver.open(ids[0]); (n == 1) != alone {
				t.Errorf("alone %v: %d links after the grace", alone, n)
			}
			w.store.setDown(nil)
			time.Sleep(30 * time.Second)
			w.wantStatus(ids[0], connected, "")
		})
	}
}

// A claim whose answer was lost leaves a lease that nobody looks after: it is given back.
func TestManager_LostAnswerOfAClaim(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		lies := 0
		w.store.lied = func(string) error {
			if lies++; lies == 1 {
				return domain.Unavailable(errTimeout)
			}
			return nil
		}
		id := w.store.add("jid")
		w.node(Config{})
		time.Sleep(14 * time.Second)
		w.wantStatus(id, connected, "")
	})
}

// Facts that no database takes do not keep others out.
func TestFacts_OneThatIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &refusing{memStore: newMemStore()}
		good, bad := s.add("jid"), s.add("jid")
		s.bad = bad
		node := domain.ID{9}
		for _, id := range []domain.ID{good, bad} {
			s.links[id].node = node
		}
		w := newFactWriter(NewManager(Config{}, s, newFakeDriver()), node, func(domain.Lease) {})
		status := connected
		for _, id := range []domain.ID{good, bad} {
			w.put(domain.LinkFact{Lease: s.links[id].Lease, State: domain.InstanceState{Status: &status}})
		}
		if !w.flush(t.Context()) || w.pending(s.links[bad].Lease) {
			t.Error("it waits for ever")
		}
		if l, _ := s.link(good); l.in.Status != connected {
			t.Errorf("the other one is %s", l.in.Status)
		}
	})
}

type refusing struct {
	*memStore
	bad domain.ID
}

func (r *refusing) SaveLinkFacts(ctx context.Context, node domain.ID, facts []domain.LinkFact) ([]domain.Lease, error) {
	for _, f := range facts {
		if f.Instance == r.bad {
			return nil, errors.New("refused")
		}
	}
	return r.memStore.SaveLinkFacts(ctx, node, facts)
}

// mortal is a store as one process sees it, until it is killed.
type mortal struct {
	*memStore
	mu   sync.Mutex
	dead bool
}

func (m *mortal) alive() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return domain.Unavailable(errTimeout)
	}
	return nil
}

func (m *mortal) kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead = true
}

func (m *mortal) RenewNode(ctx context.Context, n domain.Node, ttl time.Duration) ([]domain.Lease, error) {
	if err := m.alive(); err != nil {
		return nil, err
	}
	return m.memStore.RenewNode(ctx, n, ttl)
}

func (m *mortal) LeaveNode(ctx context.Context, n domain.ID) error {
	if err := m.alive(); err != nil {
		return err
	}
	return m.memStore.LeaveNode(ctx, n)
}

func (m *mortal) SaveLinkFacts(ctx context.Context, n domain.ID, f []domain.LinkFact) ([]domain.Lease, error) {
	if err := m.alive(); err != nil {
		return nil, err
	}
	return m.memStore.SaveLinkFacts(ctx, n, f)
}

// A node that dies soon after its start leaves its share of what is free to others before its lease ends: what another
// dead node has held must not wait for both.
func TestManager_DeathAfterDeath(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var ids []domain.ID
		for range 30 {
			ids = append(ids, w.store.add("jid"))
		}
		start := func(name string) (kill func()) {
			s := &mortal{memStore: w.store}
			_, stop := w.nodeOn(Config{Name: name}, s)
			return func() {
				s.kill() // the row stays until it expires
				stop()
			}
		}
		start("a")
		start("b")
		killFirst := start("c")
		time.Sleep(20 * time.Second)
		killFirst()
		var orphans []domain.ID
		for _, id := range ids {
			if w.driver.open(id) == 0 {
				orphans = append(orphans, id)
			}
		}
		time.Sleep(8 * time.Second)
		killSecond := start("d")
		time.Sleep(500 * time.Millisecond)
		killSecond()
		time.Sleep(12 * time.Second)
		for _, id := range orphans {
			if w.driver.open(id) == 0 {
				t.Errorf("of %d instances that have been without a node for 20 s, %v is one", len(orphans), id)
			}
		}
	})
}

// Three nodes that are killed, stopped and cut off at random: no instance is held twice for longer than
// the lease, or by nobody for longer than twice that, and none is stuck or loses its pairing.
func TestManager_RandomDeaths(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		random := rand.New(rand.NewPCG(3, 4))
		var ids []domain.ID
		for range 30 {
			ids = append(ids, w.store.add("jid"))
		}
		type process struct {
			stop  func()
			store *mortal
		}
		start := func(name string) process {
			s := &mortal{memStore: w.store}
			_, stop := w.nodeOn(Config{Name: name}, s)
			return process{stop, s}
		}
		nodes := []process{start("0"), start("1"), start("2")}
		watch := newWatch(w, ids)
		for range 60 {
			time.Sleep(time.Duration(2+random.IntN(10)) * time.Second)
			i := random.IntN(len(nodes))
			if random.IntN(3) > 0 {
				nodes[i].store.kill() // the row stays until it expires; sockets die with the process
			}
			nodes[i].stop()
			nodes[i] = start(string(rune('0' + i)))
		}
		time.Sleep(40 * time.Second)
		watch.stop()
		for _, id := range ids {
			w.wantStatus(id, connected, "")
			if l, _ := w.store.link(id); l.JID != "jid" || w.driver.open(id) != 1 {
				t.Errorf("JID %q, %d open links", l.JID, w.driver.open(id))
			}
		}
	})
}

// watch looks at every instance all the time.
type watch struct {
	w     *world
	ids   []domain.ID
	done  chan struct{}
	ended sync.WaitGroup
	twice map[domain.ID]time.Duration
	none  map[domain.ID]time.Duration
	epoch map[domain.ID]int64
}

func newWatch(w *world, ids []domain.ID) *watch {
	x := &watch{w: w, ids: ids, done: make(chan struct{}), twice: map[domain.ID]time.Duration{}, none: map[domain.ID]time.Duration{}, epoch: map[domain.ID]int64{}}
	x.ended.Go(func() {
		for {
			select {
			case <-x.done:
				return
			case <-time.After(100 * time.Millisecond):
				x.look()
			}
		}
	})
	return x
}

func (x *watch) look() {
	for _, id := range x.ids {
		l, _ := x.w.store.link(id)
		// A new claim counts as being held: its node may die before it has connected.
		if x.w.driver.open(id) > 0 || l.Epoch != x.epoch[id] {
			x.none[id], x.epoch[id] = 0, l.Epoch
		} else {
			x.none[id] += 100 * time.Millisecond
		}
		if x.w.driver.open(id) > 1 {
			x.twice[id] += 100 * time.Millisecond
		} else {
			x.twice[id] = 0
		}
		if x.twice[id] > 15*time.Second || x.none[id] > 30*time.Second {
			x.w.t.Errorf("held twice for %v, by nobody for %v", x.twice[id], x.none[id])
		}
	}
}

func (x *watch) stop() {
	close(x.done)
	x.ended.Wait()
}
