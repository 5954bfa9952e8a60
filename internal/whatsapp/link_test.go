package whatsapp_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/fakewa"
	"github.com/pombal-api/pombal/internal/testkit"
	"github.com/pombal-api/pombal/internal/whatsapp"
)

const number = "5511999990001"

func TestPairByQRCode(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, db testkit.Database) {
		h := newHost(t)
		a := h.phone(t, number)
		d := h.newDriver(t, db)
		l := open(t, d, target(""))

		code := l.await(t, domain.LinkQR)
		if life := time.Until(code.ExpiresAt); life < 50*time.Second || life > 60*time.Second {
			t.Errorf("the first code lives %s", life)
		}
		if err := a.ScanQR(soon(t), code.Text); err != nil {
			t.Fatal(err)
		}
		paired := l.await(t, domain.LinkPaired)
		if paired.Phone != number || paired.JID == "" {
			t.Errorf("paired: %+v", paired)
		}
		connected := l.await(t, domain.LinkConnected)
		if connected.JID != paired.JID || connected.Phone != number {
			t.Errorf("connected: %+v", connected)
		}
		awaitProfile(t, l, domain.LinkEvent{
			Kind: domain.LinkProfile, ProfileName: "Owner of " + number, ProfilePicURL: "https://pictures.invalid/" + number, ProfileStatus: "Busy",
		})
		wantDevices(t, d, 1)
		if stats := h.Stats(); stats.Pairings != 1 || stats.Logins != 1 {
			t.Errorf("stats: %+v", stats)
		}
	})
}

// awaitProfile waits until the profile is as wanted: the name and the rest come in any order.
func awaitProfile(t *testing.T, l *line, want domain.LinkEvent) {
	t.Helper()
	for {
		if got := l.await(t, domain.LinkProfile); cmp.Equal(got, want) {
			return
		}
	}
}

func TestReturnWithTheStoredDevice(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, db testkit.Database) {
		h := newHost(t)
		a := h.phone(t, number)
		d := h.newDriver(t, db)
		l, to := pair(t, d, a)
		awaitProfile(t, l, domain.LinkEvent{
			Kind: domain.LinkProfile, ProfileName: "Owner of " + number, ProfilePicURL: "https://pictures.invalid/" + number, ProfileStatus: "Busy",
		})
		l.Close()
		l.Close()
		if err := h.WaitForConnections(soon(t), 0); err != nil {
			t.Fatal(err)
		}

		again := open(t, d, to)
		if e := again.await(t, domain.LinkConnected); e.JID != to.JID || e.ProfileName != "Owner of "+number {
			t.Errorf("connected: %+v", e)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if last := again.all()[len(again.all())-1]; isFinal(last.Kind) {
			t.Errorf("closing reports %s", kindName(last.Kind))
		}
		if _, err := d.Open(t.Context(), to, func(domain.LinkEvent) {}); err == nil {
			t.Error("a closed driver opens links")
		}

		restarted := h.newDriver(t, db)
		open(t, restarted, to).await(t, domain.LinkConnected)
		wantDevices(t, restarted, 1)
	})
}

func TestLogout(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, db testkit.Database) {
		h := newHost(t)
		a := h.phone(t, number)
		d := h.newDriver(t, db)
		l, to := pair(t, d, a)
		if err := l.Logout(t.Context()); err != nil {
			t.Fatal(err)
		}
		if list := a.Devices(); len(list) != 0 {
			t.Errorf("the phone lists %+v", list)
		}
		wantDevices(t, d, 0)
		for _, e := range l.all() {
			if isFinal(e.Kind) {
				t.Errorf("logging out reports %s", kindName(e.Kind))
			}
		}
		if err := l.Logout(t.Context()); err != nil {
			t.Errorf("again: %v", err)
		}
		gone := open(t, d, to)
		if e := gone.await(t, domain.LinkLoggedOut); e.Reason != domain.ReasonLoggedOut {
			t.Errorf("the device is gone: %+v", e)
		}
		wantDevices(t, d, 0) // no new one was made
	})
}

func TestLogoutWaitsForTheLogin(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.phone(t, number)
	d := h.newSQLiteDriver(t)
	l, to := pair(t, d, a)
	l.Close()
	if err := open(t, d, to).Logout(t.Context()); err != nil {
		t.Fatal(err)
	}
	if list := a.Devices(); len(list) != 0 {
		t.Errorf("the phone lists %+v", list)
	}
	wantDevices(t, d, 0)
}

func TestLogoutWithoutAServer(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.phone(t, number)
	d := h.newSQLiteDriver(t)
	l, _ := pair(t, d, a)
	h.Faults().Stall("")
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if err := l.Logout(ctx); err != nil {
		t.Fatal(err)
	}
	wantDevices(t, d, 0)
	h.Faults().Clear()
}

