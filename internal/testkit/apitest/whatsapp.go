package apitest

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/app"
	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/fakewa"
	"github.com/pombal-api/pombal/pkg/api"
)

// Seed is that of every fake WhatsApp in a test's process, which can trust the certificates of one seed only:
// tests that run dev in their own process give it to app.DevConfig.
func Seed() []byte { return []byte("the fake WhatsApp of the tests") }

// patience bounds what takes a moment: machines are slow, and the race detector makes them slower.
const patience = 60 * time.Second

// nowhere is the WhatsApp of nodes whose test has not asked for one. Nobody listens there, so instances that
// are to be connected stay connecting, as domain.ReasonServerUnreachable. No test reaches the real WhatsApp.
func nowhere() *app.Sandbox { return sandboxAt("127.0.0.1:1") }

func sandboxAt(addr string) *app.Sandbox {
	return &app.Sandbox{Addr: addr, RootKey: fakewa.RootKey(Seed())}
}

// WhatsApp is a fake WhatsApp of a test: phones, contacts, faults and statistics are the server's.
//
//	wa := apitest.NewWhatsApp(t)
//	s := apitest.Start(t, engine, wa.Use)
//	tenant := s.NewTenant(t)
//	in := tenant.NewInstance(t, "Sales")
//	phone := wa.Phone(t, "5511999990001")
//	tenant.Pair(t, in.ID, phone)
type WhatsApp struct {
	*fakewa.Server
	Addr string // where clients dial
}

// NewWhatsApp starts a fake WhatsApp that ends with the test. Make it before the nodes that use it: then it
// outlives them.
func NewWhatsApp(tb testing.TB) *WhatsApp {
	tb.Helper()
	server, err := fakewa.New(fakewa.Config{Seed: Seed()})
	if err != nil {
		tb.Fatal(err)
	}
	listener, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }() // waited for by the cleanup
	tb.Cleanup(func() {
		if err := server.Close(); err != nil {
			tb.Errorf("close the fake WhatsApp: %v", err)
		}
		if err := <-served; err != nil {
			tb.Errorf("the fake WhatsApp: %v", err)
		}
	})
	return &WhatsApp{Server: server, Addr: listener.Addr().String()}
}

// Use is the option of Start and StartOn that makes a node connect to this WhatsApp.
func (w *WhatsApp) Use(cfg *app.Config) { cfg.Sandbox = sandboxAt(w.Addr) }

// Phone adds a phone with the number, in digits, and a profile.
func (w *WhatsApp) Phone(tb testing.TB, number string) *fakewa.Account {
	tb.Helper()
	phone, err := w.AddAccount(fakewa.AccountOptions{
		Phone: number, PushName: "Owner of " + number, About: "About " + number, PictureURL: "https://pictures.invalid/" + number,
	})
	if err != nil {
		tb.Fatal(err)
	}
	return phone
}

// Contact adds somebody with the number, in digits, to exchange messages with.
func (w *WhatsApp) Contact(tb testing.TB, number string) *fakewa.Contact {
	tb.Helper()
	contact, err := w.AddContact(fakewa.ContactOptions{Phone: number, Name: "Contact " + number})
	if err != nil {
		tb.Fatal(err)
	}
	return contact
}

// Pair connects an instance (inst_…) to a phone, which scans its QR code, and returns when it is connected.
func (t *Tenant) Pair(tb testing.TB, instance string, phone *fakewa.Account) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	id := t.instanceID(tb, instance)
	st, err := t.Server.App.Desk().Connect(ctx, t.Account.ID, id, domain.PairingWish{Method: domain.PairByQR})
	if err != nil {
		tb.Fatalf("connect: %v", err)
	}
	if err := phone.ScanQR(ctx, st.Code.Text); err != nil {
		tb.Fatalf("scan the QR code: %v", err)
	}
	t.Await(tb, instance, domain.StatusConnected)
}

// NewConnected makes an instance and pairs it with a new phone of the number.
func (t *Tenant) NewConnected(tb testing.TB, w *WhatsApp, number string) (*api.Instance, *fakewa.Account) {
	tb.Helper()
	instance, phone := t.NewInstance(tb, "Instance "+number), w.Phone(tb, number)
	t.Pair(tb, instance.ID, phone)
	return instance, phone
}

// Await waits until an instance (inst_…) has the status, and returns all that is known of its connection.
func (t *Tenant) Await(tb testing.TB, instance string, status domain.Status) domain.LinkState {
	tb.Helper()
	return t.AwaitLink(tb, instance, string(status), func(st *domain.LinkState) bool { return st.Status == status })
}

// AwaitLink waits until the connection of an instance (inst_…) is as it should be; what says how that is.
func (t *Tenant) AwaitLink(tb testing.TB, instance, what string, so func(*domain.LinkState) bool) domain.LinkState {
	tb.Helper()
	id := t.instanceID(tb, instance)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	last := "nothing is known of it"
	for end := time.Now().Add(patience); time.Now().Before(end); <-tick.C {
		st, err := t.Server.App.Desk().State(tb.Context(), t.Account.ID, id)
		if err == nil && so(&st) {
			return st
		}
		last = fmt.Sprintf("it is %s %s (%v)", st.Status, st.Reason, err)
	}
	tb.Fatalf("%s is not %s in %v: %s", instance, what, patience, last)
	return domain.LinkState{}
}

func (t *Tenant) instanceID(tb testing.TB, instance string) domain.ID {
	tb.Helper()
	id, err := domain.ParsePrefixed(domain.PrefixInstance, instance)
	if err != nil {
		tb.Fatal(err)
	}
	return id
}
