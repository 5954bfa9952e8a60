package webhook

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pombal-api/pombal/internal/domain"
)

// seldom makes a worker look for work so seldom that days are soon over.
func seldom(c *Config) { c.Poll, c.Lease = 10*time.Second, 10*time.Minute }

func TestWorker_DeliversSoon(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, accept)
		hook := w.store.addWebhook()
		time.Sleep(time.Hour) // nothing is due for long
		begun := time.Now()
		id := w.publish(hook, 1)[0]
		time.Sleep(50 * time.Millisecond)
		if d := w.delivery(id); d.State != domain.DeliveryDelivered || d.Attempts != 1 {
			t.Errorf("after 50 ms it is %s after %d attempts", d.State, d.Attempts)
		}
		time.Sleep(linger)
		if w.held() != 0 {
			t.Error("the lane is held though nothing is left to do in it")
		}
		if lag := w.sender.times(w.event(id))[0].Sub(begun); lag > 15*time.Millisecond {
			t.Errorf("tried after %v", lag)
		}
		// Of another node's events nobody wakes this one.
		w.store.publish(hook, 1)
		time.Sleep(250 * time.Millisecond)
		if n := w.store.count(domain.DeliveryDelivered); n != 2 {
			t.Errorf("%d are delivered", n)
		}
	})
}

// Attempts come when they are documented, or up to 10 % later, and never earlier.
func TestWorker_KeepsTheSchedule(t *testing.T) {
	t.Parallel()
	for name, jitter := range map[string]float64{"least": 0, "most": 0.999999} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, func(context.Context, request) (reply, error) { return answered(500) },
				func(c *Config) { c.Jitter = func() float64 { return jitter } })
			id := w.publish(w.store.addWebhook(), 1)[0]
			time.Sleep(9 * time.Hour)
			times := w.sender.times(w.event(id))
			documented := schedule()
			if len(times) != len(documented) {
				t.Fatalf("%s: %d attempts", name, len(times))
			}
			for i := 1; i < len(times); i++ {
				if gap, want := times[i].Sub(times[i-1]), documented[i]; gap < want || gap > want+want/10 {
					t.Errorf("%s: attempt %d is %v after the one before, want %v", name, i+1, gap, want)
				}
			}
			if d := w.delivery(id); d.State != domain.DeliveryExhausted || d.Attempts != 6 || len(w.store.attempts[id]) != 6 {
				t.Errorf("%s: at the end it is %s after %d attempts", name, d.State, d.Attempts)
			}
		})
	}
}

func TestWorker_HonoursRetryAfter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(context.Context, request) (reply, error) {
			r, err := answered(429)
			r.RetryAfter = 3 * time.Hour
			return r, err
		}, seldom)
		id := w.publish(w.store.addWebhook(), 1)[0]
		time.Sleep(10 * time.Hour)
		for times := w.sender.times(w.event(id)); len(times) > 1; times = times[1:] {
			if gap := times[1].Sub(times[0]); gap < 3*time.Hour || gap > 3*time.Hour+10*time.Second {
				t.Errorf("tried again after %v", gap)
			}
		}
		if n := len(w.sender.times(w.event(id))); n != 4 {
			t.Errorf("%d attempts in 10 hours", n)
		}
	})
}

// A receiver that asks for time gets nothing meanwhile, whatever else waits for it.
func TestWorker_LeavesAloneWhoAsksForIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begun, busy := time.Now(), true
		w := newWorld(t, func(context.Context, request) (reply, error) {
			if busy {
				busy = false
				r, err := answered(429)
				r.RetryAfter = time.Minute
				return r, err
			}
			return answered(200)
		})
		hook := w.store.addWebhook()
		w.publish(hook, 1)
		time.Sleep(time.Second)
		later := w.publish(hook, 5)
		time.Sleep(2 * time.Minute)
		for _, id := range later {
			if at := w.sender.times(w.event(id)); len(at) != 1 || at[0].Sub(begun) < time.Minute || at[0].Sub(begun) > 65*time.Second {
				t.Errorf("tried at %v, asked at %v", at, begun)
			}
		}
	})
}

