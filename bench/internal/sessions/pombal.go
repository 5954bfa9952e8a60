package sessions

import (
	"context"
	"errors"
	"log/slog"
	"os"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/session"
	"github.com/pombal-api/pombal/internal/store"
	"github.com/pombal-api/pombal/internal/whatsapp"
)

// pombal is the session layer as the service has it.
type pombal struct {
	store   *store.Store
	driver  *whatsapp.Driver
	manager *session.Manager
}

// openPombal opens everything with production defaults. roll learns who is connected.
func openPombal(ctx context.Context, s Script, r *roll) (keeper, error) {
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	return openLayer(ctx, s, log, func(id domain.ID, e domain.LinkEvent) {
		switch e.Kind {
		case domain.LinkConnected:
			r.set(id.String(), true)
		case domain.LinkDown, domain.LinkLoggedOut:
			r.set(id.String(), false)
		case domain.LinkQR, domain.LinkPairingCode, domain.LinkPaired, domain.LinkProfile, domain.LinkAlive, domain.LinkPairingEnded:
		}
	})
}

// openLayer opens the session layer and lets watch see what happens to connections.
func openLayer(ctx context.Context, s Script, log *slog.Logger, watch func(domain.ID, domain.LinkEvent)) (*pombal, error) {
	p := &pombal{}
	var err error
	if p.store, err = store.Open(ctx, store.Config{URL: s.Store.URL, DataDir: s.Store.Dir, Log: log}); err != nil {
		return nil, err
	}
	if err = p.store.Migrate(ctx); err != nil {
		return nil, errors.Join(err, p.close()) //nolint:contextcheck // it outlives ctx
	}
	p.driver, err = whatsapp.Open(ctx, whatsapp.Config{URL: s.Devices.URL, DataDir: s.Devices.Dir, Log: log},
		whatsapp.Sandbox(s.WhatsApp, rootKey()))
	if err != nil {
		return nil, errors.Join(err, p.close()) //nolint:contextcheck // it outlives ctx
	}
	cfg := session.Config{Name: "bench", Alone: s.Store.URL == "", Log: log}
	p.manager = session.NewManager(cfg, p.store, watchedDriver{p.driver, watch})
	return p, nil
}

func (p *pombal) run(ctx context.Context) error { return p.manager.Run(ctx) }

func (p *pombal) close() error {
	var err error
	if p.driver != nil {
		err = p.driver.Close()
	}
	return errors.Join(err, p.store.Close())
}

// watchedDriver is the driver for the session layer, with somebody who watches.
type watchedDriver struct {
	*whatsapp.Driver
	watch func(domain.ID, domain.LinkEvent)
}

// Open begins one attempt to connect.
func (d watchedDriver) Open(ctx context.Context, t domain.LinkTarget, sink domain.LinkSink) (session.Link, error) {
	link, err := d.Driver.Open(ctx, t, func(e domain.LinkEvent) {
		d.watch(t.Instance, e)
		sink(e)
	})
	if err != nil {
		return nil, err // and not a link that is a nil pointer
	}
	return link, nil
}
