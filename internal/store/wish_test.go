package store_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// The course of a pairing, as the customer and the node write it.
func TestWish_Pairing(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		in := addInstance(t, f.mine, domain.Instance{Name: "a"})
		same(t, "before", f.state(t, in.ID), domain.LinkState{Desired: domain.DesiredDisconnected, Status: domain.StatusDisconnected, Settled: true})
		how := domain.PairingWish{Method: domain.PairByCode, Phone: "5511"}
		if err := f.WishConnected(ctx, f.account.ID, in.ID, how); err != nil {
			t.Fatal(err)
		}
		node := join(t, f, "node")
		w := claimLinks(t, f, node, 1)[0]
		if w.Method != how.Method || w.Phone != how.Phone || w.AskedAt.IsZero() || w.JID != "" {
			t.Errorf("the wish: %+v", w)
		}
		same(t, "changed", must[[]domain.LinkWish](t)(f.ChangedWishes(ctx, node.ID)), []domain.LinkWish{w})
		save := func(facts ...domain.LinkFact) domain.LinkState {
			t.Helper()
			for i := range facts {
				facts[i].Lease = w.Lease
				same(t, "lost", must[[]domain.Lease](t)(f.SaveLinkFacts(ctx, node.ID, facts[i:i+1])), []domain.Lease(nil))
			}
			return f.state(t, in.ID)
		}
		code := domain.LinkCode{Method: domain.PairByCode, Text: "ABCD", ExpiresAt: stored(9)}
		got := save(domain.LinkFact{Seq: w.Seq, Code: &code, State: domain.InstanceState{Status: new(domain.StatusConnecting), At: at(1)}},
			domain.LinkFact{Code: &domain.LinkCode{Method: domain.PairByQR, Text: "of the wish before"}})
		same(t, "a code waits", got, domain.LinkState{
			Desired: domain.DesiredConnected, Status: domain.StatusConnecting, Method: how.Method, PairPhone: how.Phone,
			Code: code, Held: true, Settled: true,
		})
		same(t, "followed", must[[]domain.LinkWish](t)(f.ChangedWishes(ctx, node.ID)), []domain.LinkWish(nil))
		got = save(domain.LinkFact{JID: new("5511:1@s"), Code: &domain.LinkCode{}}, domain.LinkFact{
			Latency: 30 * time.Millisecond, RetryAt: new(time.Time),
			State: domain.InstanceState{
				Status: new(domain.StatusConnected), Reason: new(domain.ReasonCode("")), Phone: new("5511"),
				ProfileName: new("bad\x00 name\xff"), ConnectedAt: at(2), LastSeenAt: at(3), At: at(3),
			},
		})
		same(t, "connected", got, domain.LinkState{
			Desired: domain.DesiredConnected, Status: domain.StatusConnected, Method: how.Method, PairPhone: how.Phone, Paired: true,
			Code: domain.LinkCode{Method: how.Method}, Held: true, Settled: true, Latency: 30 * time.Millisecond,
			ConnectedAt: stored(2), LastSeenAt: stored(3),
		})
		row := must[domain.Instance](t)(f.mine.Instance(ctx, in.ID))
		if row.ProfileName != "bad name\uFFFD" || row.Desired != domain.DesiredConnected || row.Phone != "5511" {
			t.Errorf("the instance: %+v", row)
		}

		// The node ends a wish, but the customer has a newer one: that remains.
		if err := f.WishRestarted(ctx, f.account.ID, in.ID); err != nil {
			t.Fatal(err)
		}
		end := domain.LinkFact{Seq: w.Seq, Ended: true, Release: true}
		if got = save(end); got.Desired != domain.DesiredConnected || got.Held || got.Settled {
			t.Errorf("a newer wish: %+v", got)
		}
		w = claimLinks(t, f, node, 1)[0]
		if w.Restarts != 1 || w.JID != "5511:1@s" || w.Epoch != 2 {
			t.Errorf("claimed again: %+v", w)
		}
		end.Seq = w.Seq
		if got = save(end); got.Desired != domain.DesiredDisconnected || !got.Settled {
			t.Errorf("ended: %+v", got)
		}
		if row = must[domain.Instance](t)(f.mine.Instance(ctx, in.ID)); row.Desired != domain.DesiredDisconnected {
			t.Errorf("the instance wants to be %s", row.Desired)
		}
		if more := claimLinks(t, f, node, 9); len(more) != 0 {
			t.Errorf("claimed though nobody wants it: %+v", more)
		}
	})
}

