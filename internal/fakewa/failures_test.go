package fakewa_test

import (
	"path/filepath"
	"testing"
	"time"

	"go.mau.fi/whatsmeow/appstate"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/pombal-api/pombal/internal/fakewa"
)

// failure is one way in which a connected client loses its connection.
type failure struct {
	name string
	// fail makes it happen.
	fail func(t *testing.T, f *fakewa.Faults)
	// sees waits for the events that tell the client's user.
	sees func(t *testing.T, c *client)
	// back tells that the client comes back by itself.
	back bool
	// silent tells that Disconnected is not among the events.
	silent bool
	// gone tells that the client forgets the device.
	gone bool
}

// refused cuts the connection and refuses the login that follows.
func refused(times, code int, attrs map[string]string) func(*testing.T, *fakewa.Faults) {
	return func(t *testing.T, f *fakewa.Faults) {
		t.Helper()
		add(t, f, fakewa.Fault{Kind: fakewa.RefuseLogin, Code: code, Attrs: attrs, Times: times})
		f.Cut("")
	}
}

func add(t *testing.T, f *fakewa.Faults, fault fakewa.Fault) {
	t.Helper()
	if err := f.Add(fault); err != nil {
		t.Fatal(err)
	}
}

func streamError(code, conflict string) func(*testing.T, *fakewa.Faults) {
	return func(_ *testing.T, f *fakewa.Faults) { f.StreamError("", code, conflict) }
}

// loggedOut sees the end of the pairing.
func loggedOut(onConnect bool, reason events.ConnectFailureReason) func(*testing.T, *client) {
	return func(t *testing.T, c *client) {
		t.Helper()
		e := await[*events.LoggedOut](t, c, nil)
		if e.OnConnect != onConnect || e.Reason != reason {
			t.Errorf("logged out: %+v", e)
		}
	}
}

func connectFailure(reason events.ConnectFailureReason) func(*testing.T, *client) {
	return func(t *testing.T, c *client) {
		t.Helper()
		if e := await[*events.ConnectFailure](t, c, nil); e.Reason != reason || e.Message != "try later" {
			t.Errorf("failure: %+v", e)
		}
	}
}

func seesStreamError(code string) func(*testing.T, *client) {
	return func(t *testing.T, c *client) {
		t.Helper()
		await(t, c, func(e *events.StreamError) bool { return e.Code == code })
	}
}

func sees[T any](t *testing.T, c *client) {
	t.Helper()
	await[T](t, c, nil)
}

func failures() []failure {
	later := map[string]string{"message": "try later"}
	return []failure{
		{name: "cut", fail: func(_ *testing.T, f *fakewa.Faults) { f.Cut("") }, back: true},
		{name: "close frame", fail: func(_ *testing.T, f *fakewa.Faults) { f.CloseFrame("", 1001) }, back: true},
		{name: "end of stream", fail: func(_ *testing.T, f *fakewa.Faults) { f.EndStream("") }, back: true},
		{name: "stream error 503", fail: streamError("503", ""), back: true},
		{name: "stream error 515", fail: streamError("515", ""), back: true, silent: true},
		{name: "stream error 500", fail: streamError("500", ""), sees: seesStreamError("500"), back: true},
		{name: "stream error 401 without conflict", fail: streamError("401", ""), sees: seesStreamError("401"), back: true},
		{name: "replaced", fail: streamError("", "replaced"), sees: sees[*events.StreamReplaced], silent: true},
		{name: "device removed", fail: streamError("401", "device_removed"), sees: loggedOut(false, 401), silent: true, gone: true},
		{name: "refused 401", fail: refused(0, 401, nil), sees: loggedOut(true, 401), gone: true},
		{name: "refused 403", fail: refused(0, 403, nil), sees: loggedOut(true, 403), gone: true},
		{name: "refused 406", fail: refused(0, 406, nil), sees: loggedOut(true, 406), gone: true},
		{name: "banned 402", fail: refused(0, 402, map[string]string{"code": "101", "expire": "3600"}), sees: func(t *testing.T, c *client) {
			t.Helper()
			if e := await[*events.TemporaryBan](t, c, nil); e.Code != 101 || e.Expire != time.Hour {
				t.Errorf("ban: %+v", e)
			}
		}},
		{name: "outdated 405", fail: refused(0, 405, nil), sees: sees[*events.ClientOutdated]},
		{name: "refused 400", fail: refused(0, 400, later), sees: connectFailure(400)},
		{name: "refused 409", fail: refused(0, 409, later), sees: connectFailure(409)},
		{name: "refused 418", fail: refused(0, 418, later), sees: connectFailure(418)},
		{name: "refused 500 twice", fail: refused(2, 500, nil), back: true},
		{name: "refused 503 twice", fail: refused(2, 503, nil), back: true},
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	for _, f := range failures() {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			c := h.paired(t, h.phone(t, "5511999990001"))
			settled(t, h, c)
			f.fail(t, h.Faults())
			if f.sees != nil {
				f.sees(t, c)
			}
			if !f.silent {
				await[*events.Disconnected](t, c, nil)
			}
			if f.back {
				await[*events.Connected](t, c, nil)
			} else if n := count[*events.Connected](c); n != 0 {
				t.Errorf("the client came back %d times", n)
			}
			if f.silent {
				if n := count[*events.Disconnected](c); n != 0 {
					t.Errorf("%d times Disconnected", n)
				}
			}
			checkForgotten(t, c, f.gone)
		})
	}
}

