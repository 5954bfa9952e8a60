package domain

import "time"

// WebhookStatus says whether a webhook gets events.
type WebhookStatus string

// The states of a webhook.
const (
	WebhookActive   WebhookStatus = "active"
	WebhookDisabled WebhookStatus = "disabled"
)

// DisableReason says why a webhook is disabled. It is stored: never change one.
type DisableReason string

// Why webhooks are disabled.
const (
	DisabledByOwner   DisableReason = "by_owner"
	DisabledByGone    DisableReason = "gone"    // the receiver answered 410
	DisabledByFailing DisableReason = "failing" // nothing was accepted for days
)

// Limits of webhooks.
const (
	MinWebhookTimeout = 5 * time.Second
	MaxWebhookTimeout = 30 * time.Second
	// MaxWebhooks bounds the webhooks of an account, without those of instances.
	MaxWebhooks = 20
	// MaxInboundWebhooks bounds the inbound webhooks of an account.
	MaxInboundWebhooks = 20
)

// Webhook is an endpoint that gets events.
type Webhook struct {
	AccountID      ID
	ID             ID   // wh_…
	InstanceID     ID   // whose events it gets; zero for all of the account
	OfInstance     bool // it is the instance's own webhookUrl, and changes with it
	Name           string
	URL            string
	Events         EventSet
	Timeout        time.Duration // of one attempt, MinWebhookTimeout to MaxWebhookTimeout
	Status         WebhookStatus
	DisabledReason DisableReason // "" while active
	// Secrets are sealed to WebhookSecretPlace.
	Secret                  []byte
	PreviousSecret          []byte // still signs beside Secret until PreviousSecretExpiresAt; nil for none
	PreviousSecretExpiresAt time.Time
	FailingSince            time.Time // of the first failure after the last success; zero while all is well
	CreatedAt               time.Time
	UpdatedAt               time.Time
	Version                 int64 // grows with every change that callers can see
}

// WebhookPatch names what to change of a webhook; nil leaves a field as it is.
type WebhookPatch struct {
	Name       *string // "" clears
	URL        *string
	InstanceID *ID // zero clears
	Events     *EventSet
	Timeout    *time.Duration
	Status     *WebhookStatus // active also forgets past failures
}

// SecretRotation replaces a webhook's secret. The old one goes on signing beside the new one until Until.
type SecretRotation struct {
	Request ID     // names the request, so that a repetition of it replaces the new secret, not the old one again; zero for none
	Secret  []byte // sealed
	Until   time.Time
	At      time.Time
}

// InboundWebhook is a URL that sends messages through an instance without a key.
type InboundWebhook struct {
	AccountID   ID
	ID          ID // whin_…
	InstanceID  ID
	Name        string
	TokenDigest []byte // finds it by its token
	LastFour    string // of the token
	CreatedAt   time.Time
}
