package session

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// Whoever is disconnected while the proxy cannot be read cannot be logged out, but the pairing is forgotten all the
// same: without the proxy, the next connection would be to the old phone.
func TestKeeper_ForgetsWithoutTheProxy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ctx, account := t.Context(), domain.ID{1}
		gone, removed, unknown, free := w.store.add("jid-1"), w.store.add("jid-2"), w.store.add(""), w.store.add("jid-4")
		for _, id := range []domain.ID{gone, removed, unknown} {
			w.store.links[id].ProxySealed = []byte("sealed")
		}
		m, _ := w.node(Config{})
		desk := w.desk(m)
		_, err := desk.Connect(ctx, account, unknown, byQR) // the driver may have a pairing that nobody has recorded
		wantCode(t, err, domain.CodeUnavailable)
		for _, id := range []domain.ID{gone, unknown, free} {
			if st, err := desk.Disconnect(ctx, account, id); err != nil || st.Reason != domain.ReasonDisconnectedByUser || st.Paired {
				t.Errorf("disconnect: %+v, %v", st, err)
			}
		}
		if err := desk.Remove(ctx, account, removed, 0); err != nil {
			t.Error(err)
		}
		want := []domain.LinkTarget{
			{Account: account, Instance: gone, JID: "jid-1"}, {Account: account, Instance: unknown}, {Account: account, Instance: removed, JID: "jid-2"},
		}
		same := func(a, b domain.LinkTarget) bool {
			return a.Instance == b.Instance && a.Account == b.Account && a.JID == b.JID
		}
		if !slices.EqualFunc(w.driver.forgotten, want, same) {
			t.Errorf("forgotten: %+v", w.driver.forgotten)
		}
		if n := w.driver.attempts(gone) + w.driver.attempts(removed) + w.driver.attempts(unknown); n != 0 {
			t.Errorf("%d connections around the proxy", n)
		}
	})
}

// Nobody is told that it is done before it is.
func TestKeeper_ForgetsInTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.driver.unforgettable = errors.New("the device store is away")
		id := w.store.add("jid")
		w.store.links[id].ProxySealed = []byte("sealed")
		m, _ := w.node(Config{})
		if st, err := w.desk(m).Disconnect(t.Context(), domain.ID{1}, id); err != nil || st.Settled {
			t.Errorf("disconnect: %+v, %v", st, err)
		}
		time.Sleep(time.Minute)
		w.wantStatus(id, disconnected, "")
		if l, _ := w.store.link(id); l.JID == "" || len(w.driver.forgotten) != 0 {
			t.Errorf("in between: %+v", l)
		}
		w.driver.set(func(d *fakeDriver) { d.unforgettable = nil })
		time.Sleep(obeyAgain + time.Second)
		w.wantStatus(id, disconnected, domain.ReasonDisconnectedByUser)
		if l, _ := w.store.link(id); l.JID != "" || !l.node.IsZero() || len(w.driver.forgotten) != 1 {
			t.Errorf("in the end: %+v, %d forgotten", l, len(w.driver.forgotten))
		}
	})
}
