package app_test

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/app"
	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/fakewa"
	"github.com/pombal-api/pombal/internal/whatsapp"
	"github.com/pombal-api/pombal/pkg/api"
)

// mishap is one way in which a connection, or its next login, fails.
type mishap struct {
	name   string
	fault  *fakewa.Fault                  // stands when the connection ends, for this phone only
	blow   func(p *patient, t *testing.T) // ends the connection; nil cuts it
	status api.InstanceStatus             // that is shown
	reason domain.ReasonCode              // that is shown
	mend   func(p *patient, t *testing.T) // ends the failure; nil when nobody has to
	logins int                            // that WhatsApp sees, from the pairing on
	refuse int                            // and refuses
}

// mishaps is the table of what can go wrong with a connection that stood.
func mishaps() []mishap {
	const connecting, disconnected = api.InstanceStatusConnecting, api.InstanceStatusDisconnected
	const lost, out, refused, unreachable = domain.ReasonConnectionLost, domain.ReasonLoggedOut, domain.ReasonConnectRefused, domain.ReasonServerUnreachable
	hang := &fakewa.Fault{Kind: fakewa.SilenceIQ, XMLNS: "passive", Times: 1} // or it would be back before it is shown
	refusal := func(code, times int) *fakewa.Fault {
		return &fakewa.Fault{Kind: fakewa.RefuseLogin, Code: code, Times: times}
	}
	ban := refusal(402, 1)
	ban.Attrs = map[string]string{"code": "101", "expire": "3600"}
	again, reconnect, pairAnew, restart := (*patient).cutHangingLogin, (*patient).reconnect, (*patient).pairAsUnknown, (*patient).restart
	return []mishap{
		{"cut", hang, nil, connecting, lost, again, 3, 0},
		{"close frame", hang, strike(func(f *fakewa.Faults, n string) int { return f.CloseFrame(n, 1001) }), connecting, lost, again, 3, 0},
		{"end of stream", hang, strike((*fakewa.Faults).EndStream), connecting, lost, again, 3, 0},
		{"stream error 503", hang, streamError("503", ""), connecting, lost, again, 3, 0},
		{"stream error 515", hang, streamError("515", ""), connecting, lost, again, 3, 0},
		{"stream error 500", hang, streamError("500", ""), connecting, lost, again, 3, 0},
		{"stream error 401 without conflict", hang, streamError("401", ""), connecting, lost, again, 3, 0},
		{"replaced", nil, streamError("", "replaced"), disconnected, domain.ReasonReplaced, reconnect, 2, 0},
		{"replaced by a twin", nil, (*patient).takeOver, disconnected, domain.ReasonReplaced, reconnect, 3, 0},
		{"device removed", nil, streamError("401", "device_removed"), disconnected, out, pairAnew, 2, 0},
		{"unlinked on the phone", nil, (*patient).unlink, disconnected, out, pairAnew, 2, 0},
		{"refused 401", refusal(401, 1), nil, disconnected, out, pairAnew, 2, 1},
		{"refused 403", refusal(403, 1), nil, disconnected, out, pairAnew, 2, 1},
		{"refused 406", refusal(406, 1), nil, disconnected, out, pairAnew, 2, 1},
		{"banned 402, restarted", ban, nil, disconnected, domain.ReasonTemporaryBan, restart, 2, 1},
		{"banned 402, connected", ban, nil, disconnected, domain.ReasonTemporaryBan, reconnect, 2, 1},
		{"outdated 405", refusal(405, 1), nil, disconnected, domain.ReasonClientOutdated, restart, 2, 1},
		// Of a restart, as that makes them the first of a row: later ones are far between.
		{"refused 400", refusal(400, 1), restart, connecting, refused, nil, 2, 1},
		{"refused 409", refusal(409, 1), restart, connecting, refused, nil, 2, 1},
		{"refused 418", refusal(418, 1), restart, connecting, refused, nil, 2, 1},
		{"refused 500", refusal(500, 3), restart, connecting, unreachable, nil, 2, 3},
		{"refused 503", refusal(503, 3), restart, connecting, unreachable, nil, 2, 3},
	}
}

