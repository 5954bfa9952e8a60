package app

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/fakewa"
	"github.com/pombal-api/pombal/internal/session"
	"github.com/pombal-api/pombal/internal/store"
)

// This file is dev's fake WhatsApp. Nothing else in this package may reach it: serve talks to the real one.

// whatsAppFile is where the fake WhatsApp remembers phones and linked devices, in the data directory.
const whatsAppFile = "fakewa.json"

// sandbox is a fake WhatsApp and its control API.
type sandbox struct {
	clients, control net.Listener
	server           *fakewa.Server
	api              *http.Server
	closed           atomic.Bool
}

// listenSandbox opens the listeners. The clients' is on this machine only, and their number is nobody's choice.
func listenSandbox(ctx context.Context, controlAddr string) (*sandbox, error) {
	clients, err := listen(ctx, "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	control, err := listen(ctx, controlAddr)
	if err != nil {
		return nil, errors.Join(err, clients.Close())
	}
	return &sandbox{clients: clients, control: control}, nil
}

// addr is where clients dial.
func (b *sandbox) addr() string { return b.clients.Addr().String() }

// open reads what the server remembers, and adds what the sample has and it does not know.
func (b *sandbox) open(dir string, sample *Sample) error {
	server, err := fakewa.New(fakewa.Config{Seed: sample.WhatsAppSeed, StateFile: filepath.Join(dir, whatsAppFile)})
	if err != nil {
		return err
	}
	b.server = server
	b.api = &http.Server{Handler: server.Control(), ReadHeaderTimeout: 10 * time.Second}
	for _, phone := range samplePhones() {
		if _, err := server.AddAccount(phone); err != nil && !errors.Is(err, fakewa.ErrTaken) {
			return err
		}
	}
	for _, contact := range sampleContacts() {
		if _, err := server.AddContact(contact); err != nil && !errors.Is(err, fakewa.ErrTaken) {
			return err
		}
	}
	return nil
}

// serve serves clients and the control API until Close.
func (b *sandbox) serve() error {
	var both errgroup.Group
	both.Go(func() error {
		if err := b.server.Serve(b.clients); !b.closed.Load() {
			return err
		}
		return nil
	})
	both.Go(func() error { return serve(b.api, b.control) })
	return both.Wait()
}

// Close ends the server, which remembers what there is. It may be called twice.
func (b *sandbox) Close() error {
	if b.closed.Swap(true) {
		return nil
	}
	var errs []error
	if b.server != nil {
		errs = append(errs, b.api.Close(), b.server.Close())
	}
	for _, l := range []net.Listener{b.clients, b.control} {
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// pairing connects the sample's instances.
type pairing struct {
	desk  *session.Desk
	phone func(number string) (*fakewa.Account, bool)
	store *store.Store
	began time.Time // signs of life from before are of an earlier run
}

// connectSample connects the instances that have not been connected once, and waits for the others as far as the
// user still wants them. It returns how many there are, and a channel that gets a sign for each.
func (d *Dev) connectSample(ctx context.Context, work *errgroup.Group) (n int, done <-chan struct{}) {
	p := pairing{desk: d.Desk(), phone: d.box.server.Account, store: d.core.store, began: time.Now().Truncate(time.Millisecond)}
	signs := make(chan struct{}, len(d.Sample.Instances))
	for i := range d.Sample.Instances {
		in := &d.Sample.Instances[i]
		if in.Phone == "" {
			continue
		}
		n++
		work.Go(func() error {
			if err := p.connect(ctx, in); err != nil {
				return ignoreCanceled(err)
			}
			signs <- struct{}{}
			return d.noteConnected(in)
		})
	}
	return n, signs
}

// noteConnected writes down that an instance has been connected once.
func (d *Dev) noteConnected(in *SampleInstance) error {
	d.noting.Lock()
	defer d.noting.Unlock()
	if in.Connected {
		return nil
	}
	in.Connected = true
	return writeJSON(d.dir, sampleFile, &d.Sample, os.Rename)
}

const (
	// lookEvery is how often the state of a sample instance is looked at.
	lookEvery = 25 * time.Millisecond
	// profileWithin is how long after its connection an instance's profile may arrive.
	profileWithin = 3 * time.Second
)

// connect returns when the instance is connected, or when nobody wants it to be any more.
func (p *pairing) connect(ctx context.Context, in *SampleInstance) error {
	account, id, err := in.ids()
	if err != nil {
		return err
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		if p.step(ctx, account, id, in) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// step does what is next for an instance, and reports whether that was all. What fails is tried again.
func (p *pairing) step(ctx context.Context, account, id domain.ID, in *SampleInstance) (done bool) {
	st, err := p.desk.State(ctx, account, id)
	switch {
	case domain.CodeOf(err) == domain.CodeInstanceNotFound:
		return true // the user has deleted it
	case err != nil:
		return false
	case in.Connected && (st.Desired != domain.DesiredConnected || !st.Paired):
		return true // the user has disconnected it
	case st.Status == domain.StatusConnected && !st.LastSeenAt.Before(p.began):
		return in.Connected || p.profiled(ctx, account, id, &st)
	case !in.Connected && !st.Paired:
		p.pair(ctx, account, id, in.Phone)
	}
	return false
}

// profiled reports whether the profile of a connected instance is known. A process that is killed just as it
// learns the name never learns it again: then the instance is paired anew.
func (p *pairing) profiled(ctx context.Context, account, id domain.ID, st *domain.LinkState) bool {
	bound, err := p.store.Account(account)
	if err != nil {
		return false
	}
	known, err := bound.Instance(ctx, id)
	if err == nil && (known.ProfileName == "" || known.ProfilePicURL == "") {
		if time.Since(st.ConnectedAt) > profileWithin {
			_, _ = p.desk.Disconnect(ctx, account, id)
		}
		return false
	}
	return err == nil
}

// pair lets the phone scan the instance's code.
func (p *pairing) pair(ctx context.Context, account, id domain.ID, number string) {
	st, err := p.desk.Connect(ctx, account, id, domain.PairingWish{Method: domain.PairByQR})
	if err != nil || st.Code.Text == "" {
		return
	}
	if phone, ok := p.phone(number); ok {
		_ = phone.ScanQR(ctx, st.Code.Text) // not when the code is not shown any more: the next one is
	}
}