// After ten failures in a row an endpoint is left alone, then asked once at a time.
func TestWorker_BreaksTheCircuit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var well bool
		var mu sync.Mutex
		var times []time.Time
		w := newWorld(t, func(context.Context, request) (reply, error) {
			mu.Lock()
			times = append(times, time.Now())
			ok := well
			mu.Unlock()
			<-time.After(20 * time.Millisecond)
			if ok {
				return answered(200)
			}
			return answered(503)
		})
		hook := w.store.addWebhook()
		w.publish(hook, 40)
		time.Sleep(8 * time.Minute)
		mu.Lock()
		tried := slices.Clone(times)
		well = true
		mu.Unlock()
		if n := len(tried); n < 15 || n > 17 {
			t.Fatalf("%d attempts in 8 minutes", n)
		}
		pause := breakerPause
		for i := 10; i < len(tried); i++ {
			if gap := tried[i].Sub(tried[i-1]); gap < pause || gap > pause+time.Second {
				t.Errorf("attempt %d came %v after the one before, want %v", i+1, gap, pause)
			}
			pause = min(2*pause, maxPause)
		}
		if most, _ := w.sender.busiest(hook); most > 2 {
			t.Errorf("%d attempts at a time", most)
		}
		time.Sleep(2 * time.Hour)
		if n := w.store.count(domain.DeliveryDelivered); n != 40 {
			t.Errorf("%d are delivered in the end", n)
		}
	})
}

func TestWorker_OpensTheWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(context.Context, request) (reply, error) {
			<-time.After(100 * time.Millisecond)
			return answered(200)
		})
		hook := w.store.addWebhook()
		w.publish(hook, 1000)
		time.Sleep(time.Minute)
		most, _ := w.sender.busiest(hook)
		if n := w.store.count(domain.DeliveryDelivered); n != 1000 || most != 8 {
			t.Errorf("%d are delivered, %d at a time", n, most)
		}
		if n := w.sender.attempts(); n != 1000 {
			t.Errorf("%d attempts", n)
		}
	})
}

// Endpoints that hang cannot keep others waiting, however many they are.
func TestWorker_IsolatesHangingEndpoints(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(ctx context.Context, r request) (reply, error) {
			if isHanging(r) {
				return hang(ctx, r)
			}
			<-time.After(5 * time.Millisecond)
			return answered(200)
		}, func(c *Config) { c.MaxAttempts = 64 })
		for range 200 {
			w.store.publish(w.store.addWebhook(hanging), 20)
		}
		var healthy []domain.ID
		for range 20 {
			healthy = append(healthy, w.store.addWebhook())
		}
		w.Wake()
		time.Sleep(30 * time.Second) // until it is known who hangs
		var worst time.Duration
		for range 100 {
			for _, hook := range healthy {
				begun := time.Now()
				id := w.publish(hook, 1)[0]
				time.Sleep(20 * time.Millisecond)
				for _, at := range w.sender.times(w.event(id)) {
					worst = max(worst, at.Sub(begun))
				}
			}
		}
		time.Sleep(time.Second)
		if n := w.store.count(domain.DeliveryDelivered); n != 2000 {
			t.Errorf("%d are delivered", n)
		}
		if worst > 50*time.Millisecond {
			t.Errorf("one waited %v", worst)
		}
		if _, peak := w.sender.busiest(domain.ID{}); peak > 2*64 {
			t.Errorf("%d attempts at a time", peak)
		}
	})
}

// Endpoints that were well and begin to hang together cost the others a second, not the timeout.
func TestWorker_OutlivesSuddenHanging(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var ill atomic.Bool
		w := newWorld(t, func(ctx context.Context, r request) (reply, error) {
			if ill.Load() && isHanging(r) {
				return hang(ctx, r)
			}
			<-time.After(5 * time.Millisecond)
			return answered(200)
		}, func(c *Config) { c.MaxAttempts = 64 })
		for range 12 { // 96 attempts at a time
			w.store.publish(w.store.addWebhook(hanging), 300)
		}
		healthy := w.store.addWebhook()
		w.Wake()
		time.Sleep(100 * time.Millisecond)
		ill.Store(true)
		time.Sleep(50 * time.Millisecond)
		if n := w.Stats().Attempts; n != 64 {
			t.Fatalf("%d attempts are in flight: the test shows nothing", n)
		}
		begun := time.Now()
		id := w.event(w.publish(healthy, 1)[0])
		time.Sleep(time.Minute)
		if at := w.sender.times(id); len(at) != 1 || at[0].Sub(begun) > slowAfter {
			t.Errorf("the healthy one was tried at %v, published at %v", at, begun)
		}
	})
}

