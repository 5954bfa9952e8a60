package domain

import "time"

// DeliveryState says how far a delivery has come.
type DeliveryState string

// The states of a delivery. They are stored: never change one.
const (
	DeliveryWaiting   DeliveryState = "waiting"   // for its first or its next attempt
	DeliveryDelivered DeliveryState = "delivered" // the receiver answered 2xx
	DeliveryExhausted DeliveryState = "exhausted" // nobody tries again, unless it is replayed
)

// FailureCode says by machine why an attempt failed. It is stored: never change one.
type FailureCode string

// Why attempts fail.
const (
	FailureStatus      FailureCode = "status"            // the receiver answered, and not 2xx
	FailureRedirect    FailureCode = "redirect"          // it answered 3xx, which is never followed
	FailureTimeout     FailureCode = "timeout"           // no whole answer in time
	FailureRefused     FailureCode = "connection_failed" // nobody answered, or the connection broke
	FailureName        FailureCode = "name_not_found"    // the host's name leads nowhere
	FailureTLS         FailureCode = "tls"               // its certificate is not valid for it
	FailureBlocked     FailureCode = "blocked_address"   // its address is not a public one
	FailureUnsupported FailureCode = "invalid_answer"    // what it answered is not HTTP
	FailureDisabled    FailureCode = "webhook_disabled"  // the webhook was disabled before it was tried
)

// MaxAttemptResponse is how many bytes of a receiver's answer are kept.
const MaxAttemptResponse = 16 << 10

// Attempt is one HTTP request of a delivery.
type Attempt struct {
	Number     int // 1 is the first
	At         time.Time
	Took       time.Duration
	StatusCode int         // 0 without an answer
	Failure    FailureCode // "" for success
	Manual     bool        // somebody asked for it
	Response   []byte      // the beginning of the answer's body
}

// Delivery is one event for one webhook.
type Delivery struct {
	AccountID ID
	ID        ID // log_…
	WebhookID ID
	Event     Event
	State     DeliveryState
	Attempts  int // so far
	// Step is the place in the schedule of the next attempt, 0 for the first.
	Step      int
	Manual    bool      // its next attempt was asked for by somebody
	NextAt    time.Time // of the next attempt, while it waits
	CreatedAt time.Time
	Last      Attempt // without Manual and Response; meaningless before the first
}

// DeliveryFilter narrows a list of deliveries. Its zero value matches all.
type DeliveryFilter struct {
	Failed    bool // only those whose last attempt failed
	Succeeded bool // only those that were delivered
	State     DeliveryState
	EventID   ID
}

// Lane is a webhook whose due deliveries one worker has taken for itself until its lease ends.
type Lane struct {
	Webhook  Webhook
	Epoch    int64 // grows with every claim; who settles under an older one is late
	Failures int   // in a row
}

// LaneKey names a lane that a worker holds.
type LaneKey struct {
	Account ID
	Webhook ID
	Epoch   int64
}

// Key names the lane as it was claimed.
func (l *Lane) Key() LaneKey { return LaneKey{l.Webhook.AccountID, l.Webhook.ID, l.Epoch} }

// LaneDemand asks for deliveries of a lane that are due.
type LaneDemand struct {
	Lane   LaneKey
	Limit  int  // at most that many
	Except []ID // not these: they are being tried
}

// Outcome is what became of an attempt, and what is to become of its delivery.
type Outcome struct {
	Lane     LaneKey
	Delivery ID
	Attempt  Attempt
	State    DeliveryState
	Step     int
	NextAt   time.Time // with DeliveryWaiting
}

// LaneUpdate changes what is known of a lane, and may give it back.
type LaneUpdate struct {
	Lane     LaneKey
	Failures int
	// PausedUntil keeps the lane from being claimed before; zero for no pause.
	PausedUntil time.Time
	Release     bool // give it back: it can be claimed again as soon as something is due
}

// FailingWebhook is an active webhook that has accepted nothing for a while.
type FailingWebhook struct {
	AccountID ID
	ID        ID
	Since     time.Time // of the first failure after the last success
	Warnings  int       // sent since then
}

// DisableWebhook is what a worker found out about an endpoint that gets nothing any more.
type DisableWebhook struct {
	Lane   LaneKey
	Reason DisableReason
	At     time.Time
}
