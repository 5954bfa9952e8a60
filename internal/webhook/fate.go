package webhook

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

const (
	// maxRetryAfter bounds how long a receiver can put an attempt off.
	maxRetryAfter = 24 * time.Hour
	// spread is how much later than documented an attempt may be planned. The documented 10 % leave room for
	// the worker's own delay.
	spread = 0.08
)

// schedule is how long after the end of the attempt before each attempt is made.
func schedule() []time.Duration {
	return []time.Duration{0, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, time.Hour, 6 * time.Hour}
}

// fate is what becomes of a delivery.
type fate struct {
	State  domain.DeliveryState
	Step   int       // of the next attempt
	NextAt time.Time // with DeliveryWaiting
	Gone   bool      // the endpoint wants nothing any more
}

// decide says what becomes of a delivery after an attempt at a step of a schedule, which has ended now. jitter is
// random, from 0 to less than 1.
func decide(r *reply, delays []time.Duration, step int, now time.Time, jitter float64) fate {
	next := step + 1
	switch {
	case r.Failure == "":
		return fate{State: domain.DeliveryDelivered, Step: step}
	case r.StatusCode == http.StatusGone:
		return fate{State: domain.DeliveryExhausted, Step: step, Gone: true}
	case r.Abort || next >= len(delays):
		return fate{State: domain.DeliveryExhausted, Step: step}
	}
	wait := delays[next] + time.Duration(spread*jitter*float64(delays[next]))
	return fate{State: domain.DeliveryWaiting, Step: next, NextAt: roundUp(now.Add(max(wait, r.RetryAfter)))}
}

// roundUp rounds to the precision of the store, and never to a time before.
func roundUp(t time.Time) time.Time {
	if rounded := t.Truncate(time.Millisecond); rounded.Before(t) {
		return rounded.Add(time.Millisecond)
	}
	return t
}

// retryAfter reads a Retry-After header, in seconds or as a date. It returns 0 for one that asks for nothing.
func retryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0
	}
	if seconds, err := strconv.ParseUint(value, 10, 63); err == nil {
		return time.Duration(min(seconds, uint64(maxRetryAfter/time.Second))) * time.Second
	}
	if strings.Trim(value, "0123456789") == "" { // more than a number can hold
		return maxRetryAfter
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}
