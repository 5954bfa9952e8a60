package webhook

import (
	"context"
	"sync"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// dispatcher is a worker's state. One goroutine owns all of it. What takes time, a call of the store or an attempt,
// runs in goroutines of its own, which hand what came of it to inbox, as a function for the owner to run.
type dispatcher struct {
	w     *Worker
	id    domain.ID
	inbox chan func()
	// calls and tries are over when run returns. ctx ends when nothing is left of them, tryCtx when they may not
	// go on any more.
	ctx      context.Context
	tryCtx   context.Context
	stopTry  context.CancelFunc
	pending  sync.WaitGroup
	now      time.Time // of this round
	stopping bool
	stopAt   time.Time // when attempts have to end
	giveUpAt time.Time // when outcomes that could not be recorded are left to the next worker

	lanes map[domain.ID]*lane // by webhook
	idle  []idling            // in order; some of them have something to do again
	// lookAt is when lanes that are busy are read, whatever is offered.
	lookAt time.Time
	claims
	fetches
	tries
	settles
}

func newDispatcher(ctx context.Context, w *Worker) *dispatcher {
	d := &dispatcher{w: w, id: w.id, inbox: make(chan func(), 256), lanes: map[domain.ID]*lane{}, now: time.Now()}
	d.ctx = context.WithoutCancel(ctx)
	d.tryCtx, d.stopTry = context.WithCancel(d.ctx)
	d.claimAt, d.renewAt = d.now, d.now.Add(w.cfg.Lease/renewals)
	return d
}

func (d *dispatcher) run(ctx context.Context) {
	defer d.pending.Wait()
	defer d.stopTry()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for stopped := ctx.Done(); ; {
		d.now = time.Now()
		wait, done := d.step()
		if done {
			return
		}
		timer.Reset(wait)
		select {
		case f := <-d.inbox:
			d.now = time.Now()
			f()
			d.takeMore()
		case <-d.w.woken:
			d.takeNews()
		case <-timer.C:
		case <-stopped:
			stopped = nil
			d.stop()
		}
	}
}

// takeMore does what else has arrived, so that a round serves many.
func (d *dispatcher) takeMore() {
	for range cap(d.inbox) {
		select {
		case f := <-d.inbox:
			f()
		default:
			return
		}
	}
}

// step begins everything that can begin now, and says when to look again though nothing arrives.
func (d *dispatcher) step() (wait time.Duration, done bool) {
	d.suspect()
	if d.stopping {
		d.drain()
	}
	d.start()
	d.endIdle()
	d.look()
	d.settle()
	d.fetch()
	d.claim()
	d.renew()
	d.report()
	if d.stopping && d.over() {
		return 0, true
	}
	return max(0, d.nextTime().Sub(d.now)), false
}

// nextTime is when something is to be done at the latest.
func (d *dispatcher) nextTime() time.Time {
	next := d.now.Add(time.Minute)
	sooner := func(t time.Time, wanted bool) {
		if wanted {
			next = earlier(next, t)
		}
	}
	sooner(d.claimAt, !d.claiming && d.mayClaim())
	sooner(d.renewAt, !d.renewing)
	sooner(d.flushAt(), !d.settling && d.unsettled() > 0)
	sooner(d.fetchAt, !d.fetching && len(d.hungry) > 0 && d.roomToFetch() > 0)
	if t := d.oldest(); t != nil {
		sooner(t.began.Add(slowAfter), true)
	}
	sooner(d.lookAt, len(d.lanes) > 0)
	if len(d.idle) > 0 {
		sooner(d.idle[0].since.Add(linger), true)
	}
	sooner(d.stopAt, d.stopping && d.stopAt.After(d.now))
	sooner(d.giveUpAt, d.stopping && d.giveUpAt.After(d.now))
	return next
}

// call runs a call of the store beside the dispatcher, and then hands over what then returns.
func (d *dispatcher) call(do func(ctx context.Context) (then func())) {
	d.pending.Go(func() { // run waits for it
		ctx, cancel := context.WithTimeout(d.ctx, storeTimeout)
		defer cancel()
		d.inbox <- do(ctx)
	})
}

func (d *dispatcher) stop() {
	d.stopping = true
	d.stopAt = d.now.Add(d.w.cfg.Drain)
	d.giveUpAt = d.stopAt.Add(d.w.cfg.Lease / 2)
	for _, l := range d.lanes {
		d.close(l)
	}
}

// drain ends attempts that may not go on any more.
func (d *dispatcher) drain() {
	if !d.now.Before(d.stopAt) {
		d.stopTry()
	}
}

// over tells whether nothing is left to wait for.
func (d *dispatcher) over() bool {
	if d.attempts > 0 || d.claiming || d.fetching || d.renewing || d.settling || d.disabling > 0 {
		return false
	}
	if len(d.lanes) == 0 && d.unsettled() == 0 {
		return true
	}
	if d.now.Before(d.giveUpAt) {
		return false
	}
	d.w.cfg.Log.Warn("outcomes of webhooks could not be recorded before the end; other attempts will be made",
		"outcomes", len(d.outcomes), "lanes", len(d.lanes))
	return true
}

func (d *dispatcher) report() {
	for i, n := range [statsLen]int{len(d.lanes), d.queued, d.attempts, d.suspects, len(d.outcomes) + d.settlingNow} {
		d.w.stats[i].Store(int64(n))
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
