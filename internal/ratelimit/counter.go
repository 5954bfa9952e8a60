package ratelimit

import (
	"sync"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// counter is what this node knows of one bucket's current window, and holds of it.
type counter struct {
	id  string
	seq uint64 // the order in which counters are locked

	mu      sync.Mutex
	start   int64 // of the window, Unix nanoseconds by the database's clock; 0 before the first grant
	used    int   // granted to all nodes, as of the last grant
	left    int   // granted to this node and not yet taken
	taken   int   // taken here and not refunded
	drained int   // the limit at which the window had nothing more to grant; 0 while it may have
	waiting int   // callers that wait for the flight
	flight  *flight

	turned int64 // when this node learnt of the window
	before int   // taken in the window before, for refunds
}

// state says whether a counter can decide about a request right now.
type state int

const (
	stateReady   state = iota // a token is left here
	stateEmpty                // nothing is left anywhere
	stateUnknown              // the Source must be asked
)

func (c *counter) state(now int64, limit int) state {
	switch {
	case !c.current(now):
		return stateUnknown
	case c.left > 0:
		return stateReady
	case c.drained >= limit:
		return stateEmpty
	}
	return stateUnknown
}

// early is how much the clock may go back without a look at the database: this node's idea of the
// database's clock is never better than the network.
const early = 5 * time.Second

// current reports whether now lies in the counter's window. A window that the database has granted from
// is current although its clock has not reached it: that clock may have been set back.
func (c *counter) current(now int64) bool {
	return now >= min(c.start, c.turned)-int64(early) && now < c.end()
}

func (c *counter) end() int64 { return c.start + int64(window) }

// remaining is what the caller may still take, as far as this node knows: other nodes may have taken
// some since the last grant, and may hold some that nobody will take.
func (c *counter) remaining(limit int) int { return min(max(limit-c.used+c.left, 0), limit) }

// grant enters what the Source has granted, out of want.
func (c *counter) grant(g domain.RateGrant, limit, want int, now int64) {
	if start := g.Window.UnixNano(); start != c.start {
		c.turn(start, now)
	}
	c.turned = min(c.turned, now)
	c.used = g.Used
	c.left += g.Granted
	c.drained = 0
	if g.Used >= limit || want > 0 && g.Granted <= 0 {
		c.drained = limit
	}
}

// turn begins another window. What is left of the old one is worth nothing in the new one.
func (c *counter) turn(start, now int64) {
	c.before = 0
	if start == c.end() {
		c.before = c.taken
	}
	c.start, c.turned = start, now
	c.left, c.taken = 0, 0
}

func (c *counter) refund(now int64) {
	switch {
	case !c.current(now) || c.taken == 0:
	case c.before > 0 && now < c.turned+int64(refundGrace):
		c.before-- // may have been taken in the window before
	default:
		c.taken--
		c.left++
	}
}

// idle reports whether the counter holds nothing that is worth keeping.
func (c *counter) idle(now int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.flight == nil && c.waiting == 0 && !c.current(now) && !c.current(now-int64(window))
}

// claim is one call's interest in a counter.
type claim struct {
	*counter
	name  string
	limit int
	order int // among the buckets of the call
}

// decision describes the claim's bucket. The counter must be locked.
func (c *claim) decision(now int64, allowed bool) domain.RateDecision {
	end, rest := c.end(), c.remaining(c.limit)
	if !c.current(now) { // nobody has used the bucket yet, as far as this node knows
		end, rest = now-now%int64(window)+int64(window), c.limit
	}
	d := domain.RateDecision{Allowed: allowed, Bucket: c.name, Limit: c.limit, Remaining: rest, Reset: time.Unix(0, end).UTC()}
	if !allowed {
		d.Remaining = 0
		d.RetryAfter = time.Duration(end - now)
	}
	return d
}

// lock locks all counters. Claims are sorted by seq, so two calls never wait for each other in a ring.
func lock(claims []claim) {
	for i := range claims {
		claims[i].mu.Lock()
	}
}

func unlock(claims []claim) {
	for i := range claims {
		claims[i].mu.Unlock()
	}
}