// strike is what the server does to all connections of a phone.
func strike(blow func(f *fakewa.Faults, number string) int) func(*patient, *testing.T) {
	return func(p *patient, t *testing.T) {
		t.Helper()
		if n := blow(p.wa.Faults(), p.number); n != 1 {
			t.Errorf("%d connections of %s were hit", n, p.number)
		}
	}
}

func streamError(code, conflict string) func(*patient, *testing.T) {
	return strike(func(f *fakewa.Faults, number string) int { return f.StreamError(number, code, conflict) })
}

// cutHangingLogin ends the login that waits for an answer it will not get.
func (p *patient) cutHangingLogin(t *testing.T) {
	t.Helper()
	p.waitFor(t, "a login that hangs", func() bool { return p.usedUp() && p.wa.Faults().Cut(p.number) > 0 })
}

// pairAsUnknown pairs an instance anew whose device WhatsApp does not know any more: the faults have only said so.
func (p *patient) pairAsUnknown(t *testing.T) {
	t.Helper()
	for _, device := range p.phone.Devices() {
		if err := p.phone.Unlink(device.ID); err != nil {
			t.Fatal(err)
		}
	}
	p.pairAnew(t)
}

// unlink removes the device on the phone.
func (p *patient) unlink(t *testing.T) {
	t.Helper()
	if err := p.phone.Unlink(p.phone.Devices()[0].ID); err != nil {
		t.Fatal(err)
	}
}

// takeOver logs in with the same pairing, as another program with a copy of it would.
func (p *patient) takeOver(t *testing.T) {
	t.Helper()
	var cfg app.Config
	p.wa.Use(&cfg)
	twin, err := whatsapp.Open(t.Context(), whatsapp.Config{URL: p.db.URL, DataDir: p.db.Dir, MaxConns: 2},
		whatsapp.Sandbox(cfg.Sandbox.Addr, cfg.Sandbox.RootKey))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if failed := twin.Close(); failed != nil {
			t.Error(failed)
		}
	})
	instance, err := domain.ParsePrefixed(domain.PrefixInstance, p.id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = twin.Open(t.Context(), domain.LinkTarget{Account: p.tenant.Account.ID, Instance: instance}, func(domain.LinkEvent) {}); err != nil {
		t.Fatal(err)
	}
}

// TestFailures lets one instance each run into everything that can go wrong: what is shown, whether it is
// tried again, how often, and how it ends.
func TestFailures(t *testing.T) {
	t.Parallel()
	onEachEngine(t, func(t *testing.T, s *site) {
		rows := mishaps()
		together(t, rows, func(m *mishap) string { return m.name }, func(t *testing.T, m *mishap) { m.happen(t, s) })
		logins, refused := 0, 0
		for _, m := range rows {
			logins, refused = logins+m.logins, refused+m.refuse
		}
		// Where a pairing that is gone could not be forgotten in time, a second login finds that out.
		got, slow := s.wa.Stats(), slowness > 1
		if got.Logins != logins || got.LoginsRefused < refused || got.LoginsRefused > refused && !slow {
			t.Errorf("WhatsApp has seen %d logins and refused %d, want %d and %d", got.Logins, got.LoginsRefused, logins, refused)
		}
	})
}

func (m *mishap) happen(t *testing.T, s *site) {
	t.Helper()
	p := s.newConnected(t)
	before := p.phone.Devices()[0].ID
	if m.fault != nil {
		p.fault(t, *m.fault)
	}
	if m.blow == nil {
		m.blow = strike((*fakewa.Faults).Cut)
	}
	m.blow(p, t)
	p.await(t, m.status, m.reason)
	// Whoever has to act is not tried for.
	st, customers := p.link(t), m.reason == domain.ReasonReplaced || m.reason == domain.ReasonLoggedOut
	if (st.Desired == domain.DesiredConnected) == customers || st.Held == customers || st.Paired != (m.reason != domain.ReasonLoggedOut) {
		t.Errorf("after %s: %+v", m.reason, st)
	}
	if m.mend != nil {
		m.mend(p, t)
	}
	p.await(t, api.InstanceStatusConnected, "")
	devices := p.phone.Devices()
	if len(devices) != 1 || !devices[0].Connected || (devices[0].ID == before) != st.Paired {
		t.Errorf("in the end the phone's devices are %+v, device %d at first", devices, before)
	}
}

