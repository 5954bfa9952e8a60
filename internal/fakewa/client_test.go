package fakewa_test

import (
	"context"
	"database/sql"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/store/sqlstore"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	waLog "go.mau.fi/whatsmeow/util/log"
	_ "modernc.org/sqlite"

	"github.com/pombal-api/pombal/internal/fakewa"
)

// patience bounds each wait: generous, since machines are slow and the race detector slower.
const patience = 30 * time.Second

// soon returns a context that bounds one wait.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// host is a server and where it listens.
type host struct {
	*fakewa.Server
	addr     string
	listener net.Listener
	served   chan error
	stopped  bool
}

func newHost(t *testing.T) *host {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("FAKEWA_LOG") != "" {
		log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return startHost(t, fakewa.Config{Seed: []byte(seed), Log: log})
}

// startHost serves until the test ends, or until stop.
func startHost(t *testing.T, cfg fakewa.Config) *host {
	t.Helper()
	s, err := fakewa.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &host{Server: s, addr: l.Addr().String(), listener: l, served: make(chan error, 1)}
	go func() { h.served <- s.Serve(l) }()
	t.Cleanup(func() { h.stop(t) })
	return h
}

func (h *host) stop(t *testing.T) {
	t.Helper()
	if h.stopped {
		return
	}
	h.stopped = true
	if err := h.Close(); err != nil {
		t.Errorf("close the server: %v", err)
	}
	if err := <-h.served; err != nil {
		t.Errorf("serve: %v", err)
	}
}

// phone adds an account.
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

// client is the real client with a record of its events.
type client struct {
	*whatsmeow.Client
	forgotten chan struct{} // closed when the client has deleted its device
	addr      *string       // where it dials; may be changed while it is disconnected

	mu      sync.Mutex
	events  []any
	changed chan struct{}
}

// newClient makes a client for a device, with all its traffic redirected to the server.
func (h *host) newClient(t *testing.T, device *store.Device) *client {
	t.Helper()
	log := waLog.Noop
	if os.Getenv("FAKEWA_LOG") != "" {
		log = waLog.Stdout("client", "DEBUG", false)
	}
	c := &client{Client: whatsmeow.NewClient(device, log), changed: make(chan struct{}), forgotten: make(chan struct{})}
	addr := h.addr
	c.addr = &addr
	device.Container = &deletions{DeviceContainer: device.Container, done: c.forgotten}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}
	transport := &http.Transport{DialContext: dial, DialTLSContext: dial}
	hc := &http.Client{Transport: transport}
	c.SetWebsocketHTTPClient(hc)
	c.SetPreLoginHTTPClient(hc)
	c.SetMediaHTTPClient(hc)
	c.EnableDecryptedEventBuffer = true
	c.SynchronousAck = true
	c.AddEventHandler(c.record)
	t.Cleanup(func() {
		c.Disconnect()
		transport.CloseIdleConnections()
	})
	return c
}

// deletions tells when a device has been deleted. The client sends its event before.
type deletions struct {
	store.DeviceContainer
	done chan struct{}
}

// PutDevice stays in between: the store puts itself into a new device.
func (d *deletions) PutDevice(ctx context.Context, device *store.Device) error {
	err := d.DeviceContainer.PutDevice(ctx, device)
	if device.Container != d {
		device.Container = d
	}
	return err
}

func (d *deletions) DeleteDevice(ctx context.Context, device *store.Device) error {
	err := d.DeviceContainer.DeleteDevice(ctx, device)
	close(d.done)
	return err
}

func (c *client) record(evt any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events = append(c.events, evt)
	close(c.changed)
	c.changed = make(chan struct{})
}

// await returns the first event of the type that fits. Nil fits any.
func await[T any](t *testing.T, c *client, fits func(T) bool) T {
	t.Helper()
	ctx := soon(t)
	for {
		c.mu.Lock()
		seen, changed := c.events, c.changed
		c.mu.Unlock()
		for _, evt := range seen {
			if e, ok := evt.(T); ok && (fits == nil || fits(e)) {
				return e
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			var zero T
			t.Fatalf("no event %T among %d: %s", zero, len(seen), kinds(seen))
		}
	}
}

func kinds(seen []any) string {
	list := ""
	for _, evt := range seen {
		list += " " + typeName(evt)
	}
	return list
}

// forget drops the events so far.
func (c *client) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events = nil
}

// count returns how many events of the type there were.
func count[T any](c *client) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, evt := range c.events {
		if _, ok := evt.(T); ok {
			n++
		}
	}
	return n
}

// openStore opens a device store in a file.
func openStore(t *testing.T, path string) *sqlstore.Container {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+
		"?_pragma=foreign_keys(1)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)&_pragma=busy_timeout(10000)&_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { _ = db.Close() })
	container := sqlstore.NewWithDB(db, "sqlite", nil)
	if err := container.Upgrade(t.Context()); err != nil {
		t.Fatal(err)
	}
	return container
}

// connect connects and leaves the connection open after the test's context ends.
func (c *client) connect(t *testing.T) {
	t.Helper()
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	t.Cleanup(func() {
		c.Disconnect()
		stop() // a client between two of its own tries does not notice Disconnect
	})
	if err := c.ConnectContext(ctx); err != nil {
		t.Fatal(err)
	}
}

// pair links the client to the phone by QR code and waits until it is connected.
func (c *client) pair(t *testing.T, a *fakewa.Account) {
	t.Helper()
	c.connect(t)
	qr := await[*events.QR](t, c, nil)
	if err := a.ScanQR(soon(t), qr.Codes[0]); err != nil {
		t.Fatal(err)
	}
	await[*events.PairSuccess](t, c, nil)
	await[*events.Connected](t, c, nil)
}

// paired returns a client that is linked to the phone and connected, with its store.
func (h *host) paired(t *testing.T, a *fakewa.Account) *client {
	t.Helper()
	container := openStore(t, filepath.Join(t.TempDir(), "wa.db"))
	c := h.newClient(t, container.NewDevice())
	c.pair(t, a)
	return c
}

func jid(phone string) types.JID { return types.NewJID(phone, types.DefaultUserServer) }

type waJID = types.JID
