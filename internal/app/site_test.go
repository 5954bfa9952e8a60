package app_test

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pombal-api/pombal/internal/app"
	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/fakewa"
	"github.com/pombal-api/pombal/internal/testkit"
	"github.com/pombal-api/pombal/internal/testkit/apitest"
	"github.com/pombal-api/pombal/pkg/api"
)

// patience is how long what must happen may take, at most.
const patience = 2 * time.Minute

// site is a node, the WhatsApp that it connects to, and an account that calls it.
type site struct {
	wa     *apitest.WhatsApp
	engine testkit.Engine
	db     testkit.Database
	tenant *apitest.Tenant
	quick  *api.Client // for asking again and again: it does not hold the answers to the contract
	phones atomic.Int64
}

// pairings has room for those who pair at once, in all tests: with a hundred, a busy machine would complete no login
// in the 30 s that it may take.
var pairings = make(chan struct{}, 4)

func newSite(t *testing.T, engine testkit.Engine) *site {
	t.Helper()
	s := &site{wa: apitest.NewWhatsApp(t), engine: engine, db: apitest.NewDatabase(t, engine)}
	s.tenant = apitest.StartOn(t, s.db, s.wa.Use).NewTenant(t)
	s.dial(t)
	return s
}

// start runs another node in place of the one that was stopped.
func (s *site) start(t *testing.T, options ...func(*app.Config)) {
	t.Helper()
	s.tenant.Server = apitest.StartOn(t, s.db, append([]func(*app.Config){s.wa.Use}, options...)...)
	s.dial(t)
}

// dial makes the clients of the node.
func (s *site) dial(t *testing.T) {
	t.Helper()
	var err error
	s.tenant.API = s.tenant.Client(t, s.tenant.Key)
	s.quick, err = api.NewClient(s.tenant.Server.URL, s.tenant.Key, api.WithHTTPClient(plainClient(t)))
	if err != nil {
		t.Fatal(err)
	}
}

// onEachEngine runs a test on a site of its own for each database.
func onEachEngine(t *testing.T, test func(*testing.T, *site)) {
	t.Helper()
	together(t, testkit.Engines(), func(e *testkit.Engine) string { return e.Name }, func(t *testing.T, e *testkit.Engine) {
		test(t, newSite(t, *e))
	})
}

// together runs subtests side by side, however few processors there are: they mostly wait. Under the race detector
// they do not, so only a few of them run at once.
func together[T any](t *testing.T, rows []T, name func(*T) string, test func(*testing.T, *T)) {
	t.Helper()
	var all errgroup.Group
	if slowness > 1 {
		all.SetLimit(3)
	}
	for i := range rows {
		all.Go(func() error {
			t.Run(name(&rows[i]), func(t *testing.T) { test(t, &rows[i]) })
			return nil
		})
	}
	_ = all.Wait() // none returns an error
}

// patient is an instance, and its owner with a phone.
type patient struct {
	*site
	id     string
	number string
	phone  *fakewa.Account
	code   string // what the latest QR code said
}

// newPatient makes an instance that has never been connected, and a phone.
func (s *site) newPatient(t *testing.T) *patient {
	t.Helper()
	number := strconv.FormatInt(5511999990000+s.phones.Add(1), 10)
	return &patient{site: s, id: s.tenant.NewInstance(t, "Instance of "+number).ID, number: number, phone: s.wa.Phone(t, number)}
}

// newConnected makes an instance that is connected, and of which everything is known.
func (s *site) newConnected(t *testing.T) *patient {
	t.Helper()
	p := s.newPatient(t)
	p.pairAnew(t)
	p.settle(t)
	return p
}

// connect asks for a connection, and asks again as long as that takes more time than a call has.
func (p *patient) connect(t *testing.T, how api.ConnectInstance) (got *api.ConnectResult, err error) {
	t.Helper()
	poll(t, func() error {
		if got, err = p.tenant.API.Instances.Connect(t.Context(), p.id, how); api.CodeOf(err) == api.ErrorCodeUnavailable {
			return err
		}
		return nil
	})
	return got, err
}

// showCode connects the instance, which must give a QR code that has not been seen.
func (p *patient) showCode(t *testing.T) {
	t.Helper()
	shown, err := p.connect(t, api.ConnectInstance{Method: api.ConnectMethodQRCode})
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	if shown.Status != api.LiveStatusQRPending || shown.QRText == nil || *shown.QRText == p.code {
		t.Fatalf("connect: %s, text %v, which was %q before", shown.Status, shown.QRText, p.code)
	}
	p.code = *shown.QRText
}

func (p *patient) scan(t *testing.T) {
	t.Helper()
	if err := p.phone.ScanQR(t.Context(), p.code); err != nil {
		t.Fatalf("scan: %v", err)
	}
}

// typable connects the instance, which must give a code to type on the phone.
func (p *patient) typable(t *testing.T) (code string) {
	t.Helper()
	shown, err := p.connect(t, api.ConnectInstance{Method: api.ConnectMethodPairingCode, Phone: p.number})
	if err != nil {
		t.Fatalf("connect by code: %v", err)
	}
	if shown.Status != api.LiveStatusQRPending || shown.PairingCode == nil || shown.QRText != nil {
		t.Fatalf("connect by code: %+v", shown)
	}
	return *shown.PairingCode
}

