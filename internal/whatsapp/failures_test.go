package whatsapp_test

import (
	"slices"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/fakewa"
	"github.com/pombal-api/pombal/internal/testkit"
	"github.com/pombal-api/pombal/internal/whatsapp"
)

// failure is one way in which a connected link, or its next login, fails.
type failure struct {
	name   string
	fail   func(f *fakewa.Faults) // makes a connected link fail
	login  *fakewa.Fault          // or makes its next login fail
	kind   domain.LinkEventKind
	reason domain.ReasonCode
	retry  time.Duration
}

func refusal(code int, attrs map[string]string) *fakewa.Fault {
	return &fakewa.Fault{Kind: fakewa.RefuseLogin, Code: code, Attrs: attrs}
}

func streamError(code, conflict string) func(*fakewa.Faults) {
	return func(f *fakewa.Faults) { f.StreamError("", code, conflict) }
}

func failures() []failure {
	const down, out = domain.LinkDown, domain.LinkLoggedOut
	const lost = domain.ReasonConnectionLost
	return []failure{
		{name: "cut", fail: func(f *fakewa.Faults) { f.Cut("") }, kind: down, reason: lost},
		{name: "close frame", fail: func(f *fakewa.Faults) { f.CloseFrame("", 1001) }, kind: down, reason: lost},
		{name: "end of stream", fail: func(f *fakewa.Faults) { f.EndStream("") }, kind: down, reason: lost},
		{name: "stream error 503", fail: streamError("503", ""), kind: down, reason: lost},
		{name: "stream error 515", fail: streamError("515", ""), kind: down, reason: lost},
		{name: "stream error 500", fail: streamError("500", ""), kind: down, reason: lost},
		{name: "stream error 401 without conflict", fail: streamError("401", ""), kind: down, reason: lost},
		{name: "replaced", fail: streamError("", "replaced"), kind: down, reason: domain.ReasonReplaced},
		{name: "device removed", fail: streamError("401", "device_removed"), kind: out, reason: domain.ReasonLoggedOut},
		{name: "refused 401", login: refusal(401, nil), kind: out, reason: domain.ReasonLoggedOut},
		{name: "refused 403", login: refusal(403, nil), kind: out, reason: domain.ReasonLoggedOut},
		{name: "refused 406", login: refusal(406, nil), kind: out, reason: domain.ReasonLoggedOut},
		{name: "banned 402", login: refusal(402, map[string]string{"code": "101", "expire": "3600"}), kind: down, reason: domain.ReasonTemporaryBan, retry: time.Hour},
		{name: "outdated 405", login: refusal(405, nil), kind: down, reason: domain.ReasonClientOutdated},
		{name: "refused 400", login: refusal(400, nil), kind: down, reason: domain.ReasonConnectRefused},
		{name: "refused 409", login: refusal(409, nil), kind: down, reason: domain.ReasonConnectRefused},
		{name: "refused 418", login: refusal(418, nil), kind: down, reason: domain.ReasonConnectRefused},
		{name: "refused 500", login: refusal(500, nil), kind: down, reason: domain.ReasonServerUnreachable},
		{name: "refused 503", login: refusal(503, nil), kind: down, reason: domain.ReasonServerUnreachable},
		{name: "no TCP", login: &fakewa.Fault{Kind: fakewa.RefuseTCP}, kind: down, reason: domain.ReasonServerUnreachable},
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	for _, f := range failures() {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			d := h.newSQLiteDriver(t)
			l, to := pair(t, d, h.phone(t, number))
			settle(t, h, l)
			if f.login != nil {
				l.Close()
				h.fault(t, *f.login)
				l = open(t, d, to)
			} else {
				f.fail(h.Faults())
			}
			e := l.await(t, f.kind)
			if e.Reason != f.reason || e.RetryAfter != f.retry {
				t.Errorf("got %s, retry after %s (%v)", e.Reason, e.RetryAfter, e.Err)
			}
			h.Faults().Clear()
			if f.kind == domain.LinkLoggedOut {
				wantDevices(t, d, 0)
				return
			}
			wantDevices(t, d, 1)
			open(t, d, to).await(t, domain.LinkConnected) // the pairing is kept
		})
	}
}