// So many endpoints that fail, with so much that waits for them, leave room for what others are to get.
func TestWorker_HoldsLittleForThoseThatFail(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(ctx context.Context, r request) (reply, error) {
			if isHanging(r) {
				return hang(ctx, r)
			}
			return answered(200)
		})
		for range 1200 {
			w.store.publish(w.store.addWebhook(hanging), 20)
		}
		w.Wake()
		time.Sleep(20 * time.Second) // until it is known who hangs
		healthy := w.store.addWebhook()
		for range 10 {
			begun := time.Now()
			due := w.add(healthy, 1)
			w.Offer(due)
			time.Sleep(2 * time.Second)
			if at := w.sender.times(due[0].Event.ID); len(at) != 1 || at[0].Sub(begun) > 50*time.Millisecond {
				t.Fatalf("the healthy one was tried at %v, published at %v, while %d were held ready", at, begun, w.Stats().Waiting)
			}
		}
	})
}

// Attempts may take longer than a lease: it is renewed.
func TestWorker_RenewsLeases(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(context.Context, request) (reply, error) {
			<-time.After(29 * time.Second)
			return answered(200)
		})
		w.run(t)
		ids := w.publish(w.store.addWebhook(), 3)
		time.Sleep(5 * time.Minute)
		if n := w.store.count(domain.DeliveryDelivered); n != len(ids) || w.sender.attempts() != len(ids) || w.held() != 0 {
			t.Errorf("%d are delivered in %d attempts; %d lanes are held", n, w.sender.attempts(), w.held())
		}
	})
}

func TestWorker_DisablesGoneEndpoints(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(context.Context, request) (reply, error) { return answered(410) })
		hook := w.store.addWebhook()
		w.publish(hook, 50)
		time.Sleep(time.Minute)
		_, disabled := w.store.told()
		if len(disabled) != 1 || disabled[0].Reason != domain.DisabledByGone || w.held() != 0 {
			t.Errorf("disabled: %+v; %d lanes are held", disabled, w.held())
		}
		if n := w.store.count(domain.DeliveryExhausted); n != 50 || w.sender.attempts() > 2 {
			t.Errorf("%d are exhausted after %d attempts", n, w.sender.attempts())
		}
	})
}

// After a day and after three of failures only, the account is told; after five the webhook is disabled, unless
// nothing was tried: then it could not have been accepted.
func TestWorker_DisablesFailingEndpoints(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(context.Context, request) (reply, error) { return answered(500) }, seldom)
		busy, idle, begun := w.store.addWebhook(), w.store.addWebhook(), time.Now()
		w.publish(idle, 1)
		day := func(n int) { time.Sleep(time.Until(begun.Add(time.Duration(n)*24*time.Hour + time.Hour/2))) }
		var warned, disabled []int
		for n := range 8 {
			w.publish(busy, 1)
			day(n)
			ww, dd := w.store.told()
			warned, disabled = append(warned, len(ww)), append(disabled, len(dd))
		}
		if diff := cmp.Diff([]int{0, 2, 2, 4, 4, 4, 4, 4}, warned); diff != "" {
			t.Errorf("warnings by day (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]int{0, 0, 0, 0, 0, 0, 1, 1}, disabled); diff != "" {
			t.Errorf("disabled by day (-want +got):\n%s", diff)
		}
		if _, dd := w.store.told(); dd[0].Lane.Webhook != busy || dd[0].Reason != domain.DisabledByFailing {
			t.Errorf("disabled: %+v", dd)
		}
	})
}

