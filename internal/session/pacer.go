package session

import (
	"sync"
	"time"
)

// pacer spreads dials: it hands out moments that are at least an interval apart.
type pacer struct {
	interval time.Duration

	mu   sync.Mutex
	next time.Time
}

func newPacer(perSecond int) *pacer {
	return &pacer{interval: time.Second / time.Duration(max(1, perSecond))}
}

// reserve returns the first free moment from now on. It is taken for good.
func (p *pacer) reserve(now time.Time) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	slot := now
	if p.next.After(now) {
		slot = p.next
	}
	p.next = slot.Add(p.interval)
	return slot
}
