package webhook

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// fetches is what the dispatcher knows of reading deliveries.
type fetches struct {
	fetching    bool
	fetchAt     time.Time // not before
	hungry      []*lane
	queued      int // deliveries of all lanes
	queuedBytes int // of their events' data
}

// maxLanesRead bounds how many lanes are read at once.
const maxLanesRead = 256

// consider puts a lane where it has to wait: for an attempt, for deliveries, or for being given back. One that is being
// given back must begin nothing more.
func (d *dispatcher) consider(l *lane) {
	if l.leaving {
		return
	}
	if l.mayStart(d.now) {
		d.list(l)
	}
	if l.missed && !l.reading && len(l.queue) == 0 {
		l.more = true
	}
	if !l.closing && !l.hungry && !l.reading && l.slow == 0 && (l.more && len(l.queue) <= l.reserve() || l.look && len(l.queue) < maxFetch) {
		l.hungry = true
		d.hungry = append(d.hungry, l)
	}
	d.considerLeaving(l)
}

// considerLeaving gives a lane back that has had nothing to do for a while, and in which a last look has found nothing.
func (d *dispatcher) considerLeaving(l *lane) {
	switch {
	case !l.isIdle():
		l.idleAt = time.Time{}
	case l.closing || l.ending:
		d.leave(l)
	case l.idleAt.IsZero():
		l.idleAt = d.now
		d.idle = append(d.idle, idling{l, d.now})
	}
}

// idling is a lane with when it had nothing to do any more.
type idling struct {
	*lane
	since time.Time
}

// endIdle looks once more into lanes that have lingered. They are given back when nothing is found.
func (d *dispatcher) endIdle() {
	for len(d.idle) > 0 && !d.now.Before(d.idle[0].since.Add(linger)) {
		i := d.idle[0]
		d.idle[0] = idling{}
		d.idle = d.idle[1:]
		if i.idleAt.Equal(i.since) && !i.leaving {
			i.more, i.ending = true, true
			d.consider(i.lane)
		}
	}
}

func (d *dispatcher) roomToFetch() int {
	if d.stopping || d.queuedBytes >= maxQueuedBytes {
		return 0
	}
	return maxQueued - d.queued
}

// fetch reads deliveries of the lanes that wait for that.
func (d *dispatcher) fetch() {
	room := d.roomToFetch()
	if d.fetching || len(d.hungry) == 0 || room <= 0 || d.now.Before(d.fetchAt) {
		return
	}
	var lanes []*lane
	var demands []domain.LaneDemand
	for len(d.hungry) > 0 && len(lanes) < maxLanesRead && room > 0 {
		l := d.hungry[0]
		d.hungry = d.hungry[1:]
		l.hungry = false
		if l.closing {
			continue
		}
		demand := domain.LaneDemand{Lane: l.Key(), Limit: min(l.appetite(), room), Except: slices.Collect(maps.Keys(l.known))}
		room -= demand.Limit
		l.reading, l.missed, l.look = true, false, false
		lanes, demands = append(lanes, l), append(demands, demand)
	}
	if len(lanes) == 0 {
		return
	}
	d.fetching, d.fetchAt = true, d.now.Add(fetchGap)
	d.call(func(ctx context.Context) func() {
		due, err := d.w.cfg.Store.DueDeliveries(ctx, demands)
		return func() {
			d.fetching = false
			d.reportCall(err, "cannot read what webhooks wait for; trying again")
			if err != nil {
				d.fetchAt = d.now.Add(d.backoff())
			}
			d.fetched(lanes, demands, due, err)
		}
	})
}

func (d *dispatcher) fetched(lanes []*lane, demands []domain.LaneDemand, due []domain.Delivery, err error) {
	for i, l := range lanes {
		l.reading = false
		n := 0
		for n < len(due) && due[n].WebhookID == l.Webhook.ID {
			n++
		}
		if err == nil {
			l.more = n == demands[i].Limit
			d.enqueue(l, due[:n])
		}
		due = due[n:]
		d.offerAgain(l)
		d.consider(l)
	}
}

// enqueue holds deliveries ready, and adjusts how many are read at once.
func (d *dispatcher) enqueue(l *lane, due []domain.Delivery) {
	switch {
	case l.more:
		l.want = min(l.want*2, maxFetch)
	case len(due) == 0:
		l.want = firstFetch
	}
	if l.closing {
		return
	}
	for i := range due {
		d.push(l, due[i])
	}
}

// push holds a delivery ready.
func (d *dispatcher) push(l *lane, due domain.Delivery) {
	l.ending = false
	l.known[due.ID] = struct{}{}
	l.last = max(l.last, due.Event.Position)
	l.queue = append(l.queue, due)
	d.queued++
	d.queuedBytes += len(due.Event.Data)
}

// shed leaves what is held ready of a lane to be read again: it may take long until it is tried.
func (d *dispatcher) shed(l *lane) {
	if len(l.queue) > 0 {
		d.unqueue(l)
		l.more, l.want = true, firstFetch
	}
}

// unqueue drops what is held ready of a lane.
func (d *dispatcher) unqueue(l *lane) {
	for i := range l.queue {
		d.queuedBytes -= len(l.queue[i].Event.Data)
		delete(l.known, l.queue[i].ID)
	}
	d.queued -= len(l.queue)
	l.queue, l.offered = nil, nil
}