// TestOutages are failures that need a WhatsApp, or a node, of their own. They run side by side, as most of them wait
// for something.
func TestOutages(t *testing.T) {
	t.Parallel()
	type outage struct {
		name string
		test func(*testing.T, *site)
	}
	rows := []outage{
		{"unreachable", unreachable},
		{"wrong certificate", wrongCertificate},
		{"codes die with their connection", deadCodes},
		{"a ban outlives the node", banAndRestart},
		{"pairings that fail", failedPairings},
		{"flapping when it stands", cutWhenOnline},
		{"flapping before it stands", cutAtOnce},
		{"owner gone, deleted", deleteFromTheDead},
		{"owner gone, disconnected", disconnectFromTheDead},
	}
	if soak(0, 1) == 1 { // it takes more than a minute
		rows = append(rows, outage{"silence", silence})
	}
	together(t, rows, func(o *outage) string { return o.name }, func(t *testing.T, o *outage) { onEachEngine(t, o.test) })
}

// unreachable keeps an instance from reaching WhatsApp at all.
func unreachable(t *testing.T, s *site) {
	p := s.newConnected(t)
	s.wa.ResetStats()
	addFault(t, s.wa, fakewa.Fault{Kind: fakewa.RefuseTCP})
	s.wa.Faults().Cut(p.number)
	p.await(t, api.InstanceStatusConnecting, domain.ReasonServerUnreachable)
	if n := s.wa.Stats().Dials; n > 5 {
		t.Errorf("%d dials in the first moments", n)
	}
	s.wa.Faults().Clear()
	p.await(t, api.InstanceStatusConnected, "")
	if n := s.wa.Stats().Logins; n != 1 {
		t.Errorf("%d logins", n)
	}
}

// wrongCertificate has somebody else answer for WhatsApp.
func wrongCertificate(t *testing.T, s *site) {
	impostor, err := fakewa.New(fakewa.Config{Seed: []byte("somebody else, who answers for WhatsApp")})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = impostor.Serve(listener) })
	t.Cleanup(func() { _ = impostor.Close(); serving.Wait() })
	s.tenant.Server.Stop()
	s.start(t, func(cfg *app.Config) { cfg.Sandbox.Addr = listener.Addr().String() })
	p := s.newPatient(t)
	_, err = p.tenant.API.Instances.Connect(t.Context(), p.id, api.ConnectInstance{Method: api.ConnectMethodQRCode})
	if api.CodeOf(err) != api.ErrorCodeUnavailable {
		t.Errorf("connect: %v", err)
	}
	p.await(t, api.InstanceStatusConnecting, domain.ReasonServerUnreachable)
	if n := impostor.Stats().Dials; n == 0 || n > 8 {
		t.Errorf("%d dials in ten seconds", n)
	}
}

// deadCodes cuts the connection whose code is shown: it must not be shown any more, and another one be made.
func deadCodes(t *testing.T, s *site) {
	p := s.newPatient(t)
	p.showCode(t)
	addFault(t, s.wa, fakewa.Fault{Kind: fakewa.RefuseTCP})
	s.wa.Faults().Cut("")
	poll(t, func() error { return p.shows(t, p.quick, api.InstanceStatusConnecting, domain.ReasonServerUnreachable) })
	if code, err := p.tenant.API.Instances.QRCode(t.Context(), p.id); err != nil || code.QRText != nil {
		t.Errorf("still shown: %+v, %v", code, err)
	}
	s.wa.Faults().Clear()
	poll(t, func() error {
		code, err := p.quick.Instances.QRCode(t.Context(), p.id)
		if err != nil || code.QRText == nil || *code.QRText == p.code {
			return fmt.Errorf("no new code: %+v, %w", code, err)
		}
		p.code = *code.QRText
		return nil
	})
	p.scan(t)
	p.await(t, api.InstanceStatusConnected, "")
}

