package session

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

var byQR = domain.PairingWish{Method: domain.PairByQR}

// Disconnect logs out, and the next connect pairs anew.
func TestDesk_DisconnectAndConnectAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m, ids := w.connected(1, Config{})
		id, desk := ids[0], w.desk(m)
		w.wantChanges(id, connected)
		st, err := desk.Disconnect(t.Context(), domain.ID{1}, id)
		if err != nil || st.Status != disconnected || st.Reason != domain.ReasonDisconnectedByUser || st.Paired || st.Held {
			t.Fatalf("%+v, %v", st, err)
		}
		if closed, _, out := w.driver.last(id).at(); !out || closed.IsZero() {
			t.Error("it was not logged out and closed")
		}
		_, err = desk.Disconnect(t.Context(), domain.ID{1}, id)
		wantCode(t, err, domain.CodeInstanceNotConnected)
		_, err = desk.Restart(t.Context(), domain.ID{1}, id)
		wantCode(t, err, domain.CodeInstanceNotConnected)
		st, err = desk.Connect(t.Context(), domain.ID{1}, id, byQR)
		if err != nil || st.Status != domain.StatusQRPending {
			t.Fatalf("%+v, %v", st, err)
		}
		w.wantChanges(id, disconnected, connecting)
		// While a code waits, there is something to disconnect; perhaps a phone has just taken it.
		if _, err = desk.Disconnect(t.Context(), domain.ID{1}, id); err != nil {
			t.Fatal(err)
		}
		w.wantStatus(id, disconnected, domain.ReasonDisconnectedByUser)
		if _, _, out := w.driver.last(id).at(); !out {
			t.Error("a pairing that has just been made would remain")
		}
	})
}

func TestDesk_RestartKeepsThePairing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m, ids := w.connected(1, Config{})
		id, desk := ids[0], w.desk(m)
		w.wantChanges(id, connected)
		before, _ := w.store.link(id)
		if _, err := desk.Restart(t.Context(), domain.ID{1}, id); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		w.wantStatus(id, connected, "")
		after, _ := w.store.link(id)
		if w.driver.attempts(id) != 2 || after.JID != "jid" || !after.in.ConnectedAt.After(before.in.ConnectedAt) {
			t.Errorf("%d attempts, JID %q, connected since %v", w.driver.attempts(id), after.JID, after.in.ConnectedAt)
		}
		// What was replaced comes back when the customer says so.
		w.driver.last(id).down(domain.ReasonReplaced)
		time.Sleep(time.Second)
		w.wantStatus(id, disconnected, domain.ReasonReplaced)
		if _, err := desk.Restart(t.Context(), domain.ID{1}, id); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		w.wantStatus(id, connected, "")
	})
}

// Connect on a node that does not hold the instance works, and so does one that finds the pairing gone.
func TestDesk_ConnectAnywhere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, ids := w.connected(1, Config{})
		unpaired := w.store.add("")
		elsewhere := NewDesk(w.store, func() {}, time.Now)
		st, err := elsewhere.Connect(t.Context(), domain.ID{1}, unpaired, byQR)
		if err != nil || st.Code.Text != "qr" {
			t.Errorf("%+v, %v", st, err)
		}
		id := ids[0]
		w.driver.last(id).down(domain.ReasonReplaced)
		time.Sleep(time.Second)
		w.driver.set(func(d *fakeDriver) {
			d.answer = func(l *fakeLink) {
				if l.target.JID != "" {
					l.event(domain.LinkLoggedOut, domain.ReasonLoggedOut, 0)
					return
				}
				l.behave()
			}
		})
		st, err = elsewhere.Connect(t.Context(), domain.ID{1}, id, byQR)
		if err != nil || st.Status != domain.StatusQRPending || st.Code.Text != "qr" {
			t.Errorf("after the pairing was lost: %+v, %v", st, err)
		}
	})
}

// A disconnect that nobody has obeyed yet is not overtaken by what is asked later.
func TestDesk_DisconnectIsNotOvertaken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.store.add("jid")
		desk := NewDesk(w.store, func() {}, time.Now)
		ctx, account := t.Context(), domain.ID{1}
		if _, err := desk.Disconnect(ctx, account, id); err != nil { // there is no node
			t.Fatal(err)
		}
		_, err := desk.Restart(ctx, account, id)
		wantCode(t, err, domain.CodeInstanceNotConnected)
		began := time.Now()
		_, err = desk.Connect(ctx, account, id, byQR)
		wantCode(t, err, domain.CodeUnavailable)
		if took := time.Since(began); took > connectTimeout+time.Second {
			t.Errorf("after %v", took)
		}
		var connecting sync.WaitGroup
		connecting.Go(func() {
			st, err := desk.Connect(ctx, account, id, byQR)
			if err != nil || st.Code.Text != "qr" {
				t.Errorf("connect: %+v, %v", st, err)
			}
		})
		time.Sleep(3 * time.Second)
		w.node(Config{})
		connecting.Wait()
		if first := w.driver.nth(id, 0); first.target.JID != "jid" {
			t.Errorf("the first link is of %q", first.target.JID)
		} else if _, _, out := first.at(); !out {
			t.Error("it was not logged out")
		}
	})
}

