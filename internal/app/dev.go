package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// DevConfig is what dev can be told.
type DevConfig struct {
	DataDir     string
	Addr        string
	AdminAddr   string
	ControlAddr string // of the fake WhatsApp's control API; it knows no authentication
	PublicURL   string
	// WebhookNetworks are networks beside the public Internet and this machine that webhooks may lead to.
	WebhookNetworks []netip.Prefix
	// Seed decides the keys of the fake WhatsApp that comes with new sample data; nil for a random one. A
	// process that opens several gives them the same: it can trust the keys of one seed only.
	Seed []byte
}

// Dev is a node with an embedded database, sample data and a fake WhatsApp to which its instances are
// connected, for trying Pombal out.
type Dev struct {
	*App
	Sample Sample
	dir    string
	box    *sandbox
	noting sync.Mutex // guards Sample.Instances while the node runs
}

// OpenDev prepares a node in cfg.DataDir. The first time it makes the sample data; later it finds it
// as the user left it. Killed meanwhile, it goes on the next time.
func OpenDev(ctx context.Context, cfg DevConfig, logTo io.Writer) (_ *Dev, err error) {
	sample, err := beginSample(cfg.DataDir, cfg.Seed)
	if err != nil {
		return nil, err
	}
	d := &Dev{Sample: sample, dir: cfg.DataDir}
	if d.box, err = listenSandbox(ctx, cfg.ControlAddr); err != nil {
		return nil, err
	}
	if d.App, err = Open(ctx, devConfig(cfg, &sample, d.box.addr()), logTo); err != nil {
		return nil, errors.Join(err, d.box.Close())
	}
	// Only now: the data directory is this process's alone.
	if err = d.box.open(cfg.DataDir, &sample); err == nil && !sample.Seeded {
		err = d.seed(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot make the sample data: %w", err), d.Close()) //nolint:contextcheck // closing must not be cut short
	}
	return d, nil
}

func devConfig(cfg DevConfig, sample *Sample, whatsApp string) Config {
	return Config{
		Database:        Database{DataDir: cfg.DataDir},
		Secrets:         Secrets{Secret: Secret(sample.Secret)},
		Addr:            cfg.Addr,
		AdminAddr:       cfg.AdminAddr,
		PublicURL:       cfg.PublicURL,
		AllowedOrigins:  []string{"*"},
		TokenIssuer:     "pombal",
		RequestTimeout:  10 * time.Second,
		ShutdownGrace:   5 * time.Second,
		Loopback:        true,
		WebhookNetworks: cfg.WebhookNetworks,
		Sandbox:         &Sandbox{Addr: whatsApp, RootKey: sample.rootKey()},
	}
}

// ControlURL is where the control API of the fake WhatsApp answers on this machine.
func (d *Dev) ControlURL() string { return "http://" + reachable(d.box.control.Addr()) }

// Close releases what OpenDev took. It may be called after Run, which calls it too.
func (d *Dev) Close() error { return errors.Join(d.App.Close(), d.box.Close()) }

// Run serves until ctx ends, as App.Run does, and connects the sample instances. It calls ready as soon as
// they are connected, or when that takes too long: then with how many are missing, and goes on.
func (d *Dev) Run(ctx context.Context, ready func(missing int) error) error {
	work, ctx := errgroup.WithContext(ctx)
	work.Go(func() error {
		err := d.App.Run(ctx)
		return errors.Join(err, d.box.Close()) // last, so that nodes see no broken connections
	})
	work.Go(d.box.serve)
	wanted, connected := d.connectSample(ctx, work)
	work.Go(func() error {
		missing, err := awaitAll(ctx, connected, wanted)
		if err != nil {
			return nil //nolint:nilerr // it is told to stop
		}
		if err := d.writeRunning(); err != nil {
			return err
		}
		return ready(missing)
	})
	err := work.Wait()
	return errors.Join(err, d.removeRunning())
}

// readyWithin bounds how long dev waits for the sample before it says that it is ready.
const readyWithin = 15 * time.Second

// awaitAll waits for n signs, and returns how many have not come in time.
func awaitAll(ctx context.Context, signs <-chan struct{}, n int) (missing int, _ error) {
	late := time.NewTimer(readyWithin)
	defer late.Stop()
	for missing = n; missing > 0; missing-- {
		select {
		case <-signs:
		case <-late.C:
			return missing, nil
		case <-ctx.Done():
			return missing, ctx.Err()
		}
	}
	return 0, nil
}
