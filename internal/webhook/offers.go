package webhook

import (
	"github.com/pombal-api/pombal/internal/domain"
)

// takeNews takes what has been offered for the lanes that this worker holds. For the others it looks for lanes to claim.
func (d *dispatcher) takeNews() {
	told := d.w.news()
	d.lose(told.lost)
	missed := told.missed
	if missed {
		for _, l := range d.lanes {
			l.missed = true
			d.consider(l)
		}
	}
	for i := range told.offered {
		l := d.lanes[told.offered[i].WebhookID]
		if l == nil {
			missed = true
			continue
		}
		d.offer(l, told.offered[i])
		d.consider(l)
	}
	if missed {
		d.claimSoon()
	}
}

// lose forgets lanes that were taken from this worker, and looks for them where something waits in them.
func (d *dispatcher) lose(lanes []domain.LaneKey) {
	for _, key := range lanes {
		if l := d.lanes[key.Webhook]; l != nil && l.Epoch < key.Epoch {
			d.forget(l)
			d.claimSoon()
		}
	}
}

// claimSoon looks for lanes to claim before the next poll.
func (d *dispatcher) claimSoon() {
	d.claimAt = earlier(d.claimAt, later(d.now, d.claimed.Add(claimGap)))
}

// offer queues a delivery that has just become due, unless the lane is read anyway. The events of an account are stored
// in the order of their positions: one that comes after all that was read has not been read.
func (d *dispatcher) offer(l *lane, due domain.Delivery) {
	_, known := l.known[due.ID]
	switch {
	case known:
	case l.reading && !l.closing && len(l.offered) < maxFetch:
		l.offered = append(l.offered, due)
	case l.more && !l.reading && !l.closing:
		// It will be read.
	case len(l.queue) >= maxFetch || d.roomToFetch() <= 0:
		l.more = true
	case l.reading || l.closing || l.leaving || l.isTroubled() || due.Event.Position <= l.last:
		l.missed = true
	default:
		d.push(l, due)
	}
}

// offerAgain takes what was offered while the lane was being read.
func (d *dispatcher) offerAgain(l *lane) {
	offered := l.offered
	l.offered = nil
	for i := range offered {
		d.offer(l, offered[i])
	}
}

// look has all lanes that are busy read now and then: what is tried again, was replayed, or comes from another node is not
// offered.
func (d *dispatcher) look() {
	if d.now.Before(d.lookAt) {
		return
	}
	d.lookAt = d.now.Add(d.w.cfg.Poll)
	for _, l := range d.lanes {
		if !l.reading && !l.isTroubled() {
			l.look = true
			d.consider(l)
		}
	}
}
