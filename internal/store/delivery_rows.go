package store

import (
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// laneRow is what workers know of a webhook.
type laneRow struct {
	AccountID   uid    `gorm:"column:account_id;primaryKey"`
	WebhookID   uid    `gorm:"column:webhook_id;primaryKey"`
	WorkerID    uid    `gorm:"column:worker_id"`
	Epoch       int64  `gorm:"column:epoch"`
	Due         millis `gorm:"column:due_at"`
	LeaseUntil  millis `gorm:"column:lease_until"`
	PausedUntil millis `gorm:"column:paused_until"`
	Failures    int    `gorm:"column:failures"`
}

// TableName tells GORM.
func (laneRow) TableName() string { return "webhook_lanes" }

// deliveryRow is one event for one webhook.
type deliveryRow struct {
	AccountID  uid      `gorm:"column:account_id;primaryKey"`
	WebhookID  uid      `gorm:"column:webhook_id;primaryKey"`
	Number     int64    `gorm:"column:number;primaryKey;autoIncrement:false"`
	Position   int64    `gorm:"column:position"`
	Created    millis   `gorm:"column:created_at"`
	Next       millis   `gorm:"column:next_at"`
	Tried      millis   `gorm:"column:tried_at"`
	TookMS     int64    `gorm:"column:took_ms"`
	StatusCode int      `gorm:"column:status_code"`
	Attempts   int      `gorm:"column:attempts"`
	Step       int      `gorm:"column:step"`
	Manual     bool     `gorm:"column:manual"`
	State      string   `gorm:"column:state"`
	Failure    optional `gorm:"column:failure"`
	// Of the latest attempt, as are Tried, TookMS, StatusCode and, unless the webhook was disabled since, Failure.
	TriedManual bool `gorm:"column:tried_manual"`
	Response    blob `gorm:"column:response"`
}

// TableName tells GORM.
func (deliveryRow) TableName() string { return "deliveries" }

// listedDelivery are the columns of a list, in which answers would take much room.
func listedDelivery() []string {
	return []string{"account_id", "webhook_id", "number", "position", "created_at", "next_at", "tried_at", "took_ms", "status_code",
		"attempts", "step", "manual", "state", "failure"}
}

// domain returns the delivery, of whose event only the position and the account are known.
func (r *deliveryRow) domain() domain.Delivery {
	return domain.Delivery{
		AccountID: domain.ID(r.AccountID), ID: deliveryID(r.Created.time(), r.Number, domain.ID(r.WebhookID)), WebhookID: domain.ID(r.WebhookID),
		Event: domain.Event{AccountID: domain.ID(r.AccountID), Position: r.Position},
		State: domain.DeliveryState(r.State), Attempts: r.Attempts, Step: r.Step, Manual: r.Manual,
		NextAt: nextAttempt(r.State, r.Next, r.Created).time(), CreatedAt: r.Created.time(),
		Last: domain.Attempt{
			Number: r.Attempts, At: r.Tried.time(), Took: ofMillis(r.TookMS), StatusCode: r.StatusCode,
			Failure: domain.FailureCode(r.Failure),
		},
	}
}

// nextAttempt returns when a delivery is tried: one that waits and was not planned is new, and due since it was made.
func nextAttempt(state string, next, created millis) millis {
	if next == 0 && state == string(domain.DeliveryWaiting) {
		return created
	}
	return next
}

// latest returns the latest attempt.
func (r *deliveryRow) latest() domain.Attempt {
	a := r.domain().Last
	a.Manual, a.Response = r.TriedManual, r.Response
	return a
}

// attemptRow is one request of a delivery before the latest one.
type attemptRow struct {
	AccountID  uid      `gorm:"column:account_id;primaryKey"`
	WebhookID  uid      `gorm:"column:webhook_id;primaryKey"`
	Delivery   int64    `gorm:"column:delivery;primaryKey;autoIncrement:false"`
	Number     int      `gorm:"column:number;primaryKey;autoIncrement:false"`
	At         millis   `gorm:"column:at"`
	TookMS     int64    `gorm:"column:took_ms"`
	StatusCode int      `gorm:"column:status_code"`
	Manual     bool     `gorm:"column:manual"`
	Failure    optional `gorm:"column:failure"`
	Response   blob     `gorm:"column:response"`
}

// TableName tells GORM.
func (attemptRow) TableName() string { return "delivery_attempts" }

func (r *attemptRow) domain() domain.Attempt {
	return domain.Attempt{
		Number: r.Number, At: r.At.time(), Took: ofMillis(r.TookMS), StatusCode: r.StatusCode,
		Failure: domain.FailureCode(r.Failure), Manual: r.Manual, Response: r.Response,
	}
}

func ofMillis(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }
