package whatsapp

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"go.mau.fi/whatsmeow/store/sqlstore"

	"github.com/pombal-api/pombal/internal/domain"
)

// Config says where the paired devices are kept.
type Config struct {
	// URL of a PostgreSQL database, in which the devices have the schema "whatsmeow"; "" for SQLite.
	URL string
	// DataDir is the folder of the SQLite file, whatsmeow.db; made when missing.
	DataDir string
	// MaxConns bounds the connections to PostgreSQL; 0 for two per CPU and at least 4.
	MaxConns int
	// ProxyControl judges the address of an instance's proxy when its name has been resolved, as a
	// net.Dialer.Control does: customers choose their proxies. nil permits all. It has no say in direct
	// connections to WhatsApp.
	ProxyControl func(network, address string, c syscall.RawConn) error
	// Log receives what the driver and the library have to say, without secrets; nil discards it.
	Log *slog.Logger
}

// Option changes how a Driver works. Options are for development and tests.
type Option func(*Driver) error

// times bounds what a link waits for.
type times struct {
	firstCode time.Duration // how long the first QR code is shown
	nextCode  time.Duration // how long each of the others is shown
	login     time.Duration // from the dial, and again from the pairing, to the end of the login
	linger    time.Duration // how long the end of a connection is kept from the library, and from the sink
	ping      time.Duration // for the answer to a ping, unless its context ends before
	profile   time.Duration // for the owner's picture and text
	logout    time.Duration // for a logout, unless its context ends before
}

func standardTimes() times {
	return times{
		firstCode: 60 * time.Second, // as long as WhatsApp accepts it
		nextCode:  20 * time.Second,
		login:     30 * time.Second,
		linger:    300 * time.Millisecond,
		ping:      20 * time.Second,
		profile:   20 * time.Second,
		logout:    5 * time.Second,
	}
}

// Driver opens links. It is safe for concurrent use.
type Driver struct {
	log     *slog.Logger
	db      *sql.DB
	devices *sqlstore.Container
	times   times
	sandbox string // where all connections go instead of WhatsApp; "" in production
	control controlFunc

	ctx    context.Context // of all links
	cancel context.CancelFunc

	mu     sync.Mutex
	closed bool
	links  map[*Link]struct{}
}

var (
	errClosed = errors.New("whatsapp: the driver is closed")
	errJID    = errors.New("whatsapp: the stored address of the device is malformed")
)

// Open opens the device store, bringing its tables up to date. The driver outlives ctx.
func Open(ctx context.Context, cfg Config, options ...Option) (*Driver, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	d := &Driver{log: cfg.Log, control: cfg.ProxyControl, times: standardTimes(), links: make(map[*Link]struct{})}
	for _, option := range options {
		if err := option(d); err != nil {
			return nil, err
		}
	}
	if err := d.openDevices(ctx, cfg); err != nil {
		return nil, fmt.Errorf("open the device store: %w", err)
	}
	d.ctx, d.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return d, nil
}

// Close closes all links and the device store, and waits for them. It may be called twice.
func (d *Driver) Close() error {
	d.mu.Lock()
	d.closed = true
	open := make([]*Link, 0, len(d.links))
	for l := range d.links {
		open = append(open, l)
	}
	d.mu.Unlock()
	for _, l := range open {
		l.hangUp()
	}
	for _, l := range open {
		l.Close()
	}
	d.cancel()
	return d.closeDevices()
}

// closeTime is how long Close waits for what the library is doing in the store.
const closeTime = 5 * time.Second

// closeDevices closes the store. The library's goroutines may still be using it, and sql.DB.Close does not wait
// for them: with SQLite's one connection in hand, there is nobody left.
func (d *Driver) closeDevices() error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(d.ctx), closeTime)
	defer cancel()
	last, err := d.db.Conn(ctx)
	if err != nil { // the database is away, or closed already
		return d.db.Close()
	}
	return errors.Join(d.db.Close(), last.Close())
}

// Open returns a link of an instance, which begins to connect. It asks the device store, but not the network.
// The link must be closed, even after its last event. An error means that the device could not be looked up,
// and that nothing is known about the pairing.
//
// A target without JID may be paired all the same, when whoever opened the link before did not live to learn of
// it. Then the first event is LinkPaired, and the login follows.
func (d *Driver) Open(ctx context.Context, target domain.LinkTarget, sink domain.LinkSink) (*Link, error) {
	l := &Link{
		driver: d, target: target, sink: sink,
		log:     d.log.With(slog.String("account", target.Account.String()), slog.String("instance", target.Instance.String())),
		inbox:   make(chan func()),
		stop:    make(chan struct{}),
		ended:   make(chan struct{}),
		done:    make(chan struct{}),
		showing: make(chan struct{}),
		online:  make(chan struct{}),
		alarm:   time.NewTimer(time.Hour),
	}
	l.alarm.Stop()
	if err := d.find(ctx, l); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, errClosed
	}
	l.ctx, l.cancel = context.WithCancel(d.ctx)
	d.links[l] = struct{}{}
	// Link.Close waits for it, and Driver.Close for all links.
	go l.run() //nolint:contextcheck // it outlives the call
	return l, nil
}

// release is called by a link that has ended.
func (d *Driver) release(l *Link) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.links, l)
}
