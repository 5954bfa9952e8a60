package soak

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pombal-api/pombal/internal/fakewa"
	"github.com/pombal-api/pombal/pkg/api"
)

// subject is an instance and the phone that it is paired with.
type subject struct {
	id     string // inst_…
	number string
	phone  *fakewa.Account

	mu sync.Mutex
	// linked is whether the phone was told that it is linked, and nobody has asked to disconnect since.
	linked bool
	since  time.Time // of the latest change of linked
	left   int       // how often it was disconnected
}

func (x *subject) setLinked(linked bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.linked, x.since = linked, time.Now()
	if !linked {
		x.left++
	}
}

func (x *subject) state() (linked bool, since time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.linked, x.since
}

// pairings has room for those who pair at once, in all tests: with more, a busy machine completes no login in the 30 s
// that it may take, and all begin again.
var pairings = make(chan struct{}, 3)

// populate makes n instances, pairs each with a phone, and waits until it is connected.
func (s *site) populate(tb testing.TB, n int) (subjects []*subject) {
	tb.Helper()
	c := s.on(tb, s.nodes[0])
	var pairing errgroup.Group
	began := time.Now()
	for i := range n {
		number := fmt.Sprintf("55119%08d", i+1)
		in, err := c.Instances.Create(tb.Context(), api.CreateInstance{Name: "Instance of " + number})
		if err != nil {
			tb.Fatal(err)
		}
		x := &subject{id: in.ID, number: number, phone: s.wa.Phone(tb, number)}
		subjects = append(subjects, x)
		owner := &customer{s, rand.New(rand.NewPCG(uint64(i), 0))}
		pairing.Go(func() error {
			pairings <- struct{}{}
			defer func() { <-pairings }()
			if err := owner.pair(tb.Context(), x); err != nil {
				return err
			}
			return retry(tb.Context(), patience, func() error {
				st, err := c.Instances.Status(tb.Context(), x.id)
				if err == nil && st.Status != api.LiveStatusConnected {
					err = fmt.Errorf("%s is %s", x.id, st.Status)
				}
				return err
			})
		})
	}
	if err := pairing.Wait(); err != nil {
		tb.Fatal(err)
	}
	tb.Logf("%d instances were paired in %v", n, time.Since(began).Round(time.Millisecond))
	return subjects
}

// customer calls the API all the time, on any node that serves, as if behind a load balancer.
type customer struct {
	site   *site
	random *rand.Rand
}

// call calls a node at random, which need not be the one that holds anything. A call without an answer may still be
// carried out, when its node goes on: so the customer waits until that has happened or cannot happen any more.
func (c *customer) call(ctx context.Context, op string, do func(*api.Client) error) error {
	n := c.site.nodes[c.random.IntN(len(c.site.nodes))]
	life, address := n.life(), n.address()
	client, err := c.site.client(address)
	if err != nil || address == "" {
		return cmp.Or(err, errNobody)
	}
	err = do(client)
	c.site.note(op, err)
	if _, answered := errors.AsType[*api.Error](err); err == nil || answered {
		return err
	}
	for n.life() == life && n.address() == "" && pause(ctx, 50*time.Millisecond) {
	}
	pause(ctx, 2*time.Second)
	return err
}

var errNobody = errors.New("the node is away")

// live lets a customer use his instances until ctx ends.
func (c *customer) live(ctx context.Context, mine []*subject) error {
	// What has been begun is completed, in another time.
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Minute)
	defer cancel()
	for pause(ctx, scale*time.Duration(20+c.random.IntN(180))*time.Millisecond) {
		x := mine[c.random.IntN(len(mine))]
		if err := c.act(late, x); err != nil {
			return fmt.Errorf("%w\n%s", err, c.site.explain(late, x))
		}
	}
	return nil
}

