package session

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

const (
	connected    = domain.StatusConnected
	connecting   = domain.StatusConnecting
	disconnected = domain.StatusDisconnected
)

// What follows each failure of a connection: what is shown, whether and when it is tried again, and that it
// recovers.
func TestKeeper_FailureTable(t *testing.T) {
	t.Parallel()
	for reason, want := range map[domain.ReasonCode]struct {
		status        domain.Status
		atLeast, most time.Duration // of the first retry; 0 for none
	}{
		domain.ReasonConnectionLost:    {connecting, 0, time.Second},
		domain.ReasonServerUnreachable: {connecting, 0, 2 * time.Second},
		domain.ReasonNotResponding:     {connecting, 0, time.Second},
		domain.ReasonConnectRefused:    {connecting, time.Second, 11 * time.Second},
		domain.ReasonProxyFailed:       {connecting, 0, 5 * time.Second},
		domain.ReasonTemporaryBan:      {disconnected, 2 * time.Hour, 2*time.Hour + 31*time.Second},
		domain.ReasonClientOutdated:    {disconnected, time.Hour, 65 * time.Minute},
		"something_new":                {connecting, time.Second, 11 * time.Second},
		domain.ReasonReplaced:          {disconnected, 0, 0},
		domain.ReasonLoggedOut:         {disconnected, 0, 0},
	} {
		t.Run(string(reason), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				_, ids := w.connected(1, Config{})
				id := ids[0]
				w.wantChanges(id, connected)
				first := w.driver.last(id)
				var mended atomic.Bool
				w.driver.set(func(d *fakeDriver) {
					d.login = 10 * time.Millisecond
					d.answer = func(l *fakeLink) {
						if !mended.Load() {
							<-time.After(3 * time.Second) // so that it is seen to be away
						}
						l.behave()
					}
				})
				began := time.Now()
				kind, retryAfter := domain.LinkDown, time.Duration(0)
				if reason == domain.ReasonLoggedOut {
					kind = domain.LinkLoggedOut
				}
				if reason == domain.ReasonTemporaryBan {
					retryAfter = 2 * time.Hour
				}
				first.event(kind, reason, retryAfter)
				time.Sleep(settleFor + 200*time.Millisecond)
				w.wantStatus(id, want.status, reason)
				w.wantChanges(id, want.status)
				time.Sleep(3 * time.Hour)
				mended.Store(true)
				l, _ := w.store.link(id)
				if want.most == 0 {
					if w.driver.last(id) != first || l.Desired != domain.DesiredDisconnected || !l.node.IsZero() {
						t.Errorf("tried again, desired %s, held %v", l.Desired, !l.node.IsZero())
					}
					if (l.JID == "") != (reason == domain.ReasonLoggedOut) {
						t.Errorf("the pairing after %s: %q", reason, l.JID)
					}
					w.wantChanges(id)
					return
				}
				took := w.driver.nth(id, 1).opened.Sub(began)
				if took < want.atLeast || took > want.most+50*time.Millisecond {
					t.Errorf("tried again after %v, want %v to %v", took, want.atLeast, want.most)
				}
				w.wantStatus(id, connected, "")
				w.wantChanges(id, connected)
				if n := w.driver.attempts(id); n != 2 {
					t.Errorf("%d attempts", n)
				}
			})
		})
	}
}

// A pairing by QR code, with its events on the way.
func TestKeeper_PairsByQR(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.store.add("")
		m, _ := w.node(Config{})
		desk := w.desk(m)
		time.Sleep(time.Second)
		began := time.Now()
		st, err := desk.Connect(t.Context(), domain.ID{1}, id, domain.PairingWish{Method: domain.PairByQR})
		if err != nil || st.Status != domain.StatusQRPending || st.Code.Text != "qr" {
			t.Fatalf("connect: %+v, %v", st, err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("the code took %v", took)
		}
		again, err := desk.Connect(t.Context(), domain.ID{1}, id, domain.PairingWish{Method: domain.PairByQR})
		if err != nil || again.Code != st.Code {
			t.Errorf("connect again: %+v, %v", again, err)
		}
		w.wantChanges(id, connecting)
		w.driver.last(id).pair("jid-1")
		time.Sleep(time.Second)
		w.wantStatus(id, connected, "")
		w.wantChanges(id, connected)
		l, _ := w.store.link(id)
		if l.JID != "jid-1" || l.in.Phone != "5511" || l.in.ProfileName != "Ana" || l.code.Text != "" {
			t.Errorf("after the pairing: %+v", l)
		}
		if n := w.driver.attempts(id); n != 1 {
			t.Errorf("%d attempts", n)
		}
		_, err = desk.Connect(t.Context(), domain.ID{1}, id, domain.PairingWish{Method: domain.PairByQR})
		wantCode(t, err, domain.CodeAlreadyConnected)
		_, err = desk.Pairing(t.Context(), domain.ID{1}, id)
		wantCode(t, err, domain.CodeAlreadyConnected)
	})
}

