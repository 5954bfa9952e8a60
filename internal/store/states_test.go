package store_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/store"
)

func TestStates_SetAndClear(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		online := full("a")
		online.Status = domain.StatusConnected
		a, b := addInstance(t, f.mine, online), addInstance(t, f.mine, domain.Instance{Name: "b"})
		set := func(what string, states ...domain.InstanceState) {
			t.Helper()
			if err := f.mine.SetInstanceStates(ctx, states); err != nil {
				t.Fatal(what, err)
			}
			same(t, what+": a", must[domain.Instance](t)(f.mine.Instance(ctx, a.ID)), a)
			same(t, what+": b", must[domain.Instance](t)(f.mine.Instance(ctx, b.ID)), b)
			f.checkCounts(t)
		}
		set("nothing")
		set("nothing of it", domain.InstanceState{ID: a.ID, At: at(50)})
		set("what is so already", domain.InstanceState{ID: a.ID, Status: &a.Status, Phone: &a.Phone, At: at(50)})
		set("not ours", domain.InstanceState{ID: f.otherRow.ID, Status: new(domain.StatusConnected), At: at(50)},
			domain.InstanceState{ID: domain.NewID(at(0)), Phone: new("1"), At: at(50)})

		a.LastSeenAt = stored(60)
		set("a heartbeat", domain.InstanceState{ID: a.ID, LastSeenAt: at(60), At: at(60)})

		a.Status, a.Reason, a.Phone, a.ProfileName = domain.StatusDisconnected, "", "", ""
		a.ProfilePicURL, a.ProfileStatus, a.UpdatedAt, a.Version = "", "", stored(70), 5
		a.ConnectedAt = time.Time{} // it is not
		b.Status, b.Phone, b.ProfileName, b.ProfilePicURL = domain.StatusConnected, "5521777", "B", "https://b"
		b.ProfileStatus, b.ConnectedAt, b.LastSeenAt, b.UpdatedAt, b.Version = "hi", stored(71), stored(72), stored(73), 2
		clear := new("")
		set("all at once",
			domain.InstanceState{ID: b.ID, Status: new(domain.StatusConnecting), Phone: new("5521777"), At: at(71)},
			domain.InstanceState{
				ID: a.ID, Status: &a.Status, Reason: new(domain.ReasonCode("")), Phone: clear, ProfileName: clear,
				ProfilePicURL: clear, ProfileStatus: clear, At: at(70),
			},
			domain.InstanceState{ // the later one of the same instance wins, field by field
				ID: b.ID, Status: &b.Status, ProfileName: &b.ProfileName, ProfilePicURL: &b.ProfilePicURL,
				ProfileStatus: &b.ProfileStatus, ConnectedAt: at(71), LastSeenAt: at(72), At: at(73),
			})
		same(t, "the phone is found", page(t, f.mine, domain.InstanceFilter{Search: "21777"}, 5), []string{"b"})
		same(t, "the old one is not", page(t, f.mine, domain.InstanceFilter{Search: "55111"}, 5), []string(nil))

		nobody := must[*store.Account](t)(f.Account(domain.NewID(at(0))))
		err := nobody.SetInstanceStates(ctx, []domain.InstanceState{{ID: a.ID, Status: &a.Status}})
		wantCode(t, "no account", err, domain.CodeAccountNotFound)
	})
}

func TestStates_LargeBatch(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		insertMany(t, f, 1100) // more than are locked by one statement
		var states []domain.InstanceState
		err := f.mine.StreamInstances(t.Context(), domain.InstanceFilter{}, nil, func(in *domain.Instance) error {
			states = append(states, domain.InstanceState{ID: in.ID, Status: new(domain.StatusConnected), LastSeenAt: at(1), At: at(1)})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err = f.mine.SetInstanceStates(t.Context(), states); err != nil {
			t.Fatal(err)
		}
		info, err := f.mine.EachInstance(t.Context(), domain.InstanceFilter{Status: domain.StatusConnected}, domain.PageRequest{Limit: 1}, ignore)
		if err != nil || info.Total != 1100 {
			t.Errorf("%d are connected, %v", info.Total, err)
		}
	})
}

