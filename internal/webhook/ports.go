package webhook

import (
	"context"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// Store keeps deliveries, and says which worker serves which webhook.
type Store interface {
	// ClaimLanes takes at most limit lanes in which something is due, until the lease is over.
	ClaimLanes(ctx context.Context, worker domain.ID, limit int, lease time.Duration) ([]domain.Lane, error)
	// RenewLanes prolongs the leases of all lanes of a worker, and returns them with their webhooks as they are
	// now. What is missing has been lost.
	RenewLanes(ctx context.Context, worker domain.ID, lease time.Duration) ([]domain.Lane, error)
	// DueDeliveries returns what is to be tried now, lane by lane; within a lane what waits longest comes first.
	DueDeliveries(ctx context.Context, demands []domain.LaneDemand) ([]domain.Delivery, error)
	// Settle records outcomes and gives lanes back, all or nothing, and returns the lanes that another worker
	// has: of those nothing was recorded.
	Settle(ctx context.Context, outcomes []domain.Outcome, updates []domain.LaneUpdate) (lost []domain.LaneKey, err error)
	// DisableWebhook ends what a webhook gets, and tells its account. domain.ErrLeaseLost when another worker
	// has the lane.
	DisableWebhook(ctx context.Context, d domain.DisableWebhook) error
	// FailingWebhooks returns at most limit active webhooks that have accepted nothing since before, and of which
	// fewer than warnings warnings were sent.
	FailingWebhooks(ctx context.Context, before time.Time, warnings, limit int) ([]domain.FailingWebhook, error)
	// WarnWebhook tells an account that a webhook accepts nothing, unless somebody else has told.
	WarnWebhook(ctx context.Context, w domain.FailingWebhook, at time.Time) error
}

// Observer is told what a worker does. It is called from several goroutines, and must not block.
type Observer interface {
	// Attempted tells of an attempt: how it failed ("" for not at all), how long it took, and how long after it
	// was due it began.
	Attempted(failure domain.FailureCode, took, lag time.Duration)
	// Settled tells how many deliveries have come to an end in a state.
	Settled(state domain.DeliveryState, n int)
}

// sender makes attempts. It is a Client, or a double.
type sender interface {
	prepare(w *domain.Webhook) (endpoint, error)
	send(ctx context.Context, r request) (reply, error)
}
