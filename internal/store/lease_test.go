package store_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/store"
)

const ttl = time.Minute

var byQR = domain.PairingWish{Method: domain.PairByQR}

// join adds a node.
func join(t testing.TB, f *fixture, name string) domain.Node {
	t.Helper()
	node := domain.Node{ID: domain.NewID(at(0)), Name: name, Capacity: 100}
	if err := f.JoinNode(t.Context(), node, ttl, false); err != nil {
		t.Fatal(err)
	}
	return node
}

// wanted adds an instance that is to be connected.
func wanted(t testing.TB, f *fixture, a domain.Account, bound *store.Account) domain.ID {
	t.Helper()
	in := addInstance(t, bound, domain.Instance{Name: "wanted"})
	if err := f.WishConnected(t.Context(), a.ID, in.ID, byQR); err != nil {
		t.Fatal(err)
	}
	return in.ID
}

func claimLinks(t testing.TB, f *fixture, node domain.Node, limit int) []domain.LinkWish {
	t.Helper()
	return must[[]domain.LinkWish](t)(f.ClaimLinks(t.Context(), node.ID, limit))
}

func (f *fixture) state(t testing.TB, id domain.ID) domain.LinkState {
	t.Helper()
	return must[domain.LinkState](t)(f.LinkState(t.Context(), f.account.ID, id))
}

func TestLease_ClaimRenewAndRelease(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		first := wanted(t, f, f.account, f.mine)
		second := wanted(t, f, f.account, f.mine)
		a, b := join(t, f, "a"), join(t, f, "b")
		got := claimLinks(t, f, a, 1)
		if len(got) != 1 || got[0].Instance != first || got[0].Epoch != 1 || got[0].Seq != 1 || got[0].Desired != domain.DesiredConnected {
			t.Fatalf("a claims %+v", got)
		}
		if got = claimLinks(t, f, b, 10); len(got) != 1 || got[0].Instance != second {
			t.Fatalf("b claims %+v", got)
		}
		if got = claimLinks(t, f, b, 10); len(got) != 0 {
			t.Errorf("b claims what is held: %+v", got)
		}
		lease := domain.Lease{Account: f.account.ID, Instance: first, Epoch: 1}
		a.Held = 1
		same(t, "a's leases", must[[]domain.Lease](t)(f.RenewNode(ctx, a, ttl)), []domain.Lease{lease})
		fleet := must[domain.Fleet](t)(f.Fleet(ctx, ttl/2))
		if fleet.Wanted != 2 || len(fleet.Nodes) != 2 || fleet.Nodes[0].Held+fleet.Nodes[1].Held != 1 {
			t.Errorf("the fleet: %+v", fleet)
		}
		same(t, "lost by nobody", must[[]domain.Lease](t)(f.SaveLinkFacts(ctx, a.ID, []domain.LinkFact{{Lease: lease, Release: true}})), []domain.Lease(nil))
		if got = claimLinks(t, f, b, 10); len(got) != 1 || got[0].Epoch != 2 {
			t.Errorf("b claims what a gave back: %+v", got)
		}
		// What a writes from now on comes too late.
		late := domain.LinkFact{Lease: lease, State: domain.InstanceState{Status: new(domain.StatusConnected), At: at(1)}, JID: new("x")}
		same(t, "lost by a", must[[]domain.Lease](t)(f.SaveLinkFacts(ctx, a.ID, []domain.LinkFact{late})), []domain.Lease{lease})
		if st := f.state(t, first); st.Status != domain.StatusDisconnected || st.Paired {
			t.Errorf("a wrote without a lease: %+v", st)
		}
		if err := f.RemoveLink(ctx, a.ID, lease); !errors.Is(err, domain.ErrLeaseLost) {
			t.Errorf("a deletes without a lease: %v", err)
		}
		if err := f.LeaveNode(ctx, b.ID); err != nil {
			t.Fatal(err)
		}
		if got = claimLinks(t, f, a, 10); len(got) != 2 || got[0].Epoch+got[1].Epoch != 5 {
			t.Errorf("a claims what b left: %+v", got)
		}
	})
}