func TestKeeper_PairsByCode(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.store.add("")
		m, _ := w.node(Config{})
		desk := w.desk(m)
		if _, err := desk.Connect(t.Context(), domain.ID{1}, id, domain.PairingWish{Method: domain.PairByQR}); err != nil {
			t.Fatal(err)
		}
		how := domain.PairingWish{Method: domain.PairByCode, Phone: "5521"}
		st, err := desk.Connect(t.Context(), domain.ID{1}, id, how)
		if err != nil || st.Code.Text != "CODE-5521" || st.Method != domain.PairByCode {
			t.Fatalf("connect: %+v, %v", st, err)
		}
		if n := w.driver.attempts(id); n != 2 {
			t.Errorf("%d attempts, want a second one for the other kind of code", n)
		}
		w.driver.last(id).event(domain.LinkPairingEnded, domain.ReasonPairingTimeout, 0)
		time.Sleep(time.Second)
		w.wantStatus(id, disconnected, domain.ReasonPairingTimeout)
		st, err = desk.State(t.Context(), domain.ID{1}, id)
		if err != nil || st.Code.Text != "" || st.Desired != domain.DesiredDisconnected || st.Held {
			t.Errorf("after the end: %+v, %v", st, err)
		}
		time.Sleep(time.Hour)
		if n := w.driver.attempts(id); n != 2 {
			t.Errorf("%d attempts: nobody asked for another one", n)
		}
	})
}

// Codes are not made for ever when nobody takes them, whatever the driver does.
func TestKeeper_PairingEndsByItself(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.store.add("")
		m, _ := w.node(Config{})
		w.driver.answer = func(l *fakeLink) { l.down(domain.ReasonServerUnreachable) }
		_, err := w.desk(m).Connect(t.Context(), domain.ID{1}, id, domain.PairingWish{Method: domain.PairByQR})
		wantCode(t, err, domain.CodeUnavailable)
		w.wantStatus(id, connecting, domain.ReasonServerUnreachable)
		time.Sleep(pairingLasts + 2*time.Minute)
		w.wantStatus(id, disconnected, domain.ReasonPairingTimeout)
		if n := w.driver.attempts(id); n < 5 || n > 40 {
			t.Errorf("%d attempts", n)
		}
	})
}

// A login, or what follows a pairing, that hangs is ended after 30 s and tried again.
func TestKeeper_StuckAttemptsAreRetried(t *testing.T) {
	t.Parallel()
	hang := func(*fakeLink) {}
	for name, c := range map[string]struct {
		jid    string
		answer func(*fakeLink)
	}{
		"a login":          {"jid", hang},
		"a first code":     {"", hang},
		"after a pairing":  {"", func(l *fakeLink) { l.emit(domain.LinkEvent{Kind: domain.LinkPaired, JID: "jid"}) }},
		"the next of many": {"", func(l *fakeLink) { l.emit(domain.LinkEvent{Kind: domain.LinkQR, Text: "1", ExpiresAt: time.Now()}) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				id := w.store.add(c.jid)
				w.driver.answer = c.answer
				m, _ := w.node(Config{})
				if c.jid == "" {
					_, _ = w.desk(m).Connect(t.Context(), domain.ID{1}, id, domain.PairingWish{Method: domain.PairByQR})
				}
				time.Sleep(20 * time.Second)
				first := w.driver.last(id)
				w.driver.set(func(d *fakeDriver) { d.answer = nil })
				time.Sleep(15 * time.Second)
				synctest.Wait()
				closed, _, _ := first.at()
				if took := closed.Sub(first.opened); w.driver.attempts(id) != 2 || took < stuckAfter {
					t.Errorf("%d attempts, the first one took %v", w.driver.attempts(id), took)
				}
				if l, _ := w.store.link(id); (l.JID == "") != (l.code.Text == "qr") {
					t.Errorf("JID %q, code %q", l.JID, l.code.Text)
				}
			})
		})
	}
}

// An instance is not shown as connected for longer than 90 s after the last round trip.
func TestKeeper_SilentConnectionIsNotConnected(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, ids := w.connected(5, Config{})
		time.Sleep(10 * time.Minute)
		for _, id := range ids {
			l, _ := w.store.link(id)
			if age := time.Since(l.in.LastSeenAt); age > pingMost+time.Second || l.latency != 30*time.Millisecond {
				t.Errorf("last seen %v ago, latency %v", age, l.latency)
			}
			if w.driver.attempts(id) != 1 {
				t.Errorf("%d attempts on a good connection", w.driver.attempts(id))
			}
		}
		w.driver.set(func(d *fakeDriver) {
			d.mute = true
			d.answer = func(l *fakeLink) { l.down(domain.ReasonServerUnreachable) }
		})
		began := time.Now()
		time.Sleep(90 * time.Second)
		for _, id := range ids {
			w.wantStatus(id, connecting, domain.ReasonServerUnreachable)
			if closed, _, _ := w.driver.nth(id, 0).at(); closed.IsZero() || closed.Sub(began) > 85*time.Second {
				t.Errorf("closed after %v", closed.Sub(began))
			}
		}
	})
}

