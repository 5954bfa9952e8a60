package webhook

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pombal-api/pombal/internal/domain"
)

func TestDecide(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	answer := func(status int) reply {
		r := reply{Attempt: domain.Attempt{StatusCode: status}}
		if status/100 != 2 {
			r.Failure = domain.FailureStatus
		}
		return r
	}
	after := func(r reply, d time.Duration) reply { r.RetryAfter = d; return r }
	aborted := func(r reply) reply { r.Abort = true; return r }
	silent := reply{Attempt: domain.Attempt{Failure: domain.FailureTimeout}}
	waiting := func(step int, d time.Duration) fate {
		return fate{State: domain.DeliveryWaiting, Step: step, NextAt: now.Add(d)}
	}
	tests := []struct {
		name   string
		reply  reply
		step   int
		jitter float64
		want   fate
	}{
		{"accepted", answer(200), 0, 0, fate{State: domain.DeliveryDelivered}},
		{"accepted late", answer(299), 5, 0.5, fate{State: domain.DeliveryDelivered, Step: 5}},
		{"accepted, whatever else it says", aborted(after(answer(204), time.Hour)), 2, 0, fate{State: domain.DeliveryDelivered, Step: 2}},
		{"refused once", answer(500), 0, 0, waiting(1, 30*time.Second)},
		{"refused twice", answer(404), 1, 0, waiting(2, 2*time.Minute)},
		{"refused three times", answer(302), 2, 0, waiting(3, 10*time.Minute)},
		{"no answer", silent, 3, 0, waiting(4, time.Hour)},
		{"no answer again", silent, 4, 0, waiting(5, 6*time.Hour)},
		{"the last time", silent, 5, 0, fate{State: domain.DeliveryExhausted, Step: 5}},
		{"beyond the schedule", answer(500), 17, 0, fate{State: domain.DeliveryExhausted, Step: 17}},
		{"jitter", answer(500), 4, 0.5, waiting(5, 6*time.Hour+6*time.Hour*4/100)},
		{"jitter of a little", answer(500), 0, 0.0001, waiting(1, 30*time.Second+time.Millisecond)},
		{"asked to wait", after(answer(429), 5*time.Minute), 0, 0.5, waiting(1, 5*time.Minute)},
		{"asked to wait less than it does", after(answer(503), time.Second), 1, 0, waiting(2, 2*time.Minute)},
		{"gone", answer(410), 0, 0, fate{State: domain.DeliveryExhausted, Gone: true}},
		{"gone, the last time", answer(410), 5, 0, fate{State: domain.DeliveryExhausted, Step: 5, Gone: true}},
		{"aborted", aborted(answer(400)), 1, 0, fate{State: domain.DeliveryExhausted, Step: 1}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, decide(&tt.reply, schedule(), tt.step, now, tt.jitter)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	tests := map[string]time.Duration{
		"":                                0,
		"0":                               0,
		" 120 ":                           2 * time.Minute,
		"86400":                           24 * time.Hour,
		"86401":                           24 * time.Hour,
		"9223372036854775807":             24 * time.Hour,
		"9999999999999999999999999999":    24 * time.Hour,
		"-1":                              0,
		"1.5":                             0,
		"soon":                            0,
		"Sun, 01 Mar 2026 12:01:30 GMT":   90 * time.Second,
		"Sunday, 01-Mar-26 12:01:30 GMT":  90 * time.Second,
		"Sun Mar  1 12:01:30 2026":        90 * time.Second,
		"Sun, 01 Mar 2026 11:00:00 GMT":   0,
		"Fri, 01 Jan 2100 00:00:00 GMT":   24 * time.Hour,
		"2026-03-01T12:01:30Z":            0,
		"Sun, 01 Mar 2026 12:01:30 +0000": 0,
	}
	for value, want := range tests {
		if got := retryAfter(value, now); got != want {
			t.Errorf("Retry-After: %s is read as %v, want %v", value, got, want)
		}
	}
}
