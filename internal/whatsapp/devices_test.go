package whatsapp_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/fakewa"
	"github.com/pombal-api/pombal/internal/testkit"
	"github.com/pombal-api/pombal/internal/whatsapp"
)

// scanUnheard pairs an instance with a phone while the link's sink is busy: WhatsApp knows of the pairing, and
// nobody else does until release is called.
func scanUnheard(t *testing.T, d *whatsapp.Driver, to domain.LinkTarget, a *fakewa.Account) (l *line, release func()) {
	t.Helper()
	held := make(chan struct{})
	release = sync.OnceFunc(func() { close(held) })
	l = openWith(t, d, to, func(domain.LinkEvent) { <-held })
	t.Cleanup(release) // before the link is closed
	if err := a.ScanQR(soon(t), l.await(t, domain.LinkQR).Text); err != nil {
		t.Fatal(err)
	}
	return l, release
}

// TestPairingOutlivesItsProcess ends a process between the pairing and the moment when anybody learns of it.
func TestPairingOutlivesItsProcess(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, db testkit.Database) {
		h := newHost(t)
		a := h.phone(t, number)
		first := h.newDriver(t, db)
		to := target("")
		_, release := scanUnheard(t, first, to, a)
		var ending sync.WaitGroup
		ending.Go(func() { _ = first.Close() })
		release()
		ending.Wait()
		wantOwners(t, h.newDriver(t, db), 1)

		second := h.newDriver(t, db)
		stranger := open(t, second, target(""))
		stranger.await(t, domain.LinkQR) // another instance has nothing to do with it
		stranger.Close()
		l := open(t, second, to)
		paired := l.await(t, domain.LinkPaired)
		if paired.Phone != number || paired.JID == "" || len(l.all()) > 0 && l.all()[0].Kind != domain.LinkPaired {
			t.Errorf("paired: %+v among %s", paired, kinds(l.all()))
		}
		if err := l.RequestPairingCode(soon(t), number); err == nil {
			t.Error("a paired link gives codes")
		}
		if e := l.await(t, domain.LinkConnected); e.JID != paired.JID || e.Phone != number {
			t.Errorf("connected: %+v", e)
		}
		l.Close()
		to.JID = paired.JID
		again := open(t, second, to)
		again.await(t, domain.LinkConnected)
		if again.all()[0].Kind != domain.LinkConnected {
			t.Errorf("a pairing that is known is told again: %s", kinds(again.all()))
		}
		if n := h.Stats().Pairings; n != 1 {
			t.Errorf("%d pairings", n)
		}
		wantDevices(t, second, 1)

		// A customer who disconnects has no pairing any more.
		if err := again.Logout(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantOwners(t, second, 0)
		to.JID = ""
		open(t, second, to).await(t, domain.LinkQR)
	})
}

// TestPairingOutlivesItsLink hands an instance over in the same moment.
func TestPairingOutlivesItsLink(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	d := h.newSQLiteDriver(t)
	to := target("")
	l, release := scanUnheard(t, d, to, h.phone(t, number))
	var closing sync.WaitGroup
	closing.Go(l.Close)
	release()
	closing.Wait()
	var opening sync.WaitGroup
	lines := make([]*line, 3)
	for i := range lines { // however many open it at once, they find the same
		opening.Go(func() { lines[i] = open(t, d, to) })
	}
	opening.Wait()
	for _, l := range lines {
		l.await(t, domain.LinkPaired)
		l.Close()
	}
	open(t, d, to).await(t, domain.LinkConnected)
	wantDevices(t, d, 1)
}

