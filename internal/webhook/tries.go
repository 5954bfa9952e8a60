package webhook

import (
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// tries is what the dispatcher knows of attempts.
type tries struct {
	attempts int // in flight
	suspects int // of these, those that may hang: of endpoints that fail, or that have not answered for a while
	// ready and troubled are lanes that wait for an attempt, each in turn. Those whose last attempt failed cannot
	// take all the room.
	ready    []*lane
	troubled []*lane
	young    []*try // those that do not count as slow, the oldest first
}

// try is an attempt in flight.
type try struct {
	lane     *lane
	delivery domain.Delivery
	began    time.Time
	suspect  bool
	slow     bool
	done     bool
}

// list lets a lane wait for its turn.
func (d *dispatcher) list(l *lane) {
	if l.listed {
		return
	}
	l.listed = true
	if l.isTroubled() {
		d.troubled = append(d.troubled, l)
	} else {
		d.ready = append(d.ready, l)
	}
}

// start begins attempts, lane by lane in turn, as long as there is room.
func (d *dispatcher) start() {
	if d.stopping || d.unsettled() >= maxUnsettled {
		return
	}
	limit := d.w.cfg.MaxAttempts
	for len(d.ready) > 0 && d.attempts-d.suspects < limit && d.attempts < 2*limit {
		d.startNext(&d.ready)
	}
	for len(d.troubled) > 0 && d.suspects < limit/2 {
		d.startNext(&d.troubled)
	}
}

// startNext begins an attempt of the first lane of a list.
func (d *dispatcher) startNext(list *[]*lane) {
	l := (*list)[0]
	(*list)[0] = nil
	*list = (*list)[1:]
	l.listed = false
	if !l.mayStart(d.now) {
		return
	}
	t := &try{lane: l, delivery: l.queue[0], began: d.now, suspect: l.isTroubled()}
	l.queue[0] = domain.Delivery{}
	l.queue = l.queue[1:]
	l.flight++
	d.queued--
	d.queuedBytes -= len(t.delivery.Event.Data)
	d.attempts++
	if t.suspect {
		d.suspects++
	}
	d.young = append(d.young, t)
	r := request{webhook: new(l.Webhook), to: l.to.at(d.now, &l.Webhook), event: &t.delivery.Event}
	d.pending.Go(func() { // run waits for it
		answer, err := d.w.sender.send(d.tryCtx, r)
		d.inbox <- func() { d.finished(t, answer, err) }
	})
	d.consider(l)
}

// suspect notices the attempts that have not ended for a while: they do not keep their place among the healthy, and
// their endpoints get nothing more until they end.
func (d *dispatcher) suspect() {
	for t := d.oldest(); t != nil && !d.now.Before(t.began.Add(slowAfter)); t = d.oldest() {
		d.young = d.young[1:]
		t.slow = true
		t.lane.slow++
		d.shed(t.lane)
		if !t.suspect {
			t.suspect = true
			d.suspects++
		}
	}
}

// oldest returns the oldest attempt in flight that does not count as slow; nil for none.
func (d *dispatcher) oldest() *try {
	for len(d.young) > 0 && d.young[0].done {
		d.young[0] = nil
		d.young = d.young[1:]
	}
	if len(d.young) == 0 {
		return nil
	}
	return d.young[0]
}

// finished takes what came of an attempt.
func (d *dispatcher) finished(t *try, r reply, err error) {
	l := t.lane
	t.done = true
	d.attempts--
	l.flight--
	if t.suspect {
		d.suspects--
	}
	if t.slow {
		l.slow--
	}
	if err != nil { // it was no attempt: nothing is known of the receiver
		delete(l.known, t.delivery.ID)
		if d.tryCtx.Err() == nil {
			d.cannotServe(l, err)
		} else {
			d.consider(l)
		}
		return
	}
	now := time.Now() // it has ended by now
	f := decide(&r, d.w.delays, t.delivery.Step, now, d.w.cfg.Jitter())
	r.Number, r.Manual = t.delivery.Attempts+1, t.delivery.Manual
	if o := d.w.cfg.Observer; o != nil {
		o.Attempted(r.Failure, r.Took, r.At.Sub(t.delivery.NextAt))
	}
	d.record(l, domain.Outcome{
		Lane: l.Key(), Delivery: t.delivery.ID, Attempt: r.Attempt, State: f.State, Step: f.Step, NextAt: f.NextAt,
	})
	if r.Failure == "" {
		l.succeeded(d.w.cfg.PerEndpoint)
	} else {
		l.failed(&r, f.Gone, now)
		if r.Failure == domain.FailureTimeout {
			d.shed(l)
		}
	}
	switch {
	case l.closing:
	case d.stopping: // a success has let it go on
		d.close(l)
	case l.pause > 0 || l.disabled != "":
		l.tripped = true
		d.close(l)
	}
	d.consider(l)
}

// close lets nothing new be tried in a lane, and gives it back when what is in flight has ended.
func (d *dispatcher) close(l *lane) {
	l.closing = true
	d.unqueue(l)
	d.consider(l)
}
