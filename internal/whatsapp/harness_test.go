package whatsapp_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/fakewa"
	"github.com/pombal-api/pombal/internal/testkit"
	"github.com/pombal-api/pombal/internal/whatsapp"
)

// patience bounds each wait: generous, since machines are slow and the race detector slower.
const patience = 60 * time.Second

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func testLog(t *testing.T) *slog.Logger {
	t.Helper()
	if os.Getenv("WHATSAPP_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// host is a fake WhatsApp and where it listens.
type host struct {
	*fakewa.Server
	addr string
}

func newHost(t *testing.T) *host {
	t.Helper()
	s, err := fakewa.New(fakewa.Config{Seed: []byte(seed), Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close the server: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return &host{Server: s, addr: l.Addr().String()}
}

func (h *host) phone(t *testing.T, number string) *fakewa.Account {
	t.Helper()
	a, err := h.AddAccount(fakewa.AccountOptions{
		Phone: number, PushName: "Owner of " + number, About: "Busy", PictureURL: "https://pictures.invalid/" + number,
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (h *host) fault(t *testing.T, f fakewa.Fault) {
	t.Helper()
	if err := h.Faults().Add(f); err != nil {
		t.Fatal(err)
	}
}

// newDriver opens a driver that ends with the test, unless it is closed before.
func (h *host) newDriver(t *testing.T, db testkit.Database, options ...whatsapp.Option) *whatsapp.Driver {
	t.Helper()
	options = append(options, whatsapp.Sandbox(h.addr, fakewa.RootKey([]byte(seed))))
	d, err := whatsapp.Open(t.Context(), whatsapp.Config{URL: db.URL, DataDir: db.Dir, Log: testLog(t)}, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("close the driver: %v", err)
		}
	})
	return d
}

// newSQLiteDriver is for tests of what does not depend on the engine.
func (h *host) newSQLiteDriver(t *testing.T, options ...whatsapp.Option) *whatsapp.Driver {
	t.Helper()
	return h.newDriver(t, testkit.Database{Dir: t.TempDir()}, options...)
}

// eachEngine runs a test on every engine.
func eachEngine(t *testing.T, test func(t *testing.T, db testkit.Database)) {
	t.Helper()
	for _, engine := range testkit.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			test(t, engine.New(t))
		})
	}
}

// line is a link with a record of its events.
type line struct {
	*whatsapp.Link
	mu      sync.Mutex
	events  []domain.LinkEvent
	next    int // the first event that await has not seen
	changed chan struct{}
	busy    bool
	overlap bool // the sink was called twice at once
	onEvent func(domain.LinkEvent)
}

func target(jid string) domain.LinkTarget {
	return domain.LinkTarget{Account: domain.NewID(time.Now()), Instance: domain.NewID(time.Now()), JID: jid}
}

// open opens a link that ends with the test, unless it is closed before.
func open(t *testing.T, d *whatsapp.Driver, to domain.LinkTarget) *line {
	t.Helper()
	return openWith(t, d, to, nil)
}

func openWith(t *testing.T, d *whatsapp.Driver, to domain.LinkTarget, onEvent func(domain.LinkEvent)) *line {
	t.Helper()
	l := &line{changed: make(chan struct{}), onEvent: onEvent}
	link, err := d.Open(t.Context(), to, l.record)
	if err != nil {
		t.Fatal(err)
	}
	l.Link = link
	t.Cleanup(func() {
		l.Close()
		l.check(t)
	})
	return l
}

func (l *line) record(e domain.LinkEvent) {
	l.mu.Lock()
	l.overlap = l.overlap || l.busy
	l.busy = true
	l.events = append(l.events, e)
	close(l.changed)
	l.changed = make(chan struct{})
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.busy = false
		l.mu.Unlock()
	}()
	if l.onEvent != nil {
		l.onEvent(e)
	}
}

// check holds what is promised of all links.
func (l *line) check(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.overlap {
		t.Error("the sink was called twice at once")
	}
	for i, e := range l.events {
		if isFinal(e.Kind) && i != len(l.events)-1 {
			t.Errorf("%s is not the last event: %s", kinds(l.events[i:i+1]), kinds(l.events))
		}
	}
}

func isFinal(k domain.LinkEventKind) bool {
	return k == domain.LinkDown || k == domain.LinkLoggedOut || k == domain.LinkPairingEnded
}

// await returns the next event of the kind. It fails when the link ends otherwise.
func (l *line) await(t *testing.T, kind domain.LinkEventKind) domain.LinkEvent {
	t.Helper()
	ctx := soon(t)
	for {
		l.mu.Lock()
		changed := l.changed
		for l.next < len(l.events) {
			e := l.events[l.next]
			l.next++
			if e.Kind == kind {
				l.mu.Unlock()
				return e
			}
			if isFinal(e.Kind) {
				l.mu.Unlock()
				t.Fatalf("the link ended with %s %s (%v), waiting for %s", kindName(e.Kind), e.Reason, e.Err, kindName(kind))
			}
		}
		l.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("no %s among %s", kindName(kind), kinds(l.all()))
		}
	}
}

func (l *line) all() []domain.LinkEvent {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.events
}

func kindName(k domain.LinkEventKind) string {
	return []string{"QR", "PairingCode", "Paired", "Connected", "Profile", "Alive", "Down", "LoggedOut", "PairingEnded"}[k]
}

func kinds(events []domain.LinkEvent) string {
	var list []string
	for _, e := range events {
		list = append(list, fmt.Sprintf("%s%s", kindName(e.Kind), e.Reason))
	}
	return strings.Join(list, " ")
}

// pair links an instance with a phone by QR code and returns its link, connected.
func pair(t *testing.T, d *whatsapp.Driver, a *fakewa.Account) (*line, domain.LinkTarget) {
	t.Helper()
	to := target("")
	l := open(t, d, to)
	if err := a.ScanQR(soon(t), l.await(t, domain.LinkQR).Text); err != nil {
		t.Fatal(err)
	}
	to.JID = l.await(t, domain.LinkPaired).JID
	l.await(t, domain.LinkConnected)
	return l, to
}

// devices counts the stored devices.
func devices(t *testing.T, d *whatsapp.Driver) int {
	t.Helper()
	var n int
	if err := d.DB().QueryRowContext(t.Context(), "SELECT count(*) FROM whatsmeow_device").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func wantDevices(t *testing.T, d *whatsapp.Driver, want int) {
	t.Helper()
	if n := devices(t, d); n != want {
		t.Errorf("%d stored devices, want %d", n, want)
	}
}