// A node that has expired is removed with all that it holds, and learns of it.
func TestLease_Expiry(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		id := wanted(t, f, f.account, f.mine)
		alive, dying := join(t, f, "alive"), join(t, f, "dying")
		if n := must[int](t)(f.ReapNodes(ctx)); n != 0 {
			t.Errorf("%d nodes removed alive", n)
		}
		lost := claimLinks(t, f, dying, 1)
		if _, err := f.RenewNode(ctx, dying, ttl/3); err != nil {
			t.Fatal(err)
		}
		for _, n := range must[domain.Fleet](t)(f.Fleet(ctx, ttl/2)).Nodes {
			if n.Late != (n.ID == dying.ID) {
				t.Errorf("%s is late: %v", n.Name, n.Late)
			}
		}
		if _, err := f.RenewNode(ctx, dying, -time.Second); err != nil {
			t.Fatal(err)
		}
		if n := must[int](t)(f.ReapNodes(ctx)); n != 1 {
			t.Errorf("%d nodes removed", n)
		}
		if _, err := f.RenewNode(ctx, dying, ttl); !errors.Is(err, domain.ErrLeaseLost) {
			t.Errorf("a removed node renews: %v", err)
		}
		if _, err := f.ClaimLinks(ctx, dying.ID, 1); !errors.Is(err, domain.ErrLeaseLost) {
			t.Errorf("a removed node claims: %v", err)
		}
		same(t, "lost", must[[]domain.Lease](t)(f.SaveLinkFacts(ctx, dying.ID, []domain.LinkFact{{Lease: lost[0].Lease}})), []domain.Lease{lost[0].Lease})
		if got := claimLinks(t, f, alive, 5); len(got) != 1 || got[0].Instance != id {
			t.Errorf("claimed: %+v", got)
		}
		only := domain.Node{ID: domain.NewID(at(0)), Name: "only"}
		if err := f.JoinNode(ctx, only, ttl, true); err != nil {
			t.Fatal(err)
		}
		if fleet := must[domain.Fleet](t)(f.Fleet(ctx, ttl/2)); len(fleet.Nodes) != 1 || fleet.Nodes[0].ID != only.ID {
			t.Errorf("alone: %+v", fleet)
		}
	})
}

// However many claim at once, everything is claimed once.
func TestLease_ClaimsAtOnce(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		const n = 60
		child, bound := f.addAccount(t, "third")
		for range n / 2 {
			wanted(t, f, f.account, f.mine)
			wanted(t, f, child, bound)
		}
		var mu sync.Mutex
		owners := map[domain.ID]domain.ID{}
		var nodes sync.WaitGroup
		for i := range 5 {
			node := join(t, f, fmt.Sprint(i))
			nodes.Go(func() {
				for {
					wishes, err := f.ClaimLinks(t.Context(), node.ID, 4)
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					for _, w := range wishes {
						if owner, taken := owners[w.Instance]; taken {
							t.Errorf("%v claimed by %v and %v", w.Instance, owner, node.ID)
						}
						owners[w.Instance] = node.ID
					}
					done := len(owners) == n
					mu.Unlock()
					if done {
						return
					}
				}
			})
		}
		nodes.Wait()
	})
}

// Facts of several accounts, under partners, recorded at once from several nodes while customers delete and
// wish: totals stay exact (checked by onEngines), and nothing waits in a circle.
func TestLease_FactsAtOnce(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		_, children := f.addPartner(t)
		accounts := []*store.Account{f.mine, children[0], children[1]}
		var ids []domain.ID
		owner := map[domain.ID]domain.ID{}
		for i := range 30 {
			in := addInstance(t, accounts[i%3], domain.Instance{Name: "x"})
			ids = append(ids, in.ID)
			owner[in.ID] = in.AccountID
			if err := f.WishConnected(ctx, in.AccountID, in.ID, byQR); err != nil {
				t.Fatal(err)
			}
		}
		var workers sync.WaitGroup
		for n := range 3 {
			node := join(t, f, fmt.Sprint(n))
			wishes := claimLinks(t, f, node, 10)
			workers.Go(func() {
				for round := range 20 {
					status := domain.Statuses()[(round+n)%3]
					var facts []domain.LinkFact
					for _, w := range wishes {
						facts = append(facts, domain.LinkFact{Lease: w.Lease, State: domain.InstanceState{Status: &status, At: at(round)}, Latency: time.Second})
					}
					if _, err := f.SaveLinkFacts(ctx, node.ID, facts); err != nil {
						t.Error(err)
					}
				}
			})
		}
		for i, id := range ids {
			var err error
			switch i % 3 {
			case 0:
				err = f.RemoveInstance(ctx, owner[id], id)
			case 1:
				err = f.WishRestarted(ctx, owner[id], id)
			default:
				_, err = f.WishRemoved(ctx, owner[id], id, 0)
			}
			if err != nil {
				t.Error(err)
			}
		}
		workers.Wait()
	})
}