// hastyWishes lets somebody disconnect the instance right before it is to be connected, or restarted.
type hastyWishes struct {
	*memStore
	times int
}

func (h *hastyWishes) before(ctx context.Context, account, instance domain.ID) error {
	if h.times--; h.times < 0 {
		return nil
	}
	return h.WishDisconnected(ctx, account, instance)
}

func (h *hastyWishes) WishConnected(ctx context.Context, account, instance domain.ID, how domain.PairingWish) error {
	return errors.Join(h.before(ctx, account, instance), h.memStore.WishConnected(ctx, account, instance, how))
}

func (h *hastyWishes) WishRestarted(ctx context.Context, account, instance domain.ID) error {
	return errors.Join(h.before(ctx, account, instance), h.memStore.WishRestarted(ctx, account, instance))
}

// Nor is one that comes in the very moment.
func TestDesk_DisconnectInTheSameMoment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m, ids := w.connected(2, Config{})
		ctx, account := t.Context(), domain.ID{1}
		for _, id := range ids {
			w.driver.last(id).down(domain.ReasonReplaced)
		}
		time.Sleep(time.Second)
		hasty := &hastyWishes{w.store, 1}
		desk := NewDesk(hasty, m.Wake, time.Now)
		_, err := desk.Restart(ctx, account, ids[0])
		wantCode(t, err, domain.CodeInstanceNotConnected)
		hasty.times = 2
		st, err := desk.Connect(ctx, account, ids[1], byQR)
		if err != nil || st.Code.Text != "qr" {
			t.Errorf("connect: %+v, %v", st, err)
		}
		for _, id := range ids {
			if _, _, out := w.driver.nth(id, 1).at(); !out {
				t.Error("it was not logged out")
			}
			if l, _ := w.store.link(id); l.JID != "" {
				t.Errorf("it is still paired as %q", l.JID)
			}
		}
		hasty.times = 1 << 20
		began := time.Now()
		_, err = desk.Connect(ctx, account, ids[0], byQR)
		wantCode(t, err, domain.CodeUnavailable)
		if took := time.Since(began); took > connectTimeout+time.Second {
			t.Errorf("after %v", took)
		}
	})
}

func TestDesk_ConnectGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.store.add("")
		desk := NewDesk(w.store, func() {}, time.Now) // and no node at all
		began := time.Now()
		_, err := desk.Connect(t.Context(), domain.ID{1}, id, byQR)
		wantCode(t, err, domain.CodeUnavailable)
		if took := time.Since(began); took > connectTimeout+time.Second {
			t.Errorf("after %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err = desk.Connect(ctx, domain.ID{1}, id, byQR); err != context.DeadlineExceeded { //nolint:errorlint // as it is
			t.Errorf("a caller who is gone: %v", err)
		}
		_, err = desk.Connect(t.Context(), domain.ID{1}, domain.ID{7}, byQR)
		wantCode(t, err, domain.CodeInstanceNotFound)
	})
}

