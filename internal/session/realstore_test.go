package session

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/store"
	"github.com/pombal-api/pombal/internal/testkit"
)

// real is an account in a real database, and nodes on it.
type real struct {
	t       *testing.T
	db      *store.Store
	account domain.Account
	bound   *store.Account
	driver  *fakeDriver
}

func newReal(t *testing.T, database testkit.Database) *real {
	t.Helper()
	db, err := store.Open(t.Context(), store.Config{URL: database.URL, DataDir: database.Dir, MaxConns: 8})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err = db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := &real{t: t, db: db, account: domain.Account{Name: "a", Plan: "free"}, driver: newFakeDriver()}
	if err = db.CreateAccount(t.Context(), &r.account); err != nil {
		t.Fatal(err)
	}
	if r.bound, err = db.Account(r.account.ID); err != nil {
		t.Fatal(err)
	}
	return r
}

// add makes n instances.
func (r *real) add(n int) (ids []domain.ID) {
	r.t.Helper()
	for range n {
		in := domain.Instance{Name: "x"}
		if err := r.bound.CreateInstance(r.t.Context(), &in, 0); err != nil {
			r.t.Fatal(err)
		}
		ids = append(ids, in.ID)
	}
	return ids
}

// node starts a node, which ends with the test or by stop.
func (r *real) node(cfg Config, s Store) (m *Manager, stop func()) {
	m = NewManager(cfg, s, r.driver)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = m.Run(ctx) })
	stop = func() {
		cancel()
		running.Wait()
	}
	r.t.Cleanup(stop)
	return m, stop
}

// pair makes an instance connected for the first time.
func (r *real) pair(d *Desk, id domain.ID) {
	r.t.Helper()
	st, err := d.Connect(r.t.Context(), r.account.ID, id, byQR)
	if err != nil || st.Code.Text != "qr" {
		r.t.Fatalf("connect: %+v, %v", st, err)
	}
	r.driver.last(id).pair("jid-" + id.String())
	r.await("connected", func() bool { return r.state(id).Status == connected })
}

func (r *real) state(id domain.ID) domain.LinkState {
	r.t.Helper()
	st, err := r.db.LinkState(r.t.Context(), r.account.ID, id)
	if err != nil {
		r.t.Fatal(err)
	}
	return st
}

// await looks until something is so.
func (r *real) await(what string, so func() bool) {
	r.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); !so(); <-tick.C {
		if time.Now().After(end) {
			r.t.Fatalf("not %s in time", what)
		}
	}
}

// The whole course of an instance through the real store.
func TestRealStore_Course(t *testing.T) {
	t.Parallel()
	for _, engine := range testkit.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			r := newReal(t, engine.New(t))
			ids := r.add(3)
			alone := engine.Name == store.DialectSQLite
			m, stop := r.node(Config{Alone: alone}, r.db)
			desk := NewDesk(r.db, m.Wake, time.Now)
			for _, id := range ids {
				r.pair(desk, id)
			}
			stop()
			m, _ = r.node(Config{Alone: alone}, r.db)
			desk = NewDesk(r.db, m.Wake, time.Now)
			for _, id := range ids {
				r.await("connected again", func() bool { return r.driver.open(id) == 1 && r.state(id).Status == connected })
				if jid := r.driver.last(id).target.JID; jid != "jid-"+id.String() {
					t.Errorf("opened as %q", jid)
				}
			}
			st, err := desk.Disconnect(t.Context(), r.account.ID, ids[0])
			if err != nil || st.Status != disconnected || st.Paired || st.Desired != domain.DesiredDisconnected {
				t.Errorf("disconnect: %+v, %v", st, err)
			}
			r.pair(desk, ids[0])
			if _, err = desk.Restart(t.Context(), r.account.ID, ids[1]); err != nil {
				t.Error(err)
			}
			r.await("restarted", func() bool { return r.driver.attempts(ids[1]) == 3 && r.state(ids[1]).Status == connected })
			for _, id := range ids {
				if err = desk.Remove(t.Context(), r.account.ID, id, 0); err != nil {
					t.Error(err)
				}
				_, err = r.bound.Instance(t.Context(), id)
				wantCode(t, err, domain.CodeInstanceNotFound)
				if _, _, out := r.driver.last(id).at(); !out || r.driver.open(id) != 0 {
					t.Errorf("logged out %v, %d links", out, r.driver.open(id))
				}
			}
		})
	}
}

// severed is a database that a node loses, and counts its renewals.
type severed struct {
	Store
	cut    atomic.Bool
	failed atomic.Int64
}