func TestLogoutWithoutADatabase(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	d := h.newSQLiteDriver(t)
	l, to := pair(t, d, h.phone(t, number))
	if err := d.DB().Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Logout(t.Context()); err == nil {
		t.Error("the device cannot have been deleted")
	}
	if _, err := d.Open(t.Context(), to, func(domain.LinkEvent) { t.Error("an event of a link that was not opened") }); err == nil {
		t.Error("a link was opened although the device cannot be looked up")
	}
}

func TestLogoutOfAnUnpairedLink(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	l := open(t, h.newSQLiteDriver(t), target(""))
	l.await(t, domain.LinkQR)
	if err := l.Logout(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestUnlinkByThePhone(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, db testkit.Database) {
		h := newHost(t)
		a := h.phone(t, number)
		d := h.newDriver(t, db)
		l, _ := pair(t, d, a)
		if err := a.Unlink(a.Devices()[0].ID); err != nil {
			t.Fatal(err)
		}
		if e := l.await(t, domain.LinkLoggedOut); e.Reason != domain.ReasonLoggedOut {
			t.Errorf("logged out: %+v", e)
		}
		wantDevices(t, d, 0)
	})
}

func TestTwin(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	dir := testkit.Database{Dir: t.TempDir()}
	first, to := pair(t, h.newDriver(t, dir), h.phone(t, number))
	second := open(t, h.newDriver(t, dir), to)
	if e := first.await(t, domain.LinkDown); e.Reason != domain.ReasonReplaced {
		t.Errorf("the first one: %+v", e)
	}
	second.await(t, domain.LinkConnected)
}

// TestLateTwin is a node that was frozen before the login, while another one has taken over.
func TestLateTwin(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	dir := testkit.Database{Dir: t.TempDir()}
	first, to := pair(t, h.newDriver(t, dir), h.phone(t, number))
	to.Held = func() bool { return false }
	late := open(t, h.newDriver(t, dir), to)
	if e := late.await(t, domain.LinkDown); e.Reason != domain.ReasonServerUnreachable {
		t.Errorf("the late one: %+v", e)
	}
	if n := h.Stats().Logins; n != 1 {
		t.Errorf("%d logins", n)
	}
	if _, err := first.Ping(soon(t)); err != nil {
		t.Errorf("the first one: %v", err)
	}
}

// TestLatePairing has a phone scan the code of a node that does not hold the instance any more.
func TestLatePairing(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a, d := h.phone(t, number), h.newSQLiteDriver(t)
	var lost atomic.Bool
	to := target("")
	to.Held = func() bool { return !lost.Load() }
	l := open(t, d, to)
	code := l.await(t, domain.LinkQR)
	lost.Store(true)
	if err := a.ScanQR(soon(t), code.Text); !errors.Is(err, fakewa.ErrRefused) {
		t.Errorf("scan: %v", err)
	}
	l.await(t, domain.LinkPairingEnded)
	wantDevices(t, d, 0)
}

func TestMalformedAddress(t *testing.T) {
	t.Parallel()
	d := newHost(t).newSQLiteDriver(t)
	for _, jid := range []string{"@s.whatsapp.net", "1:2:3@x"} {
		if _, err := d.Open(t.Context(), target(jid), func(domain.LinkEvent) {}); err == nil {
			t.Errorf("a link was opened for %q", jid)
		}
	}
}

func TestCodesRunOut(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	l := open(t, h.newSQLiteDriver(t, whatsapp.CodeTimes(200*time.Millisecond, 100*time.Millisecond)), target(""))
	if e := l.await(t, domain.LinkPairingEnded); e.Reason != domain.ReasonPairingTimeout {
		t.Errorf("ended: %+v", e)
	}
	var texts []string
	for _, e := range l.all() {
		if e.Kind == domain.LinkQR && !slices.Contains(texts, e.Text) {
			texts = append(texts, e.Text)
		}
	}
	if len(texts) != 6 {
		t.Errorf("%d codes, want 6", len(texts))
	}
	if err := l.RequestPairingCode(t.Context(), number); err == nil {
		t.Error("a link that has ended gives codes")
	}
}

func TestPairByCode(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.phone(t, number)
	d := h.newSQLiteDriver(t)
	l := open(t, d, target(""))
	if err := l.RequestPairingCode(soon(t), "0"); domain.CodeOf(err) != domain.CodeInvalidParameters {
		t.Errorf("a malformed number: %v", err)
	}
	if err := l.RequestPairingCode(soon(t), number); err != nil {
		t.Fatal(err)
	}
	code := l.await(t, domain.LinkPairingCode)
	if life := time.Until(code.ExpiresAt); life < 2*time.Minute || life > 160*time.Second {
		t.Errorf("the code lives %s", life)
	}
	if err := a.TypeCode(soon(t), code.Text); err != nil {
		t.Fatal(err)
	}
	l.await(t, domain.LinkPaired)
	l.await(t, domain.LinkConnected)
	if err := l.RequestPairingCode(soon(t), number); err == nil {
		t.Error("a paired link gives codes")
	}
}