// Whoever looks while a node records something sees what was before or what is after, never half of each: an
// instance that has been disconnected, and is connected still.
func TestWish_StateIsWhole(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		id := wanted(t, f, f.account, f.mine)
		node := join(t, f, "node")
		lease := claimLinks(t, f, node, 1)[0].Lease
		obeyed := func(status domain.Status) {
			seq := must[[]domain.LinkWish](t)(f.ChangedWishes(ctx, node.ID))[0].Seq
			fact := domain.LinkFact{Lease: lease, Seq: seq, State: domain.InstanceState{Status: &status, At: at(1)}}
			same(t, "lost", must[[]domain.Lease](t)(f.SaveLinkFacts(ctx, node.ID, []domain.LinkFact{fact})), []domain.Lease(nil))
		}
		obeyed(domain.StatusConnected)
		var looking sync.WaitGroup
		over := make(chan struct{})
		for range 3 {
			looking.Go(func() {
				for {
					st, err := f.LinkState(ctx, f.account.ID, id)
					if err != nil || st.Settled && (st.Desired == domain.DesiredConnected) != (st.Status == domain.StatusConnected) {
						t.Errorf("half of it: %+v, %v", st, err)
						return
					}
					select {
					case <-over:
						return
					default:
					}
				}
			})
		}
		for range 40 {
			if err := f.WishDisconnected(ctx, f.account.ID, id); err != nil {
				t.Fatal(err)
			}
			obeyed(domain.StatusDisconnected)
			if err := f.WishConnected(ctx, f.account.ID, id, byQR); err != nil {
				t.Fatal(err)
			}
			obeyed(domain.StatusConnected)
		}
		close(over)
		looking.Wait()
	})
}

// Whoever wants an instance connected while its disconnect, or its removal, is still to be obeyed does not overtake it:
// the pairing that is to be forgotten would come back.
func TestWish_LeavingIsNotOvertaken(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx, account := t.Context(), f.account.ID
		node := join(t, f, "node")
		for name, leave := range map[string]func(domain.ID) error{
			"disconnect": func(id domain.ID) error { return f.WishDisconnected(ctx, account, id) },
			"remove":     func(id domain.ID) error { _, err := f.WishRemoved(ctx, account, id, 0); return err },
		} {
			id := wanted(t, f, f.account, f.mine)
			if err := leave(id); err != nil {
				t.Fatal(err)
			}
			before := f.state(t, id)
			connect, restart := f.WishConnected(ctx, account, id, byQR), f.WishRestarted(ctx, account, id)
			if !errors.Is(connect, domain.ErrLeaving) || !errors.Is(restart, domain.ErrLeaving) {
				t.Errorf("%s: connect: %v, restart: %v", name, connect, restart)
			}
			same(t, name, f.state(t, id), before)
			w := claimLinks(t, f, node, 1)[0]
			if w.Desired != domain.DesiredDisconnected || w.Restarts != 0 {
				t.Errorf("%s: the wish is %+v", name, w)
			}
			holding{node.ID, w.Lease}.learn(t, f, domain.LinkFact{Seq: w.Seq, Ended: true, Release: true})
			if err := f.WishRestarted(ctx, account, id); err != nil {
				t.Errorf("%s: once it is obeyed: %v", name, err)
			}
			if err := f.WishConnected(ctx, account, id, byQR); err != nil { // and there is nothing to overtake
				t.Errorf("%s: once it is restarted: %v", name, err)
			}
			claimLinks(t, f, node, 1)
		}
	})
}