// settle waits until the login has had all its consequences. The library's requests that are under way when an
// error of the stream comes are not free of races among themselves.
func settle(t *testing.T, h *host, l *line) {
	t.Helper()
	for l.await(t, domain.LinkProfile).ProfileName == "" {
	}
	awaitQueued(t, h, 0)
}

func TestLoginThatHangs(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	db := testkit.Database{Dir: t.TempDir()}
	patient := h.newDriver(t, db)
	l, to := pair(t, patient, h.phone(t, number))
	if l.Close(); patient.Close() != nil {
		t.Fatal("the driver cannot be closed")
	}
	h.fault(t, fakewa.Fault{Kind: fakewa.SilenceIQ, XMLNS: "passive"})
	stuck := open(t, h.newDriver(t, db, whatsapp.LoginTime(3*time.Second)), to)
	if e := stuck.await(t, domain.LinkDown); e.Reason != domain.ReasonNotResponding {
		t.Errorf("down: %+v", e)
	}
}

// The library says that it is connected when its last request of a login has failed, too.
func TestLoginThatHangsAndIsCut(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	d := h.newSQLiteDriver(t)
	l, to := pair(t, d, h.phone(t, number))
	l.Close()
	h.fault(t, fakewa.Fault{Kind: fakewa.SilenceIQ, XMLNS: "passive", Times: 1})
	hanging := open(t, d, to)
	if err := h.WaitFor(soon(t), func() bool { return len(h.Faults().List()) == 0 }); err != nil {
		t.Fatal(err)
	}
	hanging.ConnectedAfterEnd(func() { h.Faults().Cut(number) })
	if e := hanging.await(t, domain.LinkDown); e.Reason != domain.ReasonServerUnreachable {
		t.Errorf("down: %+v", e)
	}
	if slices.ContainsFunc(hanging.all(), func(e domain.LinkEvent) bool { return e.Kind == domain.LinkConnected }) {
		t.Error("it counts as connected after its end")
	}
}

func TestSpoiltPairing(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.phone(t, number)
	d := h.newSQLiteDriver(t)
	h.fault(t, fakewa.Fault{Kind: fakewa.SpoilPairing, Times: 1})
	l := open(t, d, target(""))
	if err := a.ScanQR(soon(t), l.await(t, domain.LinkQR).Text); err == nil {
		t.Error("the client has accepted a wrong secret")
	}
	if e := l.await(t, domain.LinkPairingEnded); e.Reason != domain.ReasonPairingFailed || e.Err == nil {
		t.Errorf("ended: %+v", e)
	}
	wantDevices(t, d, 0)
	pair(t, d, a)
}

func TestCutWhilePairing(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	l := open(t, h.newSQLiteDriver(t), target(""))
	l.await(t, domain.LinkQR)
	h.Faults().Cut("")
	if e := l.await(t, domain.LinkDown); e.Reason != domain.ReasonConnectionLost {
		t.Errorf("down: %+v", e)
	}
}

func TestNobodyListens(t *testing.T) {
	t.Parallel()
	d := (&host{addr: "127.0.0.1:1"}).newSQLiteDriver(t)
	if e := open(t, d, target("")).await(t, domain.LinkDown); e.Reason != domain.ReasonServerUnreachable || e.Err == nil {
		t.Errorf("down: %+v", e)
	}
}

func TestPairingWithoutALogin(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.phone(t, number)
	d := h.newSQLiteDriver(t, whatsapp.LoginTime(3*time.Second))
	h.fault(t, fakewa.Fault{Kind: fakewa.SilenceIQ, XMLNS: "passive"})
	to := target("")
	l := open(t, d, to)
	if err := a.ScanQR(soon(t), l.await(t, domain.LinkQR).Text); err != nil {
		t.Fatal(err)
	}
	to.JID = l.await(t, domain.LinkPaired).JID
	if e := l.await(t, domain.LinkDown); e.Reason != domain.ReasonNotResponding {
		t.Errorf("down: %+v", e)
	}
	h.Faults().Clear()
	open(t, d, to).await(t, domain.LinkConnected)
}
