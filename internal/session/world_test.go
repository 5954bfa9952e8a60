package session

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// world is a database, a WhatsApp, and nodes, in fake time.
type world struct {
	t      *testing.T
	store  *memStore
	driver *fakeDriver
	stops  []func()
}

// newWorld returns a world that ends with the test, which runs in fake time.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, store: newMemStore(), driver: newFakeDriver()}
	t.Cleanup(func() {
		w.store.locked(func() { w.store.down, w.store.delay = nil, 0 })
		for _, stop := range w.stops {
			stop()
		}
	})
	return w
}

// node starts a node. stop ends it in order, and may be repeated.
func (w *world) node(cfg Config) (m *Manager, stop func()) {
	return w.nodeOn(cfg, w.store)
}

func (w *world) nodeOn(cfg Config, s Store) (m *Manager, stop func()) {
	m = NewManager(cfg, s, w.driver)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := m.Run(ctx); err != nil {
			w.t.Error(err)
		}
	})
	stop = func() {
		cancel()
		running.Wait()
	}
	w.stops = append(w.stops, stop)
	return m, stop
}

func (w *world) desk(m *Manager) *Desk { return NewDesk(w.store, m.Wake, time.Now) }

// connected starts a node with n paired instances, and waits until all are connected.
func (w *world) connected(n int, cfg Config) (m *Manager, ids []domain.ID) {
	w.t.Helper()
	for range n {
		ids = append(ids, w.store.add("jid"))
	}
	m, _ = w.node(cfg)
	<-time.After(3*time.Second + time.Duration(n)*20*time.Millisecond)
	for _, id := range ids {
		w.wantStatus(id, domain.StatusConnected, "")
	}
	return m, ids
}

func (w *world) wantStatus(id domain.ID, status domain.Status, reason domain.ReasonCode) {
	w.t.Helper()
	synctest.Wait()
	l, ok := w.store.link(id)
	if !ok || l.in.Status != status || l.in.Reason != reason {
		w.t.Errorf("the instance is %q because of %q (exists: %v), want %q because of %q", l.in.Status, l.in.Reason, ok, status, reason)
	}
}

// wantChanges compares the history of an instance's statuses, and begins a new one.
func (w *world) wantChanges(id domain.ID, want ...domain.Status) {
	w.t.Helper()
	synctest.Wait()
	l, _ := w.store.link(id)
	if len(l.changes) != len(want) {
		w.t.Errorf("changes of the status: %v, want %v", l.changes, want)
	} else {
		for i := range want {
			if l.changes[i] != want[i] {
				w.t.Errorf("changes of the status: %v, want %v", l.changes, want)
			}
		}
	}
	w.store.locked(func() {
		if p := w.store.links[id]; p != nil {
			p.changes = nil
		}
	})
}

func wantCode(t *testing.T, err error, code domain.Code) {
	t.Helper()
	if err == nil || domain.CodeOf(err) != code {
		t.Errorf("error = %v, want code %s", err, code)
	}
}