// banAndRestart restarts the node of an instance that WhatsApp wants to be left alone by.
func banAndRestart(t *testing.T, s *site) {
	p := s.newConnected(t)
	p.fault(t, fakewa.Fault{Kind: fakewa.RefuseLogin, Code: 402, Attrs: map[string]string{"code": "101", "expire": "3600"}, Times: 1})
	s.wa.Faults().Cut(p.number)
	p.await(t, api.InstanceStatusDisconnected, domain.ReasonTemporaryBan)
	s.tenant.Server.Stop()
	dials := s.wa.Stats().Dials
	s.start(t)
	s.tenant.AwaitLink(t, p.id, "held", func(st *domain.LinkState) bool { return st.Held && st.Settled })
	p.await(t, api.InstanceStatusDisconnected, domain.ReasonTemporaryBan)
	if n := s.wa.Stats().Dials; n != dials {
		t.Errorf("%d dials during the ban", n-dials)
	}
	p.restart(t)
	p.await(t, api.InstanceStatusConnected, "")
}

// failedPairings end, and the instance can be paired anew.
func failedPairings(t *testing.T, s *site) {
	type pairing struct {
		name string
		fail func(*testing.T, *patient)
	}
	rows := []pairing{{"wrong secret", spoiltPairing}, {"code for nobody", codeForNobody}, {"wrong code", wrongCode}}
	together(t, rows, func(r *pairing) string { return r.name }, func(t *testing.T, r *pairing) {
		p := s.newPatient(t)
		r.fail(t, p)
		p.pairAnew(t)
	})
}

func spoiltPairing(t *testing.T, p *patient) {
	p.fault(t, fakewa.Fault{Kind: fakewa.SpoilPairing, Times: 1})
	p.showCode(t)
	if err := p.phone.ScanQR(t.Context(), p.code); err == nil {
		t.Error("a wrong secret was accepted")
	}
	p.await(t, api.InstanceStatusDisconnected, domain.ReasonPairingFailed)
}

func codeForNobody(t *testing.T, p *patient) {
	began := time.Now()
	how := api.ConnectInstance{Method: api.ConnectMethodPairingCode, Phone: "5521888880000"}
	_, err := p.tenant.API.Instances.Connect(t.Context(), p.id, how)
	explained, _ := domain.ReasonPairingFailed.Explain()
	inTime := time.Since(began) < 9*time.Second // or else nobody knows why yet
	if api.CodeOf(err) != api.ErrorCodeUnavailable || inTime && !strings.Contains(err.Error(), explained.Message) {
		t.Errorf("connect: %v", err)
	}
	p.await(t, api.InstanceStatusDisconnected, domain.ReasonPairingFailed)
}

func wrongCode(t *testing.T, p *patient) {
	code := p.typable(t)
	if err := p.phone.TypeCode(t.Context(), "AAAA-AAAA"); !errors.Is(err, fakewa.ErrWrongCode) {
		t.Errorf("typed a wrong code: %v", err)
	}
	if again := p.typable(t); again != code {
		t.Errorf("connect again: %q, want %q", again, code)
	}
	if err := p.phone.TypeCode(t.Context(), code); err != nil {
		t.Errorf("typed the code: %v", err)
	}
	p.await(t, api.InstanceStatusConnected, "")
	p.unlink(t)
	p.await(t, api.InstanceStatusDisconnected, domain.ReasonLoggedOut)
}

// silence leaves the connection open, and nobody answers; the next login gets no answer either.
func silence(t *testing.T, s *site) {
	p := s.newConnected(t)
	p.fault(t, fakewa.Fault{Kind: fakewa.SilenceIQ, XMLNS: "passive", Times: 1})
	s.wa.Faults().Stall(p.number)
	p.await(t, api.InstanceStatusConnecting, domain.ReasonNotResponding)
	p.await(t, api.InstanceStatusConnected, "")
	if n := s.wa.Stats().Logins; n != 3 {
		t.Errorf("%d logins", n)
	}
}
