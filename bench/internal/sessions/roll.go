package sessions

import (
	"context"
	"sync"
)

// roll knows who is connected, and lets others wait until enough are.
type roll struct {
	mu      sync.Mutex
	up      map[string]bool
	changed chan struct{} // closed at the next change
}

func newRoll() *roll { return &roll{up: map[string]bool{}, changed: make(chan struct{})} }

func (r *roll) set(who string, up bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if up {
		r.up[who] = true
	} else {
		delete(r.up, who)
	}
	close(r.changed)
	r.changed = make(chan struct{})
}

// clear forgets who is connected: only those count that connect from now on.
func (r *roll) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.up)
}

// await returns when n are connected, or when ctx ends, and how many are.
func (r *roll) await(ctx context.Context, n int) int {
	for {
		r.mu.Lock()
		have, changed := len(r.up), r.changed
		r.mu.Unlock()
		if have >= n {
			return have
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return have
		}
	}
}
