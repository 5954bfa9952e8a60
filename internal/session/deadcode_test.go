package session

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// A code belongs to the connection of the node that made it. It is shown no longer than that node holds the instance,
// whether the node hands it over or dies, and the next node does not find it.
func TestKeeper_CodesEndWithTheirNode(t *testing.T) {
	t.Parallel()
	for name, dies := range map[string]bool{"handed over": false, "dead": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				id := w.store.add("")
				node := &mortal{memStore: w.store}
				m, stop := w.nodeOn(Config{Name: "a"}, node)
				desk := w.desk(m)
				st, err := desk.Connect(t.Context(), domain.ID{1}, id, byQR)
				if err != nil || st.Code.Text != "qr" {
					t.Fatalf("connect: %+v, %v", st, err)
				}
				if dies {
					node.kill()
				}
				stop()
				if dies {
					w.store.locked(func() { w.store.remove(onlyNode(w.store)) })
				}
				// It is still good by the clock.
				if st, err = desk.State(t.Context(), domain.ID{1}, id); err != nil || st.Status != connecting || st.Code != (domain.LinkCode{}) {
					t.Errorf("without a node: %+v, %v", st, err)
				}
				if l, _ := w.store.link(id); !dies && l.code.Text != "" {
					t.Errorf("handed over with the code %q", l.code.Text)
				}
				w.driver.set(func(d *fakeDriver) { d.answer = func(*fakeLink) {} })
				w.node(Config{Name: "b"})
				time.Sleep(time.Second)
				if st, err = desk.State(t.Context(), domain.ID{1}, id); err != nil || !st.Held || st.Status != connecting || st.Code != (domain.LinkCode{}) {
					t.Errorf("on the next node: %+v, %v", st, err)
				}
			})
		})
	}
}