// restart asks for a new connection.
func (p *patient) restart(t *testing.T) {
	t.Helper()
	if err := p.tenant.API.Instances.Restart(t.Context(), p.id); err != nil {
		t.Fatalf("restart: %v", err)
	}
}

// reconnect connects an instance whose pairing is kept: no code is needed.
func (p *patient) reconnect(t *testing.T) {
	t.Helper()
	got, err := p.connect(t, api.ConnectInstance{Method: api.ConnectMethodQRCode})
	if api.CodeOf(err) == api.ErrorCodeAlreadyConnected {
		return // while it was asked again
	}
	if err != nil || got.Status != api.LiveStatusConnected || got.QRText != nil {
		t.Fatalf("connect: %+v, %v", got, err)
	}
}

// pairAnew connects an instance that is not paired, and returns when it is connected.
func (p *patient) pairAnew(t *testing.T) {
	t.Helper()
	pairings <- struct{}{}
	defer func() { <-pairings }()
	p.showCode(t)
	p.scan(t)
	p.await(t, api.InstanceStatusConnected, "")
}

// fault lets something go wrong with the phone's connections.
func (p *patient) fault(t *testing.T, f fakewa.Fault) {
	t.Helper()
	f.Phone = p.number
	addFault(t, p.wa, f)
}

func addFault(t *testing.T, wa *apitest.WhatsApp, f fakewa.Fault) {
	t.Helper()
	if err := wa.Faults().Add(f); err != nil {
		t.Fatal(err)
	}
}

// usedUp reports whether no fault of the phone's stands any more.
func (p *patient) usedUp() bool {
	for _, f := range p.wa.Faults().List() {
		if f.Phone == p.number {
			return false
		}
	}
	return true
}

// await waits until the instance and its status say so; no reason is "".
func (p *patient) await(t *testing.T, status api.InstanceStatus, reason domain.ReasonCode) {
	t.Helper()
	poll(t, func() error {
		if err := p.shows(t, p.quick, status, reason); err != nil {
			return err
		}
		if err := p.shows(t, p.tenant.API, status, reason); err != nil {
			return err
		}
		report, err := p.tenant.API.Instances.Status(t.Context(), p.id)
		if err != nil {
			return err
		}
		return checkShown(api.InstanceStatus(report.Status), report.StatusReason, report.ConnectedAt, status, reason)
	})
}

// shows asks whether the instance says so.
func (p *patient) shows(t *testing.T, client *api.Client, status api.InstanceStatus, reason domain.ReasonCode) error {
	t.Helper()
	in, err := client.Instances.Get(t.Context(), p.id)
	if err != nil {
		return err
	}
	return checkShown(in.Status, in.StatusReason, in.ConnectedAt, status, reason)
}

// poll tries until try succeeds.
func poll(t *testing.T, try func() error) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); ; <-tick.C {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("still after %v: %v", patience, err)
		}
	}
}

func checkShown(status api.InstanceStatus, reason *api.StatusReason, since *api.Time, want api.InstanceStatus, why domain.ReasonCode) error {
	explained, known := why.Explain()
	switch {
	case (status == api.InstanceStatusConnected) != (since != nil):
		return fmt.Errorf("it is %s since %v", status, since)
	case status != want, (reason != nil) != known:
		return fmt.Errorf("it is %s %+v, want %s %q", status, reason, want, why)
	case known && *reason != (api.StatusReason{Code: string(why), Message: explained.Message, Action: explained.Action}):
		return fmt.Errorf("it is %s because of %+v, want %+v", status, *reason, explained)
	}
	return nil
}

// settle waits until the instance is connected, and its login has had all its consequences. The library's
// requests that are under way when an error of the stream comes are not free of races among themselves.
func (p *patient) settle(t *testing.T) {
	t.Helper()
	poll(t, func() error {
		in, err := p.quick.Instances.Get(t.Context(), p.id)
		if err != nil {
			return err
		}
		if err = checkShown(in.Status, in.StatusReason, in.ConnectedAt, api.InstanceStatusConnected, ""); err != nil {
			return err
		}
		devices := p.phone.Devices()
		if in.Phone == nil || *in.Phone != p.number || in.ProfileName == nil || in.ProfilePicURL == nil ||
			len(devices) != 1 || !devices[0].Connected || devices[0].Queued > 0 {
			return fmt.Errorf("it is %+v, with devices %+v", in, devices)
		}
		return nil
	})
}

// waitFor waits until cond holds at WhatsApp.
func (s *site) waitFor(t *testing.T, what string, cond func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.wa.WaitFor(ctx, cond); err != nil {
		t.Fatalf("%s: %v; there are %+v", what, err, s.wa.Connections())
	}
}

// link is all that the node knows of the connection.
func (p *patient) link(t *testing.T) domain.LinkState {
	t.Helper()
	return p.tenant.AwaitLink(t, p.id, "known", func(*domain.LinkState) bool { return true })
}