// TestLogoutWhilePairing disconnects an instance between the pairing and the moment when anybody learns of it,
// with its link and without.
func TestLogoutWhilePairing(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, db testkit.Database) {
		h := newHost(t)
		a := h.phone(t, number)
		d := h.newDriver(t, db, whatsapp.LogoutTime(patience)) // a first login takes its time
		to := target("")
		logout := func(l *line) {
			t.Helper()
			if err := l.Logout(t.Context()); err != nil {
				t.Error(err)
			}
			if list := a.Devices(); len(list) != 0 {
				t.Errorf("the phone lists %+v", list)
			}
			wantDevices(t, d, 0)
			wantOwners(t, d, 0)
		}
		l, release := scanUnheard(t, d, to, a)
		time.AfterFunc(100*time.Millisecond, release)
		logout(l)

		l, release = scanUnheard(t, d, to, a)
		time.AfterFunc(100*time.Millisecond, release)
		l.Close()
		logout(open(t, d, to))
		l = open(t, d, to)
		l.await(t, domain.LinkQR)
		logout(l)
	})
}

// TestSavedTooLate stores a device, as the library does with the owner's name, when it is deleted already: by the link
// that logs out, and by one whose pairing is gone.
func TestSavedTooLate(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, db testkit.Database) {
		h := newHost(t)
		a := h.phone(t, number)
		d := h.newDriver(t, db)
		for name, end := range map[string]func(l *line) error{
			"logout": func(l *line) error { return l.Logout(t.Context()) },
			"unlinked": func(l *line) error {
				err := a.Unlink(a.Devices()[0].ID)
				l.await(t, domain.LinkLoggedOut)
				return err
			},
		} {
			l, _ := pair(t, d, a)
			wantDevices(t, d, 1)
			if err := end(l); err != nil {
				t.Fatal(err)
			}
			if err := l.Save(t.Context()); err == nil {
				t.Errorf("%s: a device that is deleted is saved", name)
			}
			wantDevices(t, d, 0)
			wantOwners(t, d, 0)
		}
	})
}

// TestPairingThatIsGone unlinks a device that nobody has learned of.
func TestPairingThatIsGone(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, db testkit.Database) {
		h := newHost(t)
		a := h.phone(t, number)
		d := h.newDriver(t, db)
		to := target("")
		l, release := scanUnheard(t, d, to, a)
		time.AfterFunc(100*time.Millisecond, release)
		l.Close()
		if err := a.Unlink(a.Devices()[0].ID); err != nil {
			t.Fatal(err)
		}
		l = open(t, d, to)
		l.await(t, domain.LinkPaired)
		if e := l.await(t, domain.LinkLoggedOut); e.Reason != domain.ReasonLoggedOut {
			t.Errorf("logged out: %+v", e)
		}
		wantDevices(t, d, 0)
		wantOwners(t, d, 0)

		// A row whose device is gone means nothing, and gives way to the next pairing.
		if _, err := d.DB().ExecContext(t.Context(), `INSERT INTO pombal_devices (account_id, instance_id, jid) VALUES ($1, $2, $3)`,
			to.Account.String(), to.Instance.String(), "1:1@s.whatsapp.net"); err != nil {
			t.Fatal(err)
		}
		l = open(t, d, to)
		if err := a.ScanQR(soon(t), l.await(t, domain.LinkQR).Text); err != nil {
			t.Fatal(err)
		}
		l.await(t, domain.LinkConnected)
		wantOwners(t, d, 1)
	})
}

// TestAddressesAreGivenAgain pairs a second instance whose device gets the address of the first one's, which was
// unlinked while nobody looked.
func TestAddressesAreGivenAgain(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, db testkit.Database) {
		before := newHost(t)
		l, old := pair(t, before.newDriver(t, db), before.phone(t, number))
		l.Close()
		h := newHost(t) // it has never heard of that device
		d := h.newDriver(t, db)
		l, to := pair(t, d, h.phone(t, number))
		if to.JID != old.JID {
			t.Fatalf("the second device is %s, the first one was %s", to.JID, old.JID)
		}
		gone := open(t, d, old)
		gone.await(t, domain.LinkLoggedOut)
		if err := gone.Logout(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Ping(soon(t)); err != nil {
			t.Error(err)
		}
		l.Close()
		open(t, d, to).await(t, domain.LinkConnected)
		old.JID = ""
		open(t, d, old).await(t, domain.LinkQR)
		wantDevices(t, d, 1)
	})
}

