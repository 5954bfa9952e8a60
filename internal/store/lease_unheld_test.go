package store_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/store"
)

const silence = 75 * time.Second

// connectedOnes are n instances that are connected, seen last at a moment, and held.
func connectedOnes(t testing.TB, f *fixture, bound *store.Account, n int, seen time.Time) (list []holding) {
	t.Helper()
	for range n {
		in := addInstance(t, bound, domain.Instance{Name: "wanted"})
		if err := f.WishConnected(t.Context(), in.AccountID, in.ID, byQR); err != nil {
			t.Fatal(err)
		}
	}
	node := join(t, f, "node")
	for _, w := range claimLinks(t, f, node, n) {
		state := status(domain.StatusConnected, "", 1)
		state.ConnectedAt, state.LastSeenAt = at(1), seen
		h := holding{node.ID, w.Lease}
		h.learn(t, f, domain.LinkFact{State: state, Seq: w.Seq, JID: new("jid")})
		list = append(list, h)
	}
	return list
}

// What no node holds does not count as connected for ever, and whoever watches it learns that it is gone. What is
// free for a moment, as nodes hand it over, stays as it is, and so does what is held, or not wanted.
func TestUnheld_IsLost(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		fact := domain.LinkFact{Release: true}
		for name, c := range map[string]struct {
			seen time.Time
			then *domain.LinkFact
			lost bool
		}{
			"free for long":          {time.Now().Add(-silence - time.Second), &fact, true},
			"free, never seen":       {time.Time{}, &fact, true},
			"free for a moment":      {time.Now().Add(20*time.Second - silence), &fact, false},
			"held":                   {at(2), nil, false},
			"not wanted":             {at(2), &domain.LinkFact{Release: true, Seq: 1, Ended: true}, false},
			"known to be connecting": {at(2), &domain.LinkFact{Release: true, State: status(domain.StatusConnecting, domain.ReasonNotResponding, 3)}, false},
		} {
			h := connectedOnes(t, f, f.mine, 1, c.seen)[0]
			if c.then != nil {
				h.learn(t, f, *c.then)
			}
			before := must[domain.Instance](t)(f.mine.Instance(t.Context(), h.lease.Instance))
			n := int64(len(eventsOf(t, f.mine, 0)))
			if got := must[int](t)(f.LoseUnheld(t.Context(), silence, 10)); got != 0 != c.lost {
				t.Errorf("%s: %d are lost", name, got)
			}
			after := must[domain.Instance](t)(f.mine.Instance(t.Context(), h.lease.Instance))
			if !c.lost {
				same(t, name, after, before)
				wantEvents(t, f, name, n)
			} else {
				if after.Status != domain.StatusConnecting || after.Reason != domain.ReasonConnectionLost || !after.ConnectedAt.IsZero() || !after.LastSeenAt.Equal(before.LastSeenAt) {
					t.Errorf("%s: %+v", name, after)
				}
				wantEvents(t, f, name, n, `instance.disconnected {"instanceId":"inst","name":"wanted","status":"connecting","reason":{"code":"connection_lost",`+
					`"message":"The connection to WhatsApp was lost.","action":"Nothing needs to be done: the connection is tried again by itself."}}`)
			}
			if err := f.RemoveInstance(t.Context(), f.account.ID, h.lease.Instance); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// However many nodes look, each instance is lost once, a batch at a time, in all accounts and in the totals of their
// partner (checked by onEngines); those that are claimed meanwhile are their node's business.
func TestUnheld_ByManyAtOnce(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		_, children := f.addPartner(t)
		var free []holding
		for _, bound := range append(children, f.mine) {
			free = append(free, connectedOnes(t, f, bound, 12, at(2))...)
		}
		for _, h := range free {
			h.learn(t, f, domain.LinkFact{Release: true})
		}
		if n := must[int](t)(f.LoseUnheld(t.Context(), silence, 5)); n != 5 {
			t.Errorf("%d of 5 are lost", n)
		}
		var lost atomic.Int64
		var nodes sync.WaitGroup
		for range 4 {
			nodes.Go(func() {
				for n := 1; n > 0; {
					var err error
					if n, err = f.LoseUnheld(t.Context(), silence, 7); err != nil {
						t.Error(err)
					}
					lost.Add(int64(n))
				}
			})
		}
		claimed := claimLinks(t, f, join(t, f, "late"), 10)
		nodes.Wait()
		connected := 0
		for _, h := range free {
			if must[domain.LinkState](t)(f.LinkState(t.Context(), h.lease.Account, h.lease.Instance)).Status == domain.StatusConnected {
				connected++
			}
		}
		if got := int(lost.Load()) + 5 + connected; got != len(free) || connected > len(claimed) {
			t.Errorf("%d are lost and %d are connected of %d, of which %d were claimed", lost.Load()+5, connected, len(free), len(claimed))
		}
	})
}