func checkForgotten(t *testing.T, c *client, want bool) {
	t.Helper()
	select {
	case <-c.forgotten:
		if !want {
			t.Error("the client has forgotten the device")
		}
		return
	default:
	}
	if !want {
		return
	}
	select {
	case <-c.forgotten:
	case <-soon(t).Done():
		t.Error("the client has not forgotten the device")
	}
}

// settled waits until the login has had all its consequences, and drops their events.
func settled(t *testing.T, h *host, c *client) {
	t.Helper()
	await[*events.OfflineSyncCompleted](t, c, nil)
	for _, name := range appstate.AllPatchNames {
		await(t, c, func(e *events.AppStateSyncComplete) bool { return e.Name == name })
	}
	if err := h.WaitFor(soon(t), func() bool { return h.Stats().Queued == 0 }); err != nil {
		t.Fatal(err)
	}
	c.forget()
}

func TestSilentKeepAlive(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	c := h.paired(t, h.phone(t, "5511999990001"))
	settled(t, h, c)
	add(t, h.Faults(), fakewa.Fault{Kind: fakewa.SilenceIQ, XMLNS: "w:p", Times: 1})
	await[*events.KeepAliveTimeout](t, c, nil)
	await[*events.KeepAliveRestored](t, c, nil)
	if len(h.Faults().List()) != 0 {
		t.Errorf("left: %v", h.Faults().List())
	}
	add(t, h.Faults(), fakewa.Fault{Kind: fakewa.SilenceIQ, XMLNS: "w:p"})
	await[*events.Connected](t, c, nil) // by its own decision
	if n := count[*events.Disconnected](c); n != 0 {
		t.Errorf("%d times Disconnected", n)
	}
}

func TestHalfOpen(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.phone(t, "5511999990001")
	c := h.paired(t, a)
	settled(t, h, c)
	if n := h.Faults().Stall(a.Phone()); n != 1 {
		t.Fatalf("%d connections stall", n)
	}
	await[*events.KeepAliveTimeout](t, c, nil)
	if n := len(h.Connections()); n != 1 {
		t.Errorf("%d connections: a stalled one stays", n)
	}
	await[*events.Connected](t, c, nil)
	if err := h.WaitForConnections(soon(t), 1); err != nil { // the new login ends the old connection
		t.Fatal(err)
	}
}

func TestResumeHalfOpen(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.phone(t, "5511999990001")
	c := h.paired(t, a)
	settled(t, h, c)
	h.Faults().Stall("")
	await[*events.KeepAliveTimeout](t, c, nil)
	h.Faults().Clear()
	await[*events.KeepAliveRestored](t, c, nil)
}

func TestDelay(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	c := h.paired(t, h.phone(t, "5511999990001"))
	settled(t, h, c)
	const delay = 300 * time.Millisecond
	add(t, h.Faults(), fakewa.Fault{Kind: fakewa.Delay, Duration: delay})
	began := time.Now()
	if _, err := c.TryFetchPrivacySettings(soon(t), true); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < delay {
		t.Errorf("the answer took %s", took)
	}
}

func TestTwinLogin(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.phone(t, "5511999990001")
	path := filepath.Join(t.TempDir(), "wa.db")
	container := openStore(t, path)
	first := h.newClient(t, container.NewDevice())
	first.pair(t, a)
	settled(t, h, first)
	device, err := container.GetDevice(t.Context(), first.Store.GetJID())
	if err != nil {
		t.Fatal(err)
	}
	second := h.newClient(t, device)
	second.connect(t)
	await[*events.StreamReplaced](t, first, nil)
	await[*events.Connected](t, second, nil)
	if err := h.WaitForActive(soon(t), a.Phone(), 1); err != nil {
		t.Fatal(err)
	}
}

