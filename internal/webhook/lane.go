package webhook

import (
	"net/http"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

const (
	// breakerAfter failures in a row a lane is left alone, for breakerPause at first and twice as long each time,
	// but maxPause at most. Then one attempt at a time is made until one succeeds.
	breakerAfter = 10
	breakerPause = 10 * time.Second
	maxPause     = 2 * time.Minute
	// ownTroublePause is for lanes that this worker cannot serve, through no fault of theirs.
	ownTroublePause = time.Minute
	// disableAfter of failures only, a webhook gets nothing any more.
	disableAfter = 5 * 24 * time.Hour
)

// lane is a webhook that this worker serves.
type lane struct {
	domain.Lane
	to    endpoint
	round int64     // of renewals, when it was claimed
	until time.Time // when other workers may claim it

	queue  []domain.Delivery
	known  map[domain.ID]struct{} // what is queued, being tried, or not settled
	flight int                    // attempts
	slow   int                    // of these, those that may hang
	// window is how many attempts it may have at a time. It opens with every success, and closes with failures.
	window int
	listed bool // it waits for its turn

	want    int  // to read at once
	more    bool // there may be deliveries to read
	reading bool // they are being read
	hungry  bool // it waits for them to be read
	missed  bool // since the last reading began, something may have become due that is not in queue
	look    bool // it is to be read, though nothing is known to be there
	// offered is what became due while it was being read, last the last position of what is, or was, in queue.
	offered []domain.Delivery
	last    int64
	// idleAt is since when there has been nothing to do in it; zero while there is.
	idleAt time.Time
	ending bool // it has lingered, and is given back unless something is found

	unsettled int // outcomes

	closing  bool // nothing new is tried
	tripped  bool // because attempts failed
	disabled domain.DisableReason
	pause    time.Duration // when given back
	leaving  bool          // it is being given back
}

func newLane(claimed domain.Lane, to endpoint, perEndpoint int) *lane {
	l := &lane{Lane: claimed, to: to, known: map[domain.ID]struct{}{}, want: firstFetch, more: true, window: min(2, perEndpoint)}
	if l.isTroubled() {
		l.window = 1
	}
	return l
}

// isTroubled tells whether its last attempt failed.
func (l *lane) isTroubled() bool { return l.Failures > 0 }

// appetite is how many deliveries to read at once.
func (l *lane) appetite() int {
	if l.isTroubled() {
		return 1
	}
	return l.want
}

// reserve is how many deliveries are left when more are read. Lanes that fail hold one at most: there may be so many of
// them that nothing else could be held.
func (l *lane) reserve() int {
	if l.isTroubled() {
		return 0
	}
	return l.want / 2
}

// mayStart tells whether an attempt can begin, as far as the lane goes.
func (l *lane) mayStart(now time.Time) bool {
	return !l.closing && len(l.queue) > 0 && l.flight < l.window && l.slow == 0 && now.Before(l.until)
}

// isIdle tells that nothing is left to do in it, for now.
func (l *lane) isIdle() bool {
	return l.flight == 0 && len(l.queue) == 0 && !l.reading && !l.leaving && (l.closing || !l.more && !l.look)
}

// succeeded and failed learn from an attempt.
func (l *lane) succeeded(perEndpoint int) {
	l.Failures, l.Webhook.FailingSince = 0, time.Time{}
	l.window = min(l.window+1, perEndpoint)
	if l.tripped && !l.leaving && l.disabled != domain.DisabledByGone { // not all attempts that were in flight failed
		l.tripped, l.closing, l.more, l.pause, l.disabled = false, false, true, 0, ""
	}
}

func (l *lane) failed(r *reply, gone bool, now time.Time) {
	l.Failures++
	l.window = max(1, l.window/2)
	if r.Failure == domain.FailureTimeout {
		l.window = 1
	}
	if l.Webhook.FailingSince.IsZero() {
		l.Webhook.FailingSince = r.At
	}
	switch {
	case gone:
		l.disabled = domain.DisabledByGone
	case now.Sub(l.Webhook.FailingSince) >= disableAfter:
		l.disabled = domain.DisabledByFailing
	}
	l.pause = max(pauseAfter(l.Failures), pauseAsked(r))
}

// pauseAsked returns how long a receiver that is overloaded wants to be left alone.
func pauseAsked(r *reply) time.Duration {
	if r.StatusCode != http.StatusTooManyRequests && r.StatusCode != http.StatusServiceUnavailable {
		return 0
	}
	return min(r.RetryAfter, maxPause)
}

// pauseAfter returns how long to leave a lane alone after failures in a row.
func pauseAfter(failures int) time.Duration {
	if failures < breakerAfter {
		return 0
	}
	return min(breakerPause<<min(failures-breakerAfter, 8), maxPause)
}

// adopt takes over how a webhook is now: what takes effect at once, like another URL or secret, costs the lane instead.
func (l *lane) adopt(w domain.Webhook) {
	since := l.Webhook.FailingSince
	l.Webhook = w
	if l.Failures == 0 || !since.IsZero() && w.FailingSince.IsZero() {
		l.Webhook.FailingSince = since // this worker knows better: its outcomes are still being recorded
	}
}