func (s *severed) RenewNode(ctx context.Context, n domain.Node, ttl time.Duration) ([]domain.Lease, error) {
	if s.cut.Load() {
		s.failed.Add(1)
		return nil, domain.Unavailable(errTimeout)
	}
	held, err := s.Store.RenewNode(ctx, n, ttl)
	if err != nil {
		s.failed.Add(1)
	}
	return held, err
}

func (s *severed) LeaveNode(ctx context.Context, n domain.ID) error {
	if s.cut.Load() {
		return domain.Unavailable(errTimeout)
	}
	return s.Store.LeaveNode(ctx, n)
}

func (s *severed) JoinNode(ctx context.Context, n domain.Node, ttl time.Duration, alone bool) error {
	if s.cut.Load() {
		return domain.Unavailable(errTimeout)
	}
	return s.Store.JoinNode(ctx, n, ttl, alone)
}

// Of three nodes on one PostgreSQL, one is cut off and one dies: the third ends up with everything, each
// instance has one connection, and none lost its pairing.
func TestRealStore_TakeOver(t *testing.T) {
	t.Parallel()
	const short = 2 * time.Second
	r := newReal(t, testkit.Database{URL: testkit.NewPostgres(t), Dir: t.TempDir()})
	ids := r.add(15)
	m, _ := r.node(Config{Name: "stays", LeaseTTL: short}, r.db)
	desk := NewDesk(r.db, m.Wake, time.Now)
	for _, id := range ids {
		r.pair(desk, id)
	}
	cutOff, dying := &severed{Store: r.db}, &severed{Store: r.db}
	r.node(Config{Name: "cut off", LeaseTTL: short}, cutOff)
	_, kill := r.node(Config{Name: "dies", LeaseTTL: short}, dying)
	r.await("shared", func() bool { return len(r.holders()) == 3 })

	dying.cut.Store(true) // its row stays until it expires
	kill()
	cutOff.cut.Store(true)
	r.await("taken over", func() bool {
		holders := r.holders()
		return len(holders) == 1 && holders["stays"] == len(ids)
	})
	for _, id := range ids {
		r.await("connected once", func() bool { return r.driver.open(id) == 1 && r.state(id).Status == connected })
	}
	cutOff.cut.Store(false)
	r.await("shared again", func() bool { return len(r.holders()) == 2 })
}

// holders counts what each node holds, by its own account.
func (r *real) holders() map[string]int {
	r.t.Helper()
	fleet, err := r.db.Fleet(r.t.Context(), 0)
	if err != nil {
		r.t.Fatal(err)
	}
	held := map[string]int{}
	for _, n := range fleet.Nodes {
		if n.Held > 0 {
			held[n.Name] = n.Held
		}
	}
	return held
}

// While PostgreSQL is stopped for longer than leases last, connections stay; states are right soon after.
func TestRealStore_Outage(t *testing.T) {
	t.Parallel()
	server := testkit.NewPrivatePostgres(t)
	r := newReal(t, testkit.Database{URL: server.URL, Dir: t.TempDir()})
	ids := r.add(10)
	var nodes []*severed
	var desk *Desk
	// A node must get through within a third of the TTL once the server is back, see limit: a busy machine takes a while.
	const ttl = 6 * time.Second
	for _, name := range []string{"a", "b"} {
		s := &severed{Store: r.db}
		nodes = append(nodes, s)
		m, _ := r.node(Config{Name: name, LeaseTTL: ttl}, s)
		desk = NewDesk(r.db, m.Wake, time.Now)
	}
	for _, id := range ids {
		r.pair(desk, id)
	}
	r.await("shared", func() bool { return len(r.holders()) == 2 })
	attempts := map[domain.ID]int{}
	for _, id := range ids {
		attempts[id] = r.driver.attempts(id)
	}
	server.Stop()
	began := time.Now()
	r.await("noticed", func() bool {
		return nodes[0].failed.Load() > 5 && nodes[1].failed.Load() > 5 && time.Since(began) > 3*ttl/2
	})
	r.driver.last(ids[0]).event(domain.LinkLoggedOut, domain.ReasonLoggedOut, 0)
	server.Start()
	r.await("recorded", func() bool {
		st, err := r.db.LinkState(t.Context(), r.account.ID, ids[0])
		if err != nil && !errors.Is(err, domain.ErrDatabaseDown) && domain.CodeOf(err) != domain.CodeUnavailable {
			t.Fatal(err)
		}
		return err == nil && st.Status == disconnected && st.Reason == domain.ReasonLoggedOut
	})
	for _, id := range ids[1:] {
		if r.driver.open(id) != 1 || r.driver.attempts(id) != attempts[id] || r.state(id).Status != connected {
			t.Errorf("%d links, %d attempts instead of %d, %s", r.driver.open(id), r.driver.attempts(id), attempts[id], r.state(id).Status)
		}
	}
}
