package webhook

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// add publishes deliveries of which nobody is told.
func (w *world) add(webhook domain.ID, n int) (list []domain.Delivery) {
	for _, id := range w.store.publish(webhook, n) {
		list = append(list, w.delivery(id))
	}
	return list
}

// wantOnce demands that everything was delivered, by as many attempts.
func (w *world) wantOnce(t *testing.T, n int) {
	t.Helper()
	if done, attempts := w.store.count(domain.DeliveryDelivered), w.sender.attempts(); done != n || attempts != n {
		t.Errorf("%d of %d are delivered, by %d attempts", done, n, attempts)
	}
}

func (w *world) lanesRead() int {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	return w.store.reads
}

// What is offered for a lane that is held is not read: it is looked into now and then only.
func TestOffer_IsNotRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, accept)
		hook := w.store.addWebhook()
		w.publish(hook, 1)
		time.Sleep(linger / 2)
		before, first := w.lanesRead(), time.Now()
		for range 200 {
			begun := time.Now()
			due := w.add(hook, 1)
			w.Offer(due)
			time.Sleep(linger / 2)
			if at := w.sender.times(due[0].Event.ID); len(at) != 1 || at[0].Sub(begun) > 5*time.Millisecond { // the lane may be being read
				t.Fatalf("offered at %v, tried at %v", begun, at)
			}
		}
		if n, polls := w.lanesRead()-before, int(time.Since(first)/w.cfg.Poll); n > polls {
			t.Errorf("%d readings in the time of %d", n, polls)
		}
		time.Sleep(2 * linger)
		w.wantOnce(t, 201)
		if w.held() != 0 {
			t.Error("the lane is still held")
		}
	})
}

// In a lane that is never idle, what is not offered is found as soon as in others: another node's events, and what is
// to be tried again.
func TestOffer_BusyLanesAreLookedInto(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first := true
		w := newWorld(t, func(context.Context, request) (reply, error) {
			if first {
				first = false
				return answered(500)
			}
			return answered(200)
		})
		hook := w.store.addWebhook()
		again := w.publish(hook, 1)[0]
		var others domain.ID
		for i := range 2000 { // 40 s
			if i == 1000 {
				others = w.add(hook, 1)[0].ID
			}
			time.Sleep(20 * time.Millisecond)
			w.Offer(w.add(hook, 1))
			if i == 1000+15 && w.delivery(others).State != domain.DeliveryDelivered {
				t.Error("another node's event still waits after 300 ms")
			}
		}
		times, documented := w.sender.times(w.event(again)), schedule()
		if len(times) != 2 || times[1].Sub(times[0]) > documented[1]+documented[1]/10 {
			t.Errorf("tried at %v", times)
		}
	})
}

// A lane that nobody holds is claimed for what is offered.
func TestOffer_ClaimsTheLane(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, accept, seldom)
		hook := w.store.addWebhook()
		time.Sleep(time.Second)
		w.Offer(w.add(hook, 3))
		time.Sleep(50 * time.Millisecond)
		w.wantOnce(t, 3)
	})
}

// What another node adds to a lane that lingers here is found when that ends.
func TestOffer_OthersAreFound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, accept, seldom)
		hook := w.store.addWebhook()
		w.publish(hook, 1)
		time.Sleep(linger / 2)
		w.add(hook, 1)
		time.Sleep(linger)
		w.wantOnce(t, 2)
	})
}

// Offers may come in another order than their events, of which a reading may have found some already.
func TestOffer_OutOfOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, accept, seldom)
		hook := w.store.addWebhook()
		w.publish(hook, 1)
		time.Sleep(linger / 2)
		due := w.add(hook, 5)
		slices.Reverse(due)
		for i := range due {
			w.Offer(due[i : i+1])
		}
		time.Sleep(2 * linger)
		w.wantOnce(t, 6)
	})
}

// More than a worker holds ready is left in the store, and read from there.
func TestOffer_MoreThanFits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(context.Context, request) (reply, error) {
			time.Sleep(time.Millisecond)
			return answered(200)
		}, seldom)
		hook := w.store.addWebhook()
		w.publish(hook, 1)
		time.Sleep(linger / 2)
		w.Offer(w.add(hook, maxQueued+1000))
		w.Offer(w.add(hook, 10))
		time.Sleep(10 * time.Second)
		w.wantOnce(t, maxQueued+1011)
	})
}

// An endpoint that fails gets no more for what is offered than the schedule and the breaker allow.
func TestOffer_ToOneThatFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(context.Context, request) (reply, error) { return answered(500) })
		hook := w.store.addWebhook()
		w.publish(hook, 1)
		for range 100 {
			time.Sleep(10 * time.Millisecond)
			w.Offer(w.add(hook, 1))
		}
		if n := w.sender.attempts(); n != breakerAfter {
			t.Errorf("%d attempts", n)
		}
	})
}

// However the worker learns of deliveries, each is tried once.
func TestOffer_AnyWay(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			dice := rand.New(rand.NewPCG(seed, 0))
			w := newWorld(t, func(_ context.Context, r request) (reply, error) {
				time.Sleep(time.Duration(r.event.Position*7%20) * time.Millisecond)
				return answered(200)
			})
			hooks := []domain.ID{w.store.addWebhook(), w.store.addWebhook(), w.store.addWebhook()}
			n := 0
			for range 300 {
				due := w.add(hooks[dice.IntN(len(hooks))], 1+dice.IntN(20))
				n += len(due)
				switch dice.IntN(4) {
				case 0:
					w.Wake()
				case 1: // of another node
				case 2:
					dice.Shuffle(len(due), func(i, j int) { due[i], due[j] = due[j], due[i] })
					fallthrough
				default:
					for some := range slices.Chunk(due, 1+dice.IntN(len(due))) {
						w.Offer(some)
					}
				}
				time.Sleep(time.Duration(dice.IntN(60)) * time.Millisecond)
			}
			time.Sleep(time.Minute)
			w.wantOnce(t, n)
			if w.held() != 0 || w.Stats() != (Stats{}) {
				t.Errorf("in the end: %+v, %d lanes are held", w.Stats(), w.held())
			}
		})
	}
}