func (c *customer) act(ctx context.Context, x *subject) error {
	linked, _ := x.state()
	switch dice := c.random.IntN(100); {
	case !linked && dice < 60:
		return c.pair(ctx, x)
	case dice < 45:
		return c.look(ctx, x, linked)
	case dice < 75 && linked:
		_ = c.call(ctx, "connect", func(node *api.Client) error {
			_, err := node.Instances.Connect(ctx, x.id, api.ConnectInstance{})
			return err
		})
	case dice < 80:
		_ = c.call(ctx, "list", func(node *api.Client) error {
			_, err := node.Instances.List(ctx, api.ListInstancesParams{})
			return err
		})
	case dice < 88 && linked:
		err := c.call(ctx, "restart", func(node *api.Client) error { return node.Instances.Restart(ctx, x.id) })
		if api.CodeOf(err) == api.ErrorCodeInstanceNotConnected {
			return errLost
		}
	case dice < 92 && linked:
		return c.disconnect(ctx, x)
	case linked:
		if err := c.disconnect(ctx, x); err != nil {
			return err
		}
		return c.pair(ctx, x)
	}
	return nil
}

var errLost = errors.New("the phone is linked, and the instance does not know of it")

// look asks for the status. A linked instance may be connecting, or even show its code for a moment when the node died
// at which it was linked, but never be disconnected.
func (c *customer) look(ctx context.Context, x *subject, linked bool) error {
	lost := false
	_ = c.call(ctx, "status", func(node *api.Client) error {
		report, err := node.Instances.Status(ctx, x.id)
		lost = err == nil && linked && report.Status == api.LiveStatusDisconnected
		return err
	})
	if lost {
		return errLost
	}
	return nil
}

// patience is how long a customer tries before he calls an instance stuck.
const patience = 90 * time.Second

// insist tries with pauses, as long as a customer has patience.
func (c *customer) insist(ctx context.Context, try func() error) error {
	for end := time.Now().Add(patience); ; {
		err := try()
		if err == nil || errors.Is(err, errBack) {
			return err
		}
		if !pause(ctx, 300*time.Millisecond) || time.Now().After(end) {
			return fmt.Errorf("stuck for %v: %w", patience, err)
		}
	}
}

// disconnect tries until the API says that it is done or under way.
func (c *customer) disconnect(ctx context.Context, x *subject) error {
	x.setLinked(false)
	return c.insist(ctx, func() error {
		err := c.call(ctx, "disconnect", func(node *api.Client) error {
			return node.Instances.Disconnect(ctx, x.id, api.DisconnectInstance{})
		})
		if api.CodeOf(err) == api.ErrorCodeInstanceNotConnected { // an earlier try has done it
			return nil
		}
		return err
	})
}

// pair tries until the phone is linked.
func (c *customer) pair(ctx context.Context, x *subject) error {
	body := api.ConnectInstance{}
	if c.random.IntN(4*scale) == 0 {
		body = api.ConnectInstance{Method: api.ConnectMethodPairingCode, Phone: x.number}
	}
	err := c.insist(ctx, func() error {
		var res *api.ConnectResult
		err := c.call(ctx, "connect", func(node *api.Client) (err error) {
			res, err = node.Instances.Connect(ctx, x.id, body)
			return err
		})
		switch {
		case api.CodeOf(err) == api.ErrorCodeAlreadyConnected, err == nil && res.Status == api.LiveStatusConnected:
			return errBack
		case err != nil:
			return err
		}
		return link(ctx, x.phone, res)
	})
	if err == nil {
		x.setLinked(true)
	}
	return err
}

var errBack = errors.New("the pairing that was to be forgotten is back")

// link is what the owner of the phone does with a code. It takes a while under the race detector: guessing a code is
// made slow on purpose.
func link(ctx context.Context, phone *fakewa.Account, res *api.ConnectResult) error {
	ctx, cancel := context.WithTimeout(ctx, scale*8*time.Second)
	defer cancel()
	switch {
	case res.PairingCode != nil:
		return phone.TypeCode(ctx, *res.PairingCode)
	case res.QRText != nil:
		return phone.ScanQR(ctx, *res.QRText)
	}
	return errors.New("there is no code in the answer")
}