// Totals equal the facts after everything that can happen has happened at once, under two partners whose
// children share slots.
func TestCounts_ExactAfterConcurrentChanges(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		_, children := f.addPartner(t)
		partner, more := f.addPartner(t)
		accounts := append(append(children, more...), f.mine)
		twin := domain.Account{ID: domain.ID{0: 1, 15: 3}, Name: "twin", Plan: "free"}
		second := domain.Account{ID: domain.ID{0: 2, 15: 3}, Name: "twin", Plan: "free"}
		for _, a := range []*domain.Account{&twin, &second} {
			if err := partner.CreateChild(t.Context(), a); err != nil {
				t.Fatal(err)
			}
			accounts = append(accounts, must[*store.Account](t)(f.Account(a.ID)))
		}
		var workers sync.WaitGroup
		for w := range 6 {
			random := rand.New(rand.NewPCG(1, uint64(w)))
			workers.Go(func() {
				for range 40 {
					if err := changeSomething(t, random, accounts[random.IntN(len(accounts))]); err != nil {
						t.Error(err)
					}
				}
			})
		}
		workers.Wait()
	}) // onEngines checks the counts
}

// Two that swap their references, each waiting for the other's row: the database breaks the deadlock and
// the store tries again, so that nobody gets an error over it.
func TestWrites_DeadlockIsRepeated(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		var ids []domain.ID
		for i := range 4 {
			ids = append(ids, addInstance(t, f.mine, domain.Instance{Name: "x", ExternalID: fmt.Sprint(i)}).ID)
		}
		var swappers sync.WaitGroup
		for w := range 4 {
			random := rand.New(rand.NewPCG(3, uint64(w)))
			swappers.Go(func() {
				for range 20 {
					patch := domain.InstancePatch{ExternalID: new(fmt.Sprint(random.IntN(4)))}
					_, err := f.mine.UpdateInstance(t.Context(), ids[random.IntN(4)], patch, 0, at(0))
					if err != nil && domain.CodeOf(err) != domain.CodeExternalIDInUse {
						t.Error(err)
					}
				}
			})
		}
		swappers.Wait()
	})
}

// changeSomething creates, deletes, updates, or records states of one account's instances.
func changeSomething(t *testing.T, random *rand.Rand, a *store.Account) error {
	var ids []domain.ID
	_, err := a.EachInstance(t.Context(), domain.InstanceFilter{}, domain.PageRequest{Limit: 20}, func(v *domain.InstanceView) error {
		ids = append(ids, v.ID)
		return nil
	})
	if err != nil {
		return err
	}
	statuses := domain.Statuses()
	kind := random.IntN(10)
	switch {
	case len(ids) == 0 || kind < 4:
		in := domain.Instance{Name: "x", Status: statuses[random.IntN(3)], ExternalID: fmt.Sprint(random.IntN(8))}
		err = a.CreateInstance(t.Context(), &in, 15)
	case kind < 6:
		_, err = a.DeleteInstance(t.Context(), ids[random.IntN(len(ids))], 0)
	case kind < 7:
		_, err = a.UpdateInstance(t.Context(), ids[random.IntN(len(ids))], domain.InstancePatch{ExternalID: new(fmt.Sprint(random.IntN(8)))}, 0, at(0))
	default:
		var states []domain.InstanceState
		for range 1 + random.IntN(5) {
			states = append(states, domain.InstanceState{ID: ids[random.IntN(len(ids))], Status: &statuses[random.IntN(3)], At: at(0)})
		}
		err = a.SetInstanceStates(t.Context(), states)
	}
	expected := []domain.Code{domain.CodeInstanceLimitReached, domain.CodeExternalIDInUse, domain.CodeInstanceNotFound}
	if slices.Contains(expected, domain.CodeOf(err)) {
		return nil
	}
	return err
}
