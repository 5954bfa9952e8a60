package webhook

import (
	"context"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// claims is what the dispatcher knows of claiming and keeping lanes.
type claims struct {
	claiming bool
	claimAt  time.Time
	claimed  time.Time // when the last claim was begun
	failing  int       // calls in a row, for the log and for waiting
	renewing bool
	renewAt  time.Time
	round    int64 // of renewals
	// left are the lanes that were given back while leases were being renewed.
	left map[domain.LaneKey]bool
}

// mayClaim tells whether there is room for more lanes. After an outage outcomes are recorded first: a lane whose lease is
// over is still this worker's for them, unless it is claimed anew.
func (d *dispatcher) mayClaim() bool {
	return !d.stopping && len(d.lanes) < d.w.cfg.MaxLanes && d.unsettled() < maxUnsettled && d.settleFails == 0
}

func (d *dispatcher) claim() {
	if d.claiming || !d.mayClaim() || d.now.Before(d.claimAt) {
		return
	}
	limit := min(d.w.cfg.MaxLanes-len(d.lanes), maxFetch)
	d.claiming, d.claimed, d.claimAt = true, d.now, d.now.Add(d.w.cfg.Poll)
	began := d.now
	d.call(func(ctx context.Context) func() {
		lanes, err := d.w.cfg.Store.ClaimLanes(ctx, d.id, limit, d.w.cfg.Lease)
		return func() {
			d.claiming = false
			d.reportCall(err, "cannot look for webhooks with something to do; trying again")
			if err != nil {
				d.claimAt = d.now.Add(d.backoff())
				return
			}
			for _, l := range lanes {
				d.add(l, began)
			}
			if len(lanes) == limit {
				d.claimAt = d.now
			}
		}
	})
}

// add begins to serve a lane.
func (d *dispatcher) add(claimed domain.Lane, began time.Time) {
	if old := d.lanes[claimed.Webhook.ID]; old != nil {
		if old.Epoch >= claimed.Epoch {
			return
		}
		d.forget(old)
	}
	to, err := d.w.sender.prepare(&claimed.Webhook)
	l := newLane(claimed, to, d.w.cfg.PerEndpoint)
	l.round, l.until = d.round, began.Add(d.w.cfg.Lease)
	d.lanes[l.Webhook.ID] = l
	switch {
	case err != nil:
		d.cannotServe(l, err)
	case d.stopping || l.Webhook.Status != domain.WebhookActive:
		d.close(l)
	default:
		d.consider(l)
	}
}

// cannotServe gives a lane back that this worker can do nothing for.
func (d *dispatcher) cannotServe(l *lane, err error) {
	d.w.cfg.Log.Error("a webhook cannot be served", "webhook", l.Webhook.ID.String(), "error", err)
	l.pause = max(l.pause, ownTroublePause)
	d.close(l)
}

// forget drops a lane that is not this worker's any more. What is being tried in it still comes to its end; the
// store knows that it is late.
func (d *dispatcher) forget(l *lane) {
	d.unqueue(l)
	l.closing, l.leaving = true, true
	if d.lanes[l.Webhook.ID] == l {
		delete(d.lanes, l.Webhook.ID)
	}
	if d.renewing {
		d.left[l.Key()] = true
	}
}

func (d *dispatcher) renew() {
	if d.renewing || d.now.Before(d.renewAt) {
		return
	}
	if len(d.lanes) == 0 && d.stopping {
		d.renewAt = d.now.Add(d.w.cfg.Lease)
		return
	}
	d.round++
	d.renewing, d.left, d.renewAt = true, map[domain.LaneKey]bool{}, d.now.Add(d.w.cfg.Lease/renewals)
	began, round := d.now, d.round
	d.call(func(ctx context.Context) func() {
		lanes, err := d.w.cfg.Store.RenewLanes(ctx, d.id, d.w.cfg.Lease)
		return func() {
			d.renewing = false
			d.reportCall(err, "cannot renew the leases of webhooks; trying again")
			if err != nil {
				d.renewAt = d.now.Add(d.backoff())
				return
			}
			d.renewed(lanes, round, began)
		}
	})
}

// renewed compares what this worker holds with what it believes to hold. A lane that it does not know was claimed
// by a call whose answer got lost.
func (d *dispatcher) renewed(held []domain.Lane, round int64, began time.Time) {
	seen := make(map[domain.LaneKey]bool, len(held))
	for i := range held {
		key := held[i].Key()
		seen[key] = true
		l := d.lanes[key.Webhook]
		if l == nil || l.Epoch != key.Epoch {
			if !d.left[key] {
				d.add(held[i], began)
			}
			continue
		}
		l.until = began.Add(d.w.cfg.Lease)
		d.refresh(l, held[i].Webhook)
	}
	for _, l := range d.lanes {
		if l.round < round && !seen[l.Key()] && !l.leaving {
			d.forget(l)
		}
	}
}

// refresh takes over how a webhook is now.
func (d *dispatcher) refresh(l *lane, w domain.Webhook) {
	if l.closing || l.leaving {
		return
	}
	l.adopt(w)
	if w.Status != domain.WebhookActive {
		d.close(l)
		return
	}
	d.consider(l)
}

// reportCall logs the first of several failures in a row.
func (d *dispatcher) reportCall(err error, message string) {
	if err == nil {
		d.failing = 0
		return
	}
	if d.failing++; d.failing == 1 {
		d.w.cfg.Log.Warn(message, "error", err)
	}
}

// backoff is how long to wait after calls that failed.
func (d *dispatcher) backoff() time.Duration {
	return min(100*time.Millisecond<<min(d.failing, 5), 2*time.Second)
}
