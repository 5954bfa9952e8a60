package store_test

import (
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/store"
)

// Workers that give lanes back while others publish leave nothing behind: what is published while a lane is given
// back makes it due again.
func TestEvents_NothingIsLeftBehind(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		const publishers, rounds = 4, 60
		_, second := f.addAccount(t, "second")
		accounts := []*store.Account{f.mine, second}
		for _, a := range accounts {
			addHook(t, a, "https://a")
			addHook(t, a, "https://b")
		}
		var done atomic.Bool
		var work, workers sync.WaitGroup
		for p := range publishers {
			work.Go(func() {
				for i := range rounds {
					e := domain.Event{InstanceID: domain.ID{15: byte(p + 1)}, Type: 1, Data: []byte("{}")}
					if err := accounts[(p+i)%2].PublishEvents(t.Context(), []domain.Event{e}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		seen := make([]map[delivery]int, 2)
		for i := range seen {
			seen[i] = map[delivery]int{}
			workers.Go(func() { deliverAll(t, f, &done, seen[i]) })
		}
		work.Wait()
		done.Store(true)
		workers.Wait()
		n := 0
		for _, some := range seen {
			for d, times := range some {
				if n++; times != 1 {
					t.Errorf("%v is delivered %d times", d, times)
				}
			}
		}
		if n != publishers*rounds*2 {
			t.Errorf("%d deliveries of %d", n, publishers*rounds*2)
		}
	})
}

type delivery struct {
	webhook  domain.ID
	position int64
}

// deliverAll claims one lane after another, and gives each back at once, until nothing is due any more.
func deliverAll(t *testing.T, f *fixture, done *atomic.Bool, seen map[delivery]int) {
	worker := domain.NewID(at(0))
	for {
		last := done.Load() // before looking
		lanes, err := f.ClaimLanes(t.Context(), worker, 1, time.Minute)
		if err != nil {
			t.Error(err)
			return
		}
		if len(lanes) == 0 {
			wait, failed := f.NextDue(t.Context(), time.Hour)
			if failed != nil || last && wait == time.Hour {
				return
			}
			continue
		}
		list, err := f.DueDeliveries(t.Context(), []domain.LaneDemand{{Lane: lanes[0].Key(), Limit: 5}})
		if err != nil {
			t.Error(err)
			return
		}
		var outcomes []domain.Outcome
		for _, d := range list {
			seen[delivery{d.WebhookID, d.Event.Position}]++
			outcomes = append(outcomes, delivered(lanes[0].Key(), d))
		}
		if _, err = f.Settle(t.Context(), outcomes, []domain.LaneUpdate{{Lane: lanes[0].Key(), Release: true}}); err != nil {
			t.Error(err)
			return
		}
	}
}

// Everything that takes locks on webhooks, at once: nobody gets an error over it, and sequences stay whole.
func TestEvents_EverythingAtOnce(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		worker := domain.NewID(at(0))
		node := join(t, f, "node")
		hooks := []domain.Webhook{addHook(t, f.mine, "https://a"), addHook(t, f.mine, "https://b"), addHook(t, f.mine, "https://c")}
		var work sync.WaitGroup
		for i, step := range []func(*rand.Rand) error{
			func(*rand.Rand) error {
				return f.mine.PublishEvents(t.Context(), []domain.Event{happened(domain.ID{15: 1}, 1), happened(domain.ID{15: 2}, 2)})
			},
			func(random *rand.Rand) error {
				status := []domain.WebhookStatus{domain.WebhookActive, domain.WebhookDisabled}[random.IntN(2)]
				_, err := f.mine.UpdateWebhook(t.Context(), hooks[random.IntN(3)].ID, domain.WebhookPatch{Status: &status}, 0, at(1))
				return err
			},
			func(*rand.Rand) error { return disableOne(t, f, domain.NewID(at(1))) },
			func(random *rand.Rand) error { return workOnce(t, f, worker, random) },
			func(*rand.Rand) error { _, err := f.RenewLanes(t.Context(), worker, time.Minute); return err },
			func(random *rand.Rand) error { return liveOnce(t, f, node, random) },
		} {
			random := rand.New(rand.NewPCG(7, uint64(i)))
			work.Go(func() {
				for range 40 {
					if err := step(random); err != nil {
						t.Errorf("step %d: %v", i, err)
					}
				}
			})
		}
		work.Wait()
		sequences := map[domain.ID]int64{}
		for i, e := range eventsOf(t, f.mine, 0) {
			if !e.InstanceID.IsZero() {
				sequences[e.InstanceID]++
			}
			if e.Position != int64(i+1) || e.Sequence != sequences[e.InstanceID] {
				t.Fatalf("event %d is %+v", i+1, e)
			}
		}
	})
}

// disableOne disables a webhook with something to do, unless it is changed meanwhile, or removed with its instance.
func disableOne(t *testing.T, f *fixture, worker domain.ID) error {
	lanes, err := f.ClaimLanes(t.Context(), worker, 1, time.Minute)
	if err != nil || len(lanes) == 0 {
		return err
	}
	err = f.DisableWebhook(t.Context(), domain.DisableWebhook{Lane: lanes[0].Key(), Reason: domain.DisabledByFailing, At: at(1)})
	if errors.Is(err, domain.ErrLeaseLost) || domain.CodeOf(err) == domain.CodeWebhookNotFound {
		return nil
	}
	return err
}

// workOnce claims lanes, fails or delivers what is due, and gives them back.
func workOnce(t *testing.T, f *fixture, worker domain.ID, random *rand.Rand) error {
	lanes, err := f.ClaimLanes(t.Context(), worker, 3, time.Minute)
	if err != nil {
		return err
	}
	var outcomes []domain.Outcome
	var updates []domain.LaneUpdate
	for _, l := range lanes {
		list, failure := f.DueDeliveries(t.Context(), []domain.LaneDemand{{Lane: l.Key(), Limit: 5}})
		if failure != nil {
			return failure
		}
		for _, d := range list {
			o := delivered(l.Key(), d)
			if random.IntN(2) == 0 {
				o = failed(l.Key(), d, time.Now())
			}
			outcomes = append(outcomes, o)
		}
		updates = append(updates, domain.LaneUpdate{Lane: l.Key(), Release: true})
	}
	_, err = f.Settle(t.Context(), outcomes, updates)
	return err
}

// liveOnce is the life of an instance with its own webhook.
func liveOnce(t *testing.T, f *fixture, node domain.Node, random *rand.Rand) error {
	in := domain.Instance{Name: "x", WebhookURL: "https://own", WebhookEvents: domain.AllEvents, OwnWebhook: &domain.Webhook{Secret: []byte("s")}}
	if err := f.mine.CreateInstance(t.Context(), &in, 0); err != nil {
		return err
	}
	if err := f.WishConnected(t.Context(), f.account.ID, in.ID, byQR); err != nil {
		return err
	}
	wishes, err := f.ClaimLinks(t.Context(), node.ID, 1)
	if err != nil {
		return err
	}
	for _, s := range []domain.Status{domain.StatusConnecting, domain.StatusConnected} {
		fact := domain.LinkFact{Lease: wishes[0].Lease, State: status(s, "", 1)}
		if _, err = f.SaveLinkFacts(t.Context(), node.ID, []domain.LinkFact{fact}); err != nil {
			return err
		}
	}
	if random.IntN(2) == 0 {
		_, err = f.mine.UpdateInstance(t.Context(), in.ID, domain.InstancePatch{WebhookURL: new("https://other")}, 0, at(1))
		if err != nil {
			return err
		}
	}
	return f.RemoveInstance(t.Context(), f.account.ID, in.ID)
}