// A link that flaps changes its status once when it is gone for good, and not at all when it is back soon.
func TestKeeper_FlappingIsNotShown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, ids := w.connected(1, Config{Rand: func() float64 { return 0.5 }})
		id := ids[0]
		w.wantChanges(id, connected)
		before, _ := w.store.link(id)
		for range 2 {
			w.driver.last(id).down(domain.ReasonConnectionLost)
			time.Sleep(1300 * time.Millisecond)
		}
		w.wantStatus(id, connected, "")
		w.wantChanges(id)
		if l, _ := w.store.link(id); !l.in.ConnectedAt.Equal(before.in.ConnectedAt) {
			t.Errorf("connected since %v, was %v", l.in.ConnectedAt, before.in.ConnectedAt)
		}

		// A connection that breaks as soon as it stands: fewer and fewer attempts.
		w.driver.set(func(d *fakeDriver) {
			d.answer = func(l *fakeLink) {
				l.behave()
				<-time.After(50 * time.Millisecond)
				l.down(domain.ReasonConnectionLost)
			}
		})
		attempts := w.driver.attempts(id)
		w.driver.last(id).down(domain.ReasonConnectionLost)
		time.Sleep(10 * time.Minute)
		if n := w.driver.attempts(id) - attempts; n > 30 {
			t.Errorf("%d attempts in ten minutes", n)
		}
		w.driver.set(func(d *fakeDriver) { d.answer = nil })
		time.Sleep(2 * time.Minute)
		w.wantStatus(id, connected, "")
		// A minute later, the next loss is a first one again.
		w.driver.last(id).down(domain.ReasonConnectionLost)
		time.Sleep(1300 * time.Millisecond)
		if _, in, _ := w.driver.last(id).at(); !in {
			t.Error("still counts the losses of long ago")
		}
	})
}

// A failed look into the device store, or a proxy that cannot be read, is no reason to pair anew or to go
// around the proxy.
func TestKeeper_OpenFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.driver.fail = errors.New("database is locked")
		plain, proxied := w.store.add("jid"), w.store.add("jid")
		w.store.links[proxied].ProxySealed = []byte("sealed")
		var works atomic.Bool
		w.node(Config{Proxy: func(_, _ domain.ID, sealed []byte) (string, error) {
			if !works.Load() {
				return "", errors.New("wrong key")
			}
			return "socks5://" + string(sealed), nil
		}})
		time.Sleep(10 * time.Second)
		w.wantStatus(plain, connecting, domain.ReasonConnectionLost)
		w.wantStatus(proxied, connecting, domain.ReasonProxyFailed)
		w.driver.set(func(d *fakeDriver) { d.fail = nil })
		time.Sleep(time.Minute)
		w.wantStatus(plain, connected, "")
		if n := w.driver.attempts(proxied); n != 0 {
			t.Errorf("%d connections around the proxy", n)
		}
		if l := w.driver.last(plain); l.target.JID != "jid" {
			t.Errorf("opened as %+v", l.target)
		}
		works.Store(true)
		time.Sleep(10 * time.Minute)
		w.wantStatus(proxied, connected, "")
		if l := w.driver.last(proxied); l.target.ProxyURL != "socks5://sealed" {
			t.Errorf("opened as %+v", l.target)
		}
	})
}

// While the devices cannot be looked up, it is tried often: whoever waited longer and longer would still wait when
// the database is long back.
func TestKeeper_OpenWorksAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, ids := w.connected(1, Config{})
		w.driver.set(func(d *fakeDriver) { d.fail = errors.New("the database is away") })
		w.driver.last(ids[0]).down(domain.ReasonConnectionLost)
		time.Sleep(5 * time.Minute)
		w.driver.set(func(d *fakeDriver) {
			if n := len(d.opens); n > 600 {
				t.Errorf("%d attempts in 5 minutes", n)
			}
			d.fail = nil
		})
		time.Sleep(5 * time.Second)
		w.wantStatus(ids[0], connected, "")
	})
}

