package app

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/session"
	"github.com/pombal-api/pombal/internal/store"
	"github.com/pombal-api/pombal/internal/whatsapp"
)

// Sandbox is a fake WhatsApp, to which a node connects all its instances instead of WhatsApp. The first one
// binds the process: from then on it trusts that one's certificates only.
type Sandbox struct {
	Addr    string   // host:port, plain TCP
	RootKey [32]byte // what its certificates are signed with
}

// sessions is the part of a node that connects instances.
type sessions struct {
	driver  *whatsapp.Driver
	manager *session.Manager
	desk    *session.Desk
}

// openSessions opens the devices beside the database. Nothing is connected before the manager runs.
func (a *App) openSessions(ctx context.Context) (*sessions, error) {
	var options []whatsapp.Option
	if box := a.cfg.Sandbox; box != nil {
		options = append(options, whatsapp.Sandbox(box.Addr, box.RootKey))
	}
	cfg := a.cfg.devices(a.log)
	cfg.ProxyControl = a.proxies.Control
	driver, err := whatsapp.Open(ctx, cfg, options...)
	if err != nil {
		return nil, err
	}
	host, _ := os.Hostname() // it is for people: any name will do
	manager := session.NewManager(session.Config{
		Name:     host,
		Capacity: a.cfg.NodeCapacity,
		Alone:    a.core.store.Dialect() == store.DialectSQLite,
		Proxy:    a.core.proxyURL,
		Log:      a.log,
	}, a.core.store, links{driver})
	a.metrics.MustRegister(
		gauge("pombal_instances_held", "Instances that this node looks after.", manager.Held),
		gauge("pombal_instances_online", "Instances that this node has logged in to WhatsApp.", manager.Online),
		gauge("pombal_instances_unheld", "Instances that should be connected, of all nodes, and that no node looks after.", manager.Unheld))
	return &sessions{driver: driver, manager: manager, desk: session.NewDesk(a.core.store, manager.Wake, time.Now)}, nil
}

// devices says where the devices are.
func (d Database) devices(log *slog.Logger) whatsapp.Config {
	_, conns := d.shares()
	return whatsapp.Config{URL: string(d.DatabaseURL), DataDir: d.DataDir, MaxConns: conns, Log: log}
}

func gauge(name, help string, value func() int) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(value()) })
}

// Close closes what the manager has left open, and the devices.
func (s *sessions) Close() error { return s.driver.Close() }

// links lets sessions use the driver.
type links struct{ *whatsapp.Driver }

// Open is the driver's, without a link beside an error.
func (l links) Open(ctx context.Context, t domain.LinkTarget, sink domain.LinkSink) (session.Link, error) {
	link, err := l.Driver.Open(ctx, t, sink)
	if err != nil {
		return nil, err
	}
	return link, nil
}

// proxyURL opens the sealed URL of an instance's proxy.
func (c *core) proxyURL(account, instance domain.ID, sealed []byte) (string, error) {
	url, err := c.sealer.Open(sealed, domain.InstanceProxyPlace(account, instance))
	return string(url), err
}

// shares divides the connections to PostgreSQL between the store and the devices, which get a quarter: few
// instances use theirs at the same moment. 0 leaves either to its own default.
func (d Database) shares() (store, devices int) {
	if d.MaxConns <= 0 {
		return 0, 0
	}
	devices = max(1, d.MaxConns/4)
	return max(1, d.MaxConns-devices), devices
}
