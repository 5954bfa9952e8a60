package session

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// What a dead node has left, and no other one has room for, is not shown as connected for longer than 90 s.
func TestManager_NobodyHasRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ids := []domain.ID{w.store.add("jid"), w.store.add("jid")}
		stays, _ := w.node(Config{Name: "stays", Capacity: 1})
		dying := &mortal{memStore: w.store}
		_, stop := w.nodeOn(Config{Name: "dies", Capacity: 1}, dying)
		time.Sleep(time.Minute)
		for _, id := range ids {
			w.wantStatus(id, connected, "")
			w.wantChanges(id, connected)
		}
		if n := stays.Unheld(); n != 0 {
			t.Errorf("%d are said to be held by nobody", n)
		}
		dying.kill() // the row stays until it expires
		stop()
		kept, left := ids[0], ids[1]
		if w.driver.open(kept) == 0 {
			kept, left = left, kept
		}
		time.Sleep(30 * time.Second)
		w.wantStatus(left, connected, "") // somebody might still take it over
		if n := stays.Unheld(); n != 1 {
			t.Errorf("%d of 1 are said to be held by nobody", n)
		}
		time.Sleep(time.Minute)
		w.wantStatus(left, connecting, domain.ReasonConnectionLost)
		w.wantChanges(left, connecting)
		w.wantStatus(kept, connected, "")
		w.wantChanges(kept)
		time.Sleep(time.Hour)
		w.wantChanges(left)
		w.node(Config{Name: "helps", Capacity: 1})
		time.Sleep(5 * time.Second)
		w.wantStatus(left, connected, "")
		w.wantChanges(left, connected)
	})
}