func TestCodeForAnUnknownNumber(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	l := open(t, h.newSQLiteDriver(t), target(""))
	if err := l.RequestPairingCode(soon(t), "5511999990009"); err == nil {
		t.Error("a number without WhatsApp gets a code")
	}
	if e := l.await(t, domain.LinkPairingEnded); e.Reason != domain.ReasonPairingFailed || e.Err == nil {
		t.Errorf("ended: %+v", e)
	}
}

func TestPing(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	d := h.newSQLiteDriver(t)
	unpaired := open(t, d, target(""))
	if _, err := unpaired.Ping(t.Context()); err == nil {
		t.Error("a link that is not connected answers")
	}
	l, _ := pair(t, d, h.phone(t, number))
	rtt, err := l.Ping(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	if e := l.await(t, domain.LinkAlive); e.RTT != rtt || rtt <= 0 {
		t.Errorf("alive after %s, want %s", e.RTT, rtt)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Ping(canceled); !errors.Is(err, context.Canceled) {
		t.Errorf("a canceled ping: %v", err)
	}
	if _, err := l.Ping(soon(t)); err != nil {
		t.Errorf("a canceled ping ends the link: %v", err)
	}

	h.Faults().Stall(number)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := l.Ping(ctx); err == nil {
		t.Error("a dead server answers")
	}
	if e := l.await(t, domain.LinkDown); e.Reason != domain.ReasonNotResponding {
		t.Errorf("down: %+v", e)
	}
}

func TestSilentServer(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	l, _ := pair(t, h.newSQLiteDriver(t), h.phone(t, number))
	h.fault(t, fakewa.Fault{Kind: fakewa.SilenceIQ, XMLNS: "w:p"})
	if e := l.await(t, domain.LinkDown); e.Reason != domain.ReasonNotResponding {
		t.Errorf("down: %+v", e)
	}
}

func TestCloseInAnyState(t *testing.T) {
	t.Parallel()
	for _, fault := range []fakewa.Fault{
		{Kind: fakewa.SlowAccept, Duration: time.Second},
		{Kind: fakewa.RefuseTCP},
		{Kind: fakewa.Delay, Duration: time.Minute},
		{Kind: fakewa.SilenceIQ, XMLNS: "encrypt"},
	} {
		t.Run(string(fault.Kind), func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			d := h.newSQLiteDriver(t)
			paired, to := pair(t, d, h.phone(t, number))
			paired.Close()
			h.ResetStats()
			h.fault(t, fault)
			l := open(t, d, to)
			if err := h.WaitFor(soon(t), func() bool { return h.Stats().Dials > 0 }); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			l.Close()
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("closing took %s", took)
			}
			h.Faults().Clear()
		})
	}
}

func TestPanicInTheSink(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.phone(t, number)
	l := openWith(t, h.newSQLiteDriver(t), target(""), func(e domain.LinkEvent) {
		panic(fmt.Sprintf("the sink does not like %s", kindName(e.Kind))) //nolint:forbidigo // what is tested
	})
	if err := a.ScanQR(soon(t), l.await(t, domain.LinkQR).Text); err != nil {
		t.Fatal(err)
	}
	l.await(t, domain.LinkConnected)
}

func TestMessagesAreNotAcknowledged(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.phone(t, number)
	d := h.newSQLiteDriver(t)
	l, to := pair(t, d, a)
	friend, err := h.AddContact(fakewa.ContactOptions{Phone: "5511988880001", Name: "Friend"})
	if err != nil {
		t.Fatal(err)
	}
	awaitQueued(t, h, 0) // what the phone itself had to say is taken care of
	if _, err := friend.SendText(soon(t), number, "Hello"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Ping(soon(t)); err != nil {
		t.Fatal(err)
	}
	awaitQueued(t, h, 1)
	l.Close()
	again := open(t, d, to)
	again.await(t, domain.LinkConnected)
	awaitQueued(t, h, 1)
}

func awaitQueued(t *testing.T, h *host, n int) {
	t.Helper()
	if err := h.WaitFor(soon(t), func() bool { return h.Stats().Queued == n }); err != nil {
		t.Fatalf("%d stanzas are not acknowledged, want %d", h.Stats().Queued, n)
	}
}

func TestManyLinks(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, db testkit.Database) {
		h := newHost(t)
		d := h.newDriver(t, db)
		lines := make([]*line, many)
		targets := make([]domain.LinkTarget, many)
		for i := range many {
			lines[i], targets[i] = pair(t, d, h.phone(t, fmt.Sprintf("55119999%05d", i)))
		}
		if err := h.WaitForActive(soon(t), "", many); err != nil {
			t.Fatal(err)
		}
		h.Faults().Cut("")
		for i, l := range lines {
			if e := l.await(t, domain.LinkDown); e.Reason != domain.ReasonConnectionLost {
				t.Errorf("down: %+v", e)
			}
			lines[i] = open(t, d, targets[i])
		}
		for _, l := range lines {
			l.await(t, domain.LinkConnected)
		}
		wantDevices(t, d, many)
	})
}