// A refused request for a code ends the attempt by the link's own word, or, without one, soon.
func TestKeeper_CodeRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.store.add("")
		w.driver.answer = func(*fakeLink) {}
		w.driver.login = time.Minute // longer than a request may take
		m, _ := w.node(Config{})
		how := domain.PairingWish{Method: domain.PairByCode, Phone: "5511"}
		_, err := w.desk(m).Connect(t.Context(), domain.ID{1}, id, how)
		wantCode(t, err, domain.CodeUnavailable)
		time.Sleep(30 * time.Second)
		w.wantStatus(id, connecting, domain.ReasonNotResponding)
		w.driver.set(func(d *fakeDriver) { d.login = time.Second })
		time.Sleep(time.Minute)
		if l, _ := w.store.link(id); l.code.Text != "CODE-5511" {
			t.Errorf("code %q", l.code.Text)
		}
	})
}

// A node that wakes up after its leases may have run out opens no connection before it has renewed them.
func TestKeeper_DialsUnderALeaseOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var slept atomic.Int64
		_, ids := w.connected(1, Config{Now: func() time.Time { return time.Now().Add(time.Duration(slept.Load())) }})
		if target := w.driver.last(ids[0]).target; !target.Held() {
			t.Error("the driver is told that the instance is not held")
		}
		slept.Store(int64(time.Minute))
		if target := w.driver.last(ids[0]).target; target.Held() {
			t.Error("the driver is told that the instance is held")
		}
		w.driver.last(ids[0]).down(domain.ReasonConnectionLost)
		time.Sleep(1500 * time.Millisecond)
		if n := w.driver.attempts(ids[0]); n != 1 {
			t.Errorf("%d attempts", n)
		}
		time.Sleep(time.Minute)
		w.wantStatus(ids[0], connected, "")
	})
}

// While the database serves nobody, connections stay, but nothing is dialled: who is cut off from a part of it only, or
// wakes up in the middle, cannot know that nobody else holds the instance.
func TestKeeper_DialsNotInAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, ids := w.connected(2, Config{})
		stays, lost := ids[0], ids[1]
		w.store.setDown(domain.ErrDatabaseDown)
		time.Sleep(20 * time.Second)
		if target := w.driver.last(lost).target; target.Held() {
			t.Error("the driver is told that the instance is held")
		}
		w.driver.last(lost).down(domain.ReasonConnectionLost)
		time.Sleep(5 * time.Minute)
		if w.driver.attempts(lost) != 1 || w.driver.open(stays) != 1 || w.driver.attempts(stays) != 1 {
			t.Errorf("%d attempts, of the other one %d with %d links", w.driver.attempts(lost), w.driver.attempts(stays), w.driver.open(stays))
		}
		w.store.setDown(nil)
		time.Sleep(4 * time.Second)
		w.wantStatus(lost, connected, "")
		w.wantStatus(stays, connected, "")
		if w.driver.attempts(lost) != 2 || w.driver.attempts(stays) != 1 {
			t.Errorf("afterwards: %d and %d attempts", w.driver.attempts(lost), w.driver.attempts(stays))
		}
	})
}

// Rebalancing leaves people alone who are about to take a code; stopping does not.
func TestKeeper_CodesAreNotHandedOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m, stop := w.node(Config{Name: "a"})
		var ids []domain.ID
		for range 20 {
			id := w.store.add("")
			ids = append(ids, id)
			if _, err := w.desk(m).Connect(t.Context(), domain.ID{1}, id, byQR); err != nil {
				t.Fatal(err)
			}
		}
		w.node(Config{Name: "b"})
		time.Sleep(10 * time.Second)
		if got := held(w); got["a"] != len(ids) {
			t.Errorf("held: %v", got)
		}
		stop()
		time.Sleep(5 * time.Second)
		if got := held(w); got["b"] != len(ids) {
			t.Errorf("held: %v", got)
		}
	})
}

// A code is worth nothing without the connection that it was made on: it is not shown until there is another one.
func TestKeeper_CodesEndWithTheirConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.store.add("")
		m, _ := w.node(Config{})
		desk := w.desk(m)
		how := domain.PairingWish{Method: domain.PairByQR}
		if _, err := desk.Connect(t.Context(), domain.ID{1}, id, how); err != nil {
			t.Fatal(err)
		}
		w.driver.set(func(d *fakeDriver) { d.answer = func(l *fakeLink) { l.down(domain.ReasonServerUnreachable) } })
		w.driver.last(id).down(domain.ReasonConnectionLost)
		time.Sleep(2 * time.Second)
		st, err := desk.State(t.Context(), domain.ID{1}, id)
		if err != nil || st.Status != connecting || st.Code.Text != "" {
			t.Errorf("while it is away: %+v, %v", st, err)
		}
		w.driver.set(func(d *fakeDriver) { d.answer = nil })
		st, err = desk.Connect(t.Context(), domain.ID{1}, id, how)
		if err != nil || st.Status != domain.StatusQRPending || w.driver.attempts(id) < 3 {
			t.Errorf("connect again: %+v, %v, %d attempts", st, err, w.driver.attempts(id))
		}
	})
}