// Any instance can be deleted within 5 s, in any state.
func TestDesk_RemoveInAnyState(t *testing.T) {
	t.Parallel()
	hang := func(*fakeLink) {}
	for name, c := range map[string]struct {
		jid    string
		before func(w *world, id domain.ID)
		nodes  int
		out    bool // logged out at WhatsApp
	}{
		"never connected":   {"", func(*world, domain.ID) {}, 1, false},
		"connected":         {"jid", func(*world, domain.ID) {}, 1, true},
		"a code waits":      {"", func(w *world, id domain.ID) { _ = w.store.WishConnected(w.t.Context(), domain.ID{1}, id, byQR) }, 1, true},
		"cannot connect":    {"jid", func(w *world, _ domain.ID) { w.driver.set(func(d *fakeDriver) { d.answer = hang }) }, 1, true},
		"banned":            {"jid", func(w *world, id domain.ID) { w.driver.last(id).down(domain.ReasonTemporaryBan) }, 1, true},
		"replaced":          {"jid", func(w *world, id domain.ID) { w.driver.last(id).down(domain.ReasonReplaced) }, 1, true},
		"logging out hangs": {"jid", func(w *world, _ domain.ID) { w.driver.set(func(d *fakeDriver) { d.logout = waitFor }) }, 1, true},
		"no node":           {"jid", func(*world, domain.ID) {}, 0, false},
		"its node is dead": {"jid", func(w *world, id domain.ID) {
			w.store.locked(func() { w.store.links[id].node = domain.ID{99} })
		}, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				id := w.store.add(c.jid)
				wake := func() {}
				for range c.nodes {
					m, _ := w.node(Config{})
					wake = m.Wake
				}
				time.Sleep(2 * time.Second)
				c.before(w, id)
				time.Sleep(2 * time.Second)
				began := time.Now()
				if err := NewDesk(w.store, wake, time.Now).Remove(t.Context(), domain.ID{1}, id, 0); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took > 5*time.Second {
					t.Errorf("took %v", took)
				}
				if _, ok := w.store.link(id); ok {
					t.Error("it is still there")
				}
				time.Sleep(time.Minute)
				if n := w.driver.open(id); n != 0 {
					t.Errorf("%d links remain", n)
				}
				if l := w.driver.last(id); l != nil {
					if _, _, out := l.at(); out != c.out {
						t.Errorf("logged out: %v", out)
					}
				}
				err := NewDesk(w.store, wake, time.Now).Remove(t.Context(), domain.ID{1}, id, 0)
				wantCode(t, err, domain.CodeInstanceNotFound)
			})
		})
	}
}

// A disconnect may take longer than a deletion: WhatsApp learns of it even when the login takes its time.
func TestDesk_DisconnectIsPatient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m, ids := w.connected(1, Config{})
		var out atomic.Bool
		w.driver.set(func(d *fakeDriver) {
			d.logout = func(ctx context.Context) error {
				select {
				case <-time.After(logoutTimeout + time.Second):
					out.Store(true)
				case <-ctx.Done():
				}
				return ctx.Err()
			}
		})
		if _, err := w.desk(m).Disconnect(t.Context(), domain.ID{1}, ids[0]); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		w.wantStatus(ids[0], disconnected, domain.ReasonDisconnectedByUser)
		if !out.Load() {
			t.Error("the logout was given up")
		}
	})
}

// Nobody is told that an instance is disconnected while its pairing is still there: the next connection would be
// to the old phone.
func TestDesk_DisconnectForgetsThePairing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m, ids := w.connected(1, Config{})
		var works atomic.Bool
		w.driver.set(func(d *fakeDriver) {
			d.logout = func(context.Context) error {
				if works.Load() {
					return nil
				}
				return errors.New("the device store is away")
			}
		})
		st, err := w.desk(m).Disconnect(t.Context(), domain.ID{1}, ids[0])
		if err != nil || st.Settled {
			t.Errorf("disconnect: %+v, %v", st, err)
		}
		time.Sleep(time.Minute)
		w.wantStatus(ids[0], disconnected, "")
		if l, _ := w.store.link(ids[0]); l.JID == "" || w.driver.open(ids[0]) != 0 {
			t.Errorf("in between: %+v, %d links", l, w.driver.open(ids[0]))
		}
		if n := w.driver.attempts(ids[0]); n > 15 {
			t.Errorf("%d attempts", n)
		}
		works.Store(true)
		time.Sleep(obeyAgain + time.Second)
		w.wantStatus(ids[0], disconnected, domain.ReasonDisconnectedByUser)
		if l, _ := w.store.link(ids[0]); l.JID != "" || !l.node.IsZero() {
			t.Errorf("in the end: %+v", l)
		}
	})
}

// endingWishes are those of an instance whose connection is given up while somebody waits for its code.
type endingWishes struct {
	Wishes
	reads int
}

func (w *endingWishes) LinkState(context.Context, domain.ID, domain.ID) (domain.LinkState, error) {
	if w.reads++; w.reads == 1 {
		return domain.LinkState{Desired: domain.DesiredConnected, Status: connecting, Method: domain.PairByQR}, nil
	}
	return domain.LinkState{Desired: domain.DesiredDisconnected, Status: disconnected, Reason: domain.ReasonPairingFailed, Settled: true}, nil
}

func TestDesk_ConnectSaysWhyItFailed(t *testing.T) {
	t.Parallel()
	desk := NewDesk(&endingWishes{}, func() {}, time.Now)
	_, err := desk.Connect(t.Context(), domain.ID{1}, domain.ID{2}, byQR)
	wantCode(t, err, domain.CodeUnavailable)
	if why, _ := domain.ReasonPairingFailed.Explain(); err == nil || !strings.Contains(err.Error(), why.Message) {
		t.Errorf("connect: %v", err)
	}
}

func waitFor(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}