func TestWorker_FinishesWhatIsInFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(context.Context, request) (reply, error) {
			<-time.After(3 * time.Second)
			return answered(200)
		})
		hook := w.store.addWebhook()
		w.publish(hook, 50)
		time.Sleep(time.Second)
		begun := time.Now()
		w.stop()
		if took := time.Since(begun); took > 3*time.Second || w.held() != 0 {
			t.Errorf("took %v to stop, %d lanes are held", took, w.held())
		}
		if n := w.store.count(domain.DeliveryDelivered); n != w.sender.attempts() || n == 0 {
			t.Errorf("%d are delivered in %d attempts", n, w.sender.attempts())
		}
		// Another worker goes on at once.
		w.run(t)
		time.Sleep(5 * time.Minute)
		if n := w.store.count(domain.DeliveryDelivered); n != 50 || w.sender.attempts() != 50 {
			t.Errorf("%d are delivered in the end, in %d attempts", n, w.sender.attempts())
		}
	})
}

// A success that comes while the worker stops does not let a lane go on that was about to be given back.
func TestWorker_StopsAfterASuccess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		w := newWorld(t, func(context.Context, request) (reply, error) {
			switch n.Add(1) {
			case 1, 2, 3: // the window opens
				return answered(200)
			case 4:
				<-time.After(time.Second)
				return answered(200)
			}
			r, err := answered(http.StatusTooManyRequests)
			r.RetryAfter = time.Minute
			return r, err
		})
		w.publish(w.store.addWebhook(), 20)
		time.Sleep(500 * time.Millisecond)
		begun := time.Now()
		w.stop()
		if took := time.Since(begun); took > time.Second || w.held() != 0 || n.Load() < 5 {
			t.Errorf("took %v to stop, %d lanes are held, after %d attempts", took, w.held(), n.Load())
		}
	})
}

func TestWorker_StopsWaitingForThoseThatHang(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, hang, func(c *Config) { c.Drain = 2 * time.Second })
		id := w.publish(w.store.addWebhook(func(w *domain.Webhook) { w.Timeout = 30 * time.Second }), 1)[0]
		time.Sleep(time.Second)
		begun := time.Now()
		w.stop()
		if took := time.Since(begun); took > 3*time.Second || w.held() != 0 {
			t.Errorf("took %v to stop, %d lanes are held", took, w.held())
		}
		if d := w.delivery(id); d.State != domain.DeliveryWaiting || d.Attempts != 0 {
			t.Errorf("it is %s after %d attempts", d.State, d.Attempts)
		}
	})
}

// What could not be recorded is kept, and nothing is sent twice.
func TestWorker_OutlivesTheDatabase(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(context.Context, request) (reply, error) {
			<-time.After(time.Second)
			return answered(200)
		})
		hook := w.store.addWebhook()
		w.publish(hook, 20)
		time.Sleep(500 * time.Millisecond)
		setDown := func(err error) {
			w.store.mu.Lock()
			defer w.store.mu.Unlock()
			w.store.down = err
		}
		setDown(domain.Unavailable(errors.New("down")))
		time.Sleep(time.Minute)
		if n := w.Stats().Unsettled; n == 0 {
			t.Error("nothing waits to be recorded")
		}
		setDown(nil)
		time.Sleep(time.Minute)
		if n := w.store.count(domain.DeliveryDelivered); n != 20 || w.sender.attempts() != 20 || w.held() != 0 {
			t.Errorf("%d are delivered in %d attempts; %d lanes are held", n, w.sender.attempts(), w.held())
		}
	})
}

// One outcome that cannot be recorded keeps no other from being so.
func TestWorker_FindsWhatCannotBeRecorded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, accept)
		bad, good := w.store.addWebhook(), w.store.addWebhook()
		poison := w.store.publish(bad, 1)[0]
		w.store.setPoison(poison)
		w.publish(good, 300)
		time.Sleep(30 * time.Second)
		if n := w.store.count(domain.DeliveryDelivered); n != 300 {
			t.Errorf("%d are delivered", n)
		}
		if n := len(w.sender.times(w.event(poison))); n > 2 {
			t.Errorf("the one that cannot be recorded was sent %d times", n)
		}
	})
}