func TestWish_Remove(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		node := join(t, f, "node")
		plain := addInstance(t, f.mine, domain.Instance{Name: "plain"})
		_, err := f.WishRemoved(ctx, f.account.ID, plain.ID, 9)
		wantCode(t, "another version", err, domain.CodePreconditionFailed)
		if gone := must[bool](t)(f.WishRemoved(ctx, f.account.ID, plain.ID, 1)); !gone {
			t.Error("never connected, and not gone")
		}
		_, err = f.WishRemoved(ctx, f.account.ID, plain.ID, 0)
		wantCode(t, "gone", err, domain.CodeInstanceNotFound)

		held := wanted(t, f, f.account, f.mine)
		w := claimLinks(t, f, node, 1)[0]
		if gone := must[bool](t)(f.WishRemoved(ctx, f.account.ID, held, 0)); gone {
			t.Error("removed under its node")
		}
		changed := must[[]domain.LinkWish](t)(f.ChangedWishes(ctx, node.ID))
		if len(changed) != 1 || !changed[0].Remove || changed[0].Desired != domain.DesiredDisconnected {
			t.Errorf("the wish: %+v", changed)
		}
		if err = f.RemoveLink(ctx, node.ID, w.Lease); err != nil {
			t.Fatal(err)
		}
		_, err = f.LinkState(ctx, f.account.ID, held)
		wantCode(t, "deleted by its node", err, domain.CodeInstanceNotFound)

		orphan := wanted(t, f, f.account, f.mine)
		claimLinks(t, f, node, 1)
		if err = f.RemoveInstance(ctx, f.account.ID, orphan); err != nil {
			t.Fatal(err)
		}
		same(t, "its lease", must[[]domain.Lease](t)(f.RenewNode(ctx, node, ttl)), []domain.Lease{})
	})
}

// Nobody reaches another account's connections.
func TestWish_OtherAccount(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx, me, id := t.Context(), f.account.ID, f.otherRow.ID
		_, state := f.LinkState(ctx, me, id)
		_, removed := f.WishRemoved(ctx, me, id, 0)
		_, read := f.mine.InstanceProxy(ctx, id)
		for what, err := range map[string]error{
			"state": state, "remove": removed, "connect": f.WishConnected(ctx, me, id, byQR),
			"disconnect": f.WishDisconnected(ctx, me, id), "restart": f.WishRestarted(ctx, me, id),
			"remove now": f.RemoveInstance(ctx, me, id), "proxy": f.mine.SetInstanceProxy(ctx, id, []byte("x")), "its proxy": read,
		} {
			wantCode(t, what, err, domain.CodeInstanceNotFound)
		}
	})
}

func TestWish_Proxy(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		in := addInstance(t, f.mine, domain.Instance{Name: "a"})
		node := join(t, f, "node")
		same(t, "no proxy", must[[]byte](t)(f.mine.InstanceProxy(ctx, in.ID)), []byte(nil))
		if err := f.mine.SetInstanceProxy(ctx, in.ID, []byte("sealed")); err != nil {
			t.Fatal(err)
		}
		same(t, "the proxy", must[[]byte](t)(f.mine.InstanceProxy(ctx, in.ID)), []byte("sealed"))
		if got := claimLinks(t, f, node, 1); len(got) != 0 {
			t.Errorf("a proxy makes it wanted: %+v", got)
		}
		if err := f.WishConnected(ctx, f.account.ID, in.ID, byQR); err != nil {
			t.Fatal(err)
		}
		if got := claimLinks(t, f, node, 1)[0]; string(got.ProxySealed) != "sealed" || got.Restarts != 0 {
			t.Errorf("claimed: %+v", got)
		}
		if err := f.mine.SetInstanceProxy(ctx, in.ID, nil); err != nil {
			t.Fatal(err)
		}
		if got := must[[]domain.LinkWish](t)(f.ChangedWishes(ctx, node.ID)); len(got) != 1 || got[0].ProxySealed != nil || got[0].Restarts != 1 {
			t.Errorf("changed: %+v", got)
		}
	})
}
