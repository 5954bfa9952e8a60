package session

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// A pairing that the node before did not live to record is found by the driver, however late.
func TestKeeper_UnrecordedPairing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		how    domain.PairingWish
		late   time.Duration
		answer func(*fakeLink)
		status domain.Status
		reason domain.ReasonCode
	}{
		"soon":              {byQR, time.Second, func(l *fakeLink) { l.pair("kept") }, connected, ""},
		"late":              {byQR, time.Hour, func(l *fakeLink) { l.pair("kept") }, connected, ""},
		"late, by code":     {domain.PairingWish{Method: domain.PairByCode, Phone: "5511"}, time.Hour, func(l *fakeLink) { l.pair("kept") }, connected, ""},
		"late, and nothing": {byQR, time.Hour, nil, disconnected, domain.ReasonPairingTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				id := w.store.add("")
				if err := w.store.WishConnected(t.Context(), domain.ID{1}, id, c.how); err != nil {
					t.Fatal(err)
				}
				time.Sleep(c.late)
				w.driver.answer = c.answer
				w.node(Config{})
				time.Sleep(time.Minute)
				w.wantStatus(id, c.status, c.reason)
				if l, _ := w.store.link(id); (l.JID == "kept") != (c.status == connected) || l.code.Text != "" {
					t.Errorf("JID %q, code %q", l.JID, l.code.Text)
				}
				if n := w.driver.attempts(id); n != 1 {
					t.Errorf("%d attempts", n)
				}
			})
		})
	}
}

// Whoever is disconnected before any node has recorded the pairing is logged out all the same.
func TestKeeper_DisconnectsAnUnrecordedPairing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.store.add("")
		if err := w.store.WishConnected(t.Context(), domain.ID{1}, id, byQR); err != nil {
			t.Fatal(err)
		}
		if err := w.store.WishDisconnected(t.Context(), domain.ID{1}, id); err != nil {
			t.Fatal(err)
		}
		w.node(Config{})
		time.Sleep(time.Second)
		w.wantStatus(id, disconnected, domain.ReasonDisconnectedByUser)
		if _, _, out := w.driver.last(id).at(); !out {
			t.Error("it was not logged out")
		}
	})
}