func TestUnlink(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.phone(t, "5511999990001")
	c := h.paired(t, a)
	settled(t, h, c)
	id := int(c.Store.GetJID().Device)
	if err := a.Unlink(id + 1); err == nil {
		t.Error("unlinked what is not linked")
	}
	if err := a.Unlink(id); err != nil {
		t.Fatal(err)
	}
	if e := await[*events.LoggedOut](t, c, nil); e.OnConnect || e.Reason != events.ConnectFailureLoggedOut {
		t.Errorf("logged out: %+v", e)
	}
	if list := a.Devices(); len(list) != 0 {
		t.Errorf("devices: %+v", list)
	}
}

func TestUnlinkWhileAway(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.phone(t, "5511999990001")
	c := h.paired(t, a)
	settled(t, h, c)
	c.Disconnect()
	if err := h.WaitForConnections(soon(t), 0); err != nil {
		t.Fatal(err)
	}
	if err := a.Unlink(int(c.Store.GetJID().Device)); err != nil {
		t.Fatal(err)
	}
	c.connect(t)
	if e := await[*events.LoggedOut](t, c, nil); !e.OnConnect || e.Reason != events.ConnectFailureLoggedOut {
		t.Errorf("logged out: %+v", e)
	}
}

func TestLogout(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.phone(t, "5511999990001")
	c := h.paired(t, a)
	settled(t, h, c)
	if err := c.Logout(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkForgotten(t, c, true)
	if list := a.Devices(); len(list) != 0 {
		t.Errorf("devices: %+v", list)
	}
}

func TestSpoiltPairing(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.phone(t, "5511999990001")
	c := h.newClient(t, openStore(t, filepath.Join(t.TempDir(), "wa.db")).NewDevice())
	c.connect(t)
	add(t, h.Faults(), fakewa.Fault{Kind: fakewa.SpoilPairing, Phone: a.Phone(), Times: 1})
	if err := a.ScanQR(soon(t), await[*events.QR](t, c, nil).Codes[0]); err == nil {
		t.Error("the client has accepted a wrong secret")
	}
	await[*events.PairError](t, c, nil)
	if n := len(a.Devices()); n != 0 {
		t.Errorf("%d devices", n)
	}
	c.forget()
	c.pair(t, a) // another attempt succeeds
}

func TestCutWhilePairing(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	c := h.newClient(t, openStore(t, filepath.Join(t.TempDir(), "wa.db")).NewDevice())
	c.connect(t)
	await[*events.QR](t, c, nil)
	if n := h.Faults().Cut(""); n != 1 {
		t.Errorf("%d connections cut", n)
	}
	await[*events.Disconnected](t, c, nil)
}

func TestRefusedTCP(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	c := h.paired(t, h.phone(t, "5511999990001"))
	settled(t, h, c)
	h.ResetStats()
	add(t, h.Faults(), fakewa.Fault{Kind: fakewa.RefuseTCP})
	h.Faults().Cut("")
	await[*events.Disconnected](t, c, nil)
	if err := h.WaitFor(soon(t), func() bool { return h.Stats().Dials >= 2 }); err != nil {
		t.Fatal(err)
	}
	h.Faults().Clear()
	await[*events.Connected](t, c, nil)
	if peak := h.Stats().PeakDialsPerSecond; peak < 1 || peak > 2 {
		t.Errorf("%d dials in one second", peak)
	}
}

func TestSlowAccept(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	const slow = 300 * time.Millisecond
	add(t, h.Faults(), fakewa.Fault{Kind: fakewa.SlowAccept, Duration: slow})
	c := h.newClient(t, openStore(t, filepath.Join(t.TempDir(), "wa.db")).NewDevice())
	began := time.Now()
	c.connect(t)
	if took := time.Since(began); took < slow {
		t.Errorf("connected after %s", took)
	}
}

func TestStrangersAreNotTrusted(t *testing.T) {
	t.Parallel()
	h := startHost(t, fakewa.Config{Seed: []byte("another seed for tests")})
	c := h.newClient(t, openStore(t, filepath.Join(t.TempDir(), "wa.db")).NewDevice())
	if err := c.ConnectContext(t.Context()); err == nil {
		t.Error("the client trusts any server")
	}
}

func TestFaultsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	for _, fault := range []fakewa.Fault{
		{}, {Kind: "flood"}, {Kind: fakewa.RefuseLogin}, {Kind: fakewa.AckError}, {Kind: fakewa.Delay}, {Kind: fakewa.SlowAccept},
	} {
		if err := h.Faults().Add(fault); err == nil {
			t.Errorf("%+v stands", fault)
		}
	}
}
