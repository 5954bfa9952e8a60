package webhook

import (
	"context"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// settles is what the dispatcher knows of recording outcomes.
type settles struct {
	outcomes    []outcome
	updates     []update
	firstAt     time.Time // when the first of them arrived
	settling    bool
	settlingNow int       // outcomes and updates of the call that is under way
	settleAt    time.Time // not before: the last call failed
	settleFails int       // calls in a row
	// limit is how many may be recorded at once. It shrinks when a call fails through none of the database's
	// faults, until the one is found that cannot be recorded.
	limit     int
	disabling int // calls under way
}

type outcome struct {
	domain.Outcome
	of *lane
}

type update struct {
	domain.LaneUpdate
	of *lane
}

// hopeless calls in a row, something that cannot be recorded alone is given up.
const hopeless = 5

// record keeps an outcome until it is recorded.
func (d *dispatcher) record(l *lane, o domain.Outcome) {
	d.startBatch()
	l.unsettled++
	d.outcomes = append(d.outcomes, outcome{o, l})
}

func (d *dispatcher) startBatch() {
	if len(d.outcomes)+len(d.updates) == 0 {
		d.firstAt = d.now
	}
}

// unsettled is how much there is to record, or being recorded.
func (d *dispatcher) unsettled() int { return len(d.outcomes) + len(d.updates) + d.settlingNow }

func (d *dispatcher) flushAt() time.Time {
	at := d.firstAt.Add(batchDelay)
	if d.stopping || len(d.outcomes)+len(d.updates) >= batchSize {
		at = d.now
	}
	return later(at, d.settleAt)
}

// leave gives a lane back, together with its last outcomes; a webhook that is to be disabled is so before.
func (d *dispatcher) leave(l *lane) {
	if l.disabled != "" {
		if l.unsettled == 0 { // disabling ends what waits: what is known of it has to be recorded before
			d.disable(l)
		}
		return
	}
	u := domain.LaneUpdate{Lane: l.Key(), Failures: l.Failures, Release: true}
	if l.pause > 0 {
		u.PausedUntil = roundUp(d.now.Add(l.pause))
	}
	d.startBatch()
	l.leaving = true
	d.updates = append(d.updates, update{u, l})
}

func (d *dispatcher) disable(l *lane) {
	what := domain.DisableWebhook{Lane: l.Key(), Reason: l.disabled, At: d.now}
	l.leaving = true
	d.disabling++
	d.call(func(ctx context.Context) func() {
		err := d.w.cfg.Store.DisableWebhook(ctx, what)
		return func() {
			d.disabling--
			if err != nil {
				d.w.cfg.Log.Error("a webhook could not be disabled; its next attempt decides again",
					"webhook", l.Webhook.ID.String(), "reason", string(what.Reason), "error", err)
				l.pause = max(l.pause, breakerPause)
			}
			l.disabled, l.leaving = "", false
			d.consider(l)
		}
	})
}

// settle records what there is to record.
func (d *dispatcher) settle() {
	if d.settling || len(d.outcomes)+len(d.updates) == 0 || d.now.Before(d.flushAt()) {
		return
	}
	if d.limit == 0 {
		d.limit = maxBatch
	}
	n := min(len(d.outcomes), d.limit)
	outcomes := d.outcomes[:n:n]
	d.outcomes = d.outcomes[n:]
	// A lane goes back with or after its outcomes.
	m := 0
	if len(d.outcomes) == 0 && (n == 0 || d.limit == maxBatch) {
		m = min(len(d.updates), d.limit)
	}
	updates := d.updates[:m:m]
	d.updates = d.updates[m:]
	d.firstAt = d.now
	d.settling, d.settlingNow = true, n+m
	d.call(func(ctx context.Context) func() {
		lost, err := d.w.cfg.Store.Settle(ctx, plainOutcomes(outcomes), plainUpdates(updates))
		return func() {
			d.settling, d.settlingNow = false, 0
			d.reportCall(err, "cannot record what came of webhooks; trying again")
			if err != nil {
				d.notSettled(outcomes, updates, err)
				return
			}
			d.settleFails, d.limit = 0, min(d.limit*2, maxBatch)
			d.settled(outcomes, updates, lost)
		}
	})
}

func plainOutcomes(list []outcome) []domain.Outcome {
	plain := make([]domain.Outcome, len(list))
	for i := range list {
		plain[i] = list[i].Outcome
	}
	return plain
}

func plainUpdates(list []update) []domain.LaneUpdate {
	plain := make([]domain.LaneUpdate, len(list))
	for i := range list {
		plain[i] = list[i].LaneUpdate
	}
	return plain
}

// settled forgets what has been recorded.
func (d *dispatcher) settled(outcomes []outcome, updates []update, lost []domain.LaneKey) {
	late := make(map[domain.LaneKey]bool, len(lost))
	for _, key := range lost {
		late[key] = true
		if l := d.lanes[key.Webhook]; l != nil && l.Epoch == key.Epoch {
			d.forget(l)
		}
	}
	ended := map[domain.DeliveryState]int{}
	for i := range outcomes {
		o := &outcomes[i]
		o.of.unsettled--
		delete(o.of.known, o.Delivery)
		if !late[o.Lane] {
			ended[o.State]++
		}
		if o.of.unsettled == 0 && o.of.closing {
			d.consider(o.of)
		}
	}
	for _, u := range updates {
		l := u.of
		if l.more || l.missed {
			// Something may have become due before it was given back, and whoever woke this worker then did so
			// in vain.
			d.claimSoon()
		}
		d.forget(l)
	}
	if o := d.w.cfg.Observer; o != nil {
		for state, n := range ended {
			o.Settled(state, n)
		}
	}
}

// notSettled keeps what could not be recorded. Whatever is not the database's fault is looked for by halves, until
// it is alone; then it is given up, and its lane left alone for a while.
func (d *dispatcher) notSettled(outcomes []outcome, updates []update, err error) {
	d.settleFails++
	d.settleAt = d.now.Add(d.backoff())
	n := len(outcomes) + len(updates)
	if isTransient(err) || n > 1 || d.settleFails < hopeless {
		if !isTransient(err) || isTimeout(err) { // as many may take too long, over and over
			d.limit = max(1, n/2)
		}
		d.outcomes = append(outcomes, d.outcomes...)
		d.updates = append(updates, d.updates...)
		return
	}
	d.settleFails = 0
	for _, o := range outcomes {
		o.of.unsettled--
		delete(o.of.known, o.Delivery)
		d.w.cfg.Log.Error("the outcome of a webhook's attempt cannot be recorded; it will be made again",
			"delivery", o.Delivery.String(), "failure", string(o.Attempt.Failure), "error", err)
		d.cannotServe(o.of, err)
		for i := range d.updates { // it may be about to be given back already
			if d.updates[i].of == o.of {
				d.updates[i].PausedUntil = roundUp(d.now.Add(o.of.pause))
			}
		}
	}
	for _, u := range updates {
		d.w.cfg.Log.Error("a webhook cannot be given back; it will be when its lease is over", "webhook", u.Lane.Webhook.String(), "error", err)
		d.forget(u.of)
	}
}

// isTransient tells errors that have nothing to do with what was to be recorded.
func isTransient(err error) bool {
	code := domain.CodeOf(err)
	return code == domain.CodeUnavailable || isTimeout(err)
}
