package store

import (
	"context"
	"slices"
	"sync"
	"time"
)

// turns lets callers who come at the same time work together: one of them leads, and does the work of those who
// have come meanwhile with its own. Then one of the others leads.
type turns[W any] struct {
	mu      sync.Mutex
	waiting []*turn[W] // the first one leads, if somebody does
	led     bool
	wanted  int           // how many gather waits for
	enough  chan struct{} // closed when they are there; nil when nobody waits
}

type turn[W any] struct {
	work   W
	leads  bool
	called chan bool // true: lead; false: the work is done
}

// do returns when lead has been called for the work, here or by another caller, or when ctx is over and nobody has
// begun with it. lead takes works with next while it likes to; the first is its own, and none is left undone.
func (t *turns[W]) do(ctx context.Context, work W, lead func(next func() (W, bool))) error {
	mine := &turn[W]{work: work, called: make(chan bool, 1)}
	if !t.enter(mine) {
		leads := false
		select {
		case leads = <-mine.called:
		case <-ctx.Done():
			if t.leave(mine) {
				return ctx.Err()
			}
			leads = <-mine.called
		}
		if !leads {
			return nil
		}
	}
	var done []*turn[W]
	defer func() { t.pass(mine, done) }()
	lead(func() (work W, ok bool) {
		next := t.next()
		if next == nil {
			return work, false
		}
		done = append(done, next)
		return next.work, true
	})
	return nil
}

// enter reports whether the newcomer leads.
func (t *turns[W]) enter(mine *turn[W]) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting = append(t.waiting, mine)
	mine.leads, t.led = !t.led, true
	if t.enough != nil && len(t.waiting) >= t.wanted {
		close(t.enough)
		t.enough = nil
	}
	return mine.leads
}

// gather lets the one who leads wait until more have come than wait already, but not for long.
func (t *turns[W]) gather(more int, atMost time.Duration) {
	t.mu.Lock()
	enough := make(chan struct{})
	t.wanted, t.enough = len(t.waiting)+more, enough
	t.mu.Unlock()
	timer := time.NewTimer(atMost)
	defer timer.Stop()
	select {
	case <-enough:
	case <-timer.C:
		t.mu.Lock()
		defer t.mu.Unlock()
		t.enough = nil
	}
}

// leave reports whether mine went before anybody began with it, or asked it to lead.
func (t *turns[W]) leave(mine *turn[W]) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.Index(t.waiting, mine)
	if i < 0 || mine.leads {
		return false
	}
	t.waiting = slices.Delete(t.waiting, i, i+1)
	return true
}

func (t *turns[W]) next() *turn[W] {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waiting) == 0 {
		return nil
	}
	next := t.waiting[0]
	t.waiting = slices.Delete(t.waiting, 0, 1)
	return next
}

// pass tells the others whose work is done, and asks somebody to lead.
func (t *turns[W]) pass(mine *turn[W], done []*turn[W]) {
	for _, d := range done {
		if d != mine {
			d.called <- false
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.led = len(t.waiting) > 0; t.led {
		t.waiting[0].leads = true
		t.waiting[0].called <- true
	}
}