// TestForget deletes pairings without a link: one that is known, one that nobody has learned of, none, and one whose
// address is another instance's by now.
func TestForget(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, db testkit.Database) {
		h := newHost(t)
		a := h.phone(t, number)
		d := h.newDriver(t, db)
		other, others := pair(t, d, h.phone(t, "5511988880001"))
		forget := func(to domain.LinkTarget) {
			t.Helper()
			if err := d.Forget(t.Context(), to); err != nil {
				t.Error(err)
			}
			wantDevices(t, d, 1)
			wantOwners(t, d, 1)
			to.JID = ""
			l := open(t, d, to)
			l.await(t, domain.LinkQR)
			l.Close()
		}
		l, known := pair(t, d, a)
		l.Close()
		forget(known)
		unheard := target("")
		l, release := scanUnheard(t, d, unheard, a)
		time.AfterFunc(100*time.Millisecond, release)
		l.Close()
		wantOwners(t, d, 2)
		if list, err := d.Paired(t.Context()); err != nil || len(list) != 2 || !slices.ContainsFunc(list, func(p domain.LinkTarget) bool {
			return p.Account == unheard.Account && p.Instance == unheard.Instance && p.JID != ""
		}) {
			t.Errorf("paired are %+v, %v", list, err)
		}
		forget(unheard)
		forget(target(""))
		forget(target(others.JID))
		if n := len(a.Devices()); n != 2 {
			t.Errorf("the phone lists %d devices: WhatsApp was told", n)
		}
		if _, err := other.Ping(soon(t)); err != nil {
			t.Error(err)
		}
		other.Close()
		open(t, d, others).await(t, domain.LinkConnected)
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		if err := d.Forget(t.Context(), others); err == nil {
			t.Error("forgotten though there is no store")
		}
	})
}

// TestLookupFails opens links while the device store does not answer.
func TestLookupFails(t *testing.T) {
	t.Parallel()
	d := newHost(t).newSQLiteDriver(t)
	busy, err := d.DB().Conn(t.Context()) // there is no other one
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = busy.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	unexpected := func(domain.LinkEvent) { t.Error("an event of a link that was not opened") }
	for _, jid := range []string{"", number + ":1@s.whatsapp.net"} {
		if _, err := d.Open(ctx, target(jid), unexpected); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("JID %q: %v", jid, err)
		}
	}
}

// wantOwners counts the devices that are known to be an instance's.
func wantOwners(t *testing.T, d *whatsapp.Driver, want int) {
	t.Helper()
	var n int
	err := d.DB().QueryRowContext(t.Context(), "SELECT count(*) FROM pombal_devices JOIN whatsmeow_device USING (jid)").Scan(&n)
	if err != nil || n != want {
		t.Errorf("%d devices have an owner, want %d (%v)", n, want, err)
	}
}

// TestCutWhileStoring cuts the connection while a pairing waits for the device store: WhatsApp does not know that
// it was accepted.
func TestCutWhileStoring(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.phone(t, number)
	d := h.newSQLiteDriver(t)
	to := target("")
	l := open(t, d, to)
	code := l.await(t, domain.LinkQR).Text
	busy, err := d.DB().Conn(t.Context()) // there is no other one
	if err != nil {
		t.Fatal(err)
	}
	var scanning sync.WaitGroup
	scanning.Go(func() {
		if err := a.ScanQR(soon(t), code); err == nil {
			t.Error("the pairing was accepted before it was stored")
		}
	})
	if err := h.WaitFor(soon(t), func() bool { return d.DB().Stats().WaitCount > 0 }); err != nil {
		t.Fatal(err)
	}
	h.Faults().Cut("")
	if e := l.await(t, domain.LinkDown); e.Reason != domain.ReasonConnectionLost {
		t.Errorf("down: %+v", e)
	}
	scanning.Wait()
	if err := busy.Close(); err != nil {
		t.Fatal(err)
	}
	l.Close()
	wantDevices(t, d, 0)
	l = open(t, d, to)
	if err := a.ScanQR(soon(t), l.await(t, domain.LinkQR).Text); err != nil {
		t.Fatal(err)
	}
	l.await(t, domain.LinkConnected)
	wantOwners(t, d, 1)
}
