package sessions

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pombal-api/pombal/bench/internal/child"
	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/session"
	"github.com/pombal-api/pombal/internal/store"
)

// pairsAtOnce is how many phones scan at the same time.
const pairsAtOnce = 16

// Paired is what pairing has made: whose device is whose. The device store knows the ids, too.
type Paired struct {
	Account domain.ID
	Devices []Device
}

// Device is an instance and the address of its device.
type Device struct {
	Instance domain.ID
	JID      string
}

// First returns the first n.
func (p Paired) First(n int) Paired { return Paired{Account: p.Account, Devices: p.Devices[:n]} }

// JIDs returns the addresses of the devices.
func (p Paired) JIDs() []string {
	jids := make([]string, len(p.Devices))
	for i, device := range p.Devices {
		jids[i] = device.JID
	}
	return jids
}

// Prepare makes n instances and lets a phone scan the code of each, all through the session layer.
func Prepare(ctx context.Context, s Script, host *child.Remote, n int) (paired Paired, err error) {
	p := &pairing{host: host, jids: map[domain.ID]string{}}
	if p.layer, err = openLayer(ctx, s, slog.New(slog.DiscardHandler), p.watch); err != nil {
		return Paired{}, err
	}
	defer func() { err = errors.Join(err, p.layer.close()) }() //nolint:contextcheck // it outlives ctx
	if err = giveKeys(ctx, s.Devices); err != nil {
		return Paired{}, err
	}
	if p.account, err = addAccount(ctx, p.layer.store, domain.ID{}); err != nil {
		return Paired{}, err
	}
	running, stop := context.WithCancel(ctx)
	ran := make(chan error, 1)
	go func() { ran <- p.layer.run(running) }() // waited for below
	err = p.pairAll(ctx, n)
	stop()
	if err = errors.Join(err, <-ran); err != nil {
		return Paired{}, err
	}
	paired.Account = p.account
	for id, jid := range p.jids {
		paired.Devices = append(paired.Devices, Device{Instance: id, JID: jid})
	}
	return paired, nil
}

// pairing is Prepare at work.
type pairing struct {
	layer   *pombal
	host    *child.Remote
	account domain.ID

	mu   sync.Mutex
	jids map[domain.ID]string
}

func (p *pairing) watch(id domain.ID, e domain.LinkEvent) {
	if e.Kind == domain.LinkConnected {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.jids[id] = e.JID
	}
}

func (p *pairing) pairAll(ctx context.Context, n int) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(pairsAtOnce)
	for i := range n {
		group.Go(func() error {
			if err := p.pair(ctx, fmt.Sprintf("5511%09d", i)); err != nil {
				return fmt.Errorf("pair instance %d: %w", i, err)
			}
			return nil
		})
	}
	return group.Wait()
}

// pair makes an instance and connects it with a new phone.
func (p *pairing) pair(ctx context.Context, phone string) error {
	account := map[string]string{"phone": phone, "pushName": "Owner of " + phone, "about": "Busy", "pictureUrl": "https://pictures.invalid/" + phone}
	if err := p.host.Post(ctx, "/accounts", account, nil); err != nil {
		return err
	}
	id, err := addInstance(ctx, p.layer.store, p.account, domain.ID{})
	if err != nil {
		return err
	}
	desk := session.NewDesk(p.layer.store, p.layer.manager.Wake, time.Now)
	st, err := desk.Connect(ctx, p.account, id, byQR())
	if err != nil {
		return err
	}
	if err = p.host.Post(ctx, "/accounts/"+phone+"/scan", map[string]string{"text": st.Code.Text}, nil); err != nil {
		return err
	}
	return p.await(ctx, id)
}

// pairingTime is how long the login may take that follows a scan.
const pairingTime = 2 * time.Minute

// await waits until an instance is connected.
func (p *pairing) await(ctx context.Context, id domain.ID) error {
	ctx, stop := context.WithTimeout(ctx, pairingTime)
	defer stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		st, err := p.layer.store.LinkState(ctx, p.account, id)
		if err != nil || st.Status == domain.StatusConnected && st.Paired {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the instance is %s after the scan: %s: %w", st.Status, st.Reason, ctx.Err())
		}
	}
}

func byQR() domain.PairingWish { return domain.PairingWish{Method: domain.PairByQR} }

// addAccount adds an account with the id; the zero one is for any.
func addAccount(ctx context.Context, db *store.Store, id domain.ID) (domain.ID, error) {
	a := domain.Account{ID: id, Name: "Benchmark", Plan: "free"}
	err := db.CreateAccount(ctx, &a)
	return a.ID, err
}

func addInstance(ctx context.Context, db *store.Store, account, id domain.ID) (domain.ID, error) {
	a, err := db.Account(account)
	if err != nil {
		return domain.ID{}, err
	}
	in := domain.Instance{ID: id, Name: "Benchmark"}
	err = a.CreateInstance(ctx, &in, 0)
	return in.ID, err
}

// Adopt fills an empty database with instances that are paired already.
func Adopt(ctx context.Context, d Database, paired Paired) (err error) {
	db, err := store.Open(ctx, store.Config{URL: d.URL, DataDir: d.Dir})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err = db.Migrate(ctx); err != nil {
		return err
	}
	account, err := addAccount(ctx, db, paired.Account)
	if err != nil {
		return err
	}
	for _, device := range paired.Devices {
		id, err := addInstance(ctx, db, account, device.Instance)
		if err == nil {
			err = db.WishConnected(ctx, account, id, byQR())
		}
		if err != nil {
			return err
		}
	}
	return record(ctx, db, paired.Devices)
}

// record writes down the devices, as a node that has just paired them.
func record(ctx context.Context, db *store.Store, devices []Device) error {
	node := domain.Node{ID: domain.NewID(time.Now()), Name: "bench", Capacity: len(devices)}
	if err := db.JoinNode(ctx, node, time.Minute, true); err != nil {
		return err
	}
	wishes, err := db.ClaimLinks(ctx, node.ID, len(devices))
	if err != nil {
		return err
	}
	if len(wishes) != len(devices) {
		return fmt.Errorf("%d of %d instances were free", len(wishes), len(devices))
	}
	jids := make(map[domain.ID]string, len(devices))
	for _, device := range devices {
		jids[device.Instance] = device.JID
	}
	status, facts := domain.StatusConnected, make([]domain.LinkFact, len(wishes))
	for i, w := range wishes {
		facts[i] = domain.LinkFact{
			Lease: w.Lease, JID: new(jids[w.Instance]), Code: &domain.LinkCode{}, Seq: w.Seq, Release: true,
			State: domain.InstanceState{Status: &status, At: time.Now()},
		}
	}
	lost, err := db.SaveLinkFacts(ctx, node.ID, facts)
	if err == nil && len(lost) > 0 {
		err = fmt.Errorf("%d leases were lost", len(lost))
	}
	return errors.Join(err, db.LeaveNode(ctx, node.ID))
}