// A lane that another worker has taken is left to it.
func TestWorker_LosesLanes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(context.Context, request) (reply, error) {
			<-time.After(3 * time.Second)
			return answered(200)
		})
		hook := w.store.addWebhook()
		id := w.publish(hook, 1)[0]
		time.Sleep(time.Second)
		w.store.mu.Lock()
		w.store.lanes[hook].Epoch++
		w.store.lanes[hook].worker = domain.NewID(time.Now())
		w.store.lanes[hook].until = time.Now().Add(10 * time.Second)
		w.store.mu.Unlock()
		time.Sleep(5 * time.Second)
		if d := w.delivery(id); d.Attempts != 0 || w.Stats().Lanes != 0 {
			t.Errorf("%d attempts were recorded; it believes to hold %d lanes", d.Attempts, w.Stats().Lanes)
		}
		time.Sleep(time.Minute) // the other worker has died
		if d := w.delivery(id); d.State != domain.DeliveryDelivered || len(w.sender.times(d.Event.ID)) != 2 {
			t.Errorf("it is %s", d.State)
		}
	})
}

// A lane that is lost by a change of its webhook is claimed again at once, and nothing more is tried as it was. News of
// an earlier loss changes nothing.
func TestWorker_LosesWhatItIsToldOf(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		slow := make(chan struct{})
		w := newWorld(t, func(_ context.Context, r request) (reply, error) {
			if r.webhook.URL == "https://old.example.com/" {
				<-slow
			}
			return answered(200)
		})
		hook := w.store.addWebhook()
		move := func(url string) domain.LaneKey {
			w.store.mu.Lock()
			defer w.store.mu.Unlock()
			lane := w.store.lanes[hook]
			lane.Webhook.URL = url
			lane.Epoch++
			lane.worker = domain.ID{}
			return lane.Key()
		}
		move("https://old.example.com/")
		first := w.publish(hook, 1)[0]
		time.Sleep(50 * time.Millisecond)
		taken := move("https://new.example.com/")
		w.Lose([]domain.LaneKey{taken})
		second := w.publish(hook, 1)[0]
		time.Sleep(50 * time.Millisecond)
		for _, id := range []domain.ID{first, second} {
			if d := w.delivery(id); d.State != domain.DeliveryDelivered {
				t.Errorf("it is %s", d.State)
			}
		}
		w.Lose([]domain.LaneKey{taken})
		close(slow)
		w.publish(hook, 1)
		time.Sleep(50 * time.Millisecond)
		if n := w.store.count(domain.DeliveryDelivered); n != 3 || len(w.sender.times(w.delivery(second).Event.ID)) != 1 {
			t.Errorf("%d are delivered", n)
		}
	})
}

// A claim whose answer got lost is found by the next renewal.
func TestWorker_AdoptsWhatItHolds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, accept)
		hook := w.store.addWebhook()
		time.Sleep(time.Second)
		w.store.mu.Lock()
		w.store.lanes[hook].Epoch++
		w.store.lanes[hook].until = time.Now().Add(time.Hour)
		w.store.mu.Unlock()
		w.store.publish(hook, 1)
		other := w.store.addWebhook()
		w.publish(other, 1)
		w.store.mu.Lock()
		w.store.lanes[hook].worker = w.ID()
		w.store.mu.Unlock()
		time.Sleep(10 * time.Second)
		if n := w.store.count(domain.DeliveryDelivered); n != 2 {
			t.Errorf("%d are delivered", n)
		}
	})
}

func TestWorker_SettlesTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, accept)
		for range 50 {
			w.store.publish(w.store.addWebhook(), 100)
		}
		w.Wake()
		time.Sleep(time.Minute)
		if n := w.store.count(domain.DeliveryDelivered); n != 5000 {
			t.Errorf("%d are delivered", n)
		}
		w.store.mu.Lock()
		n := len(w.store.settles)
		w.store.mu.Unlock()
		if n > 200 {
			t.Errorf("5,000 outcomes were recorded in %d transactions", n)
		}
	})
}
