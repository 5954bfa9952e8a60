package store

import (
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

type webhookRow struct {
	AccountID       uid      `gorm:"column:account_id;primaryKey"`
	ID              uid      `gorm:"column:id;primaryKey"`
	InstanceID      uid      `gorm:"column:instance_id"`
	RotationRequest uid      `gorm:"column:rotation_request"`
	PreviousExpires millis   `gorm:"column:previous_secret_expires_at"`
	FailingSince    millis   `gorm:"column:failing_since"`
	Created         millis   `gorm:"column:created_at"`
	Updated         millis   `gorm:"column:updated_at"`
	Version         int64    `gorm:"column:version"`
	Events          int64    `gorm:"column:events"`
	TimeoutMS       int64    `gorm:"column:timeout_ms"`
	Warnings        int      `gorm:"column:warnings"`
	OfInstance      bool     `gorm:"column:of_instance"`
	Status          string   `gorm:"column:status"`
	DisabledReason  optional `gorm:"column:disabled_reason"`
	Name            string   `gorm:"column:name"`
	URL             string   `gorm:"column:url"`
	Secret          blob     `gorm:"column:secret_sealed"`
	PreviousSecret  blob     `gorm:"column:previous_secret_sealed"`
}

// TableName tells GORM.
func (webhookRow) TableName() string { return "webhooks" }

func newWebhookRow(w *domain.Webhook) webhookRow {
	return webhookRow{
		AccountID: uid(w.AccountID), ID: uid(w.ID), InstanceID: uid(w.InstanceID),
		PreviousExpires: millisOf(w.PreviousSecretExpiresAt), FailingSince: millisOf(w.FailingSince),
		Created: millisOf(w.CreatedAt), Updated: millisOf(w.UpdatedAt), Version: w.Version, Events: int64(w.Events),
		TimeoutMS: w.Timeout.Milliseconds(), OfInstance: w.OfInstance, Status: string(w.Status),
		DisabledReason: optional(w.DisabledReason), Name: w.Name, URL: w.URL, Secret: w.Secret, PreviousSecret: w.PreviousSecret,
	}
}

func (r *webhookRow) domain() domain.Webhook {
	return domain.Webhook{
		AccountID: domain.ID(r.AccountID), ID: domain.ID(r.ID), InstanceID: domain.ID(r.InstanceID), OfInstance: r.OfInstance,
		Name: r.Name, URL: r.URL, Events: domain.EventSet(r.Events), Timeout: time.Duration(r.TimeoutMS) * time.Millisecond,
		Status: domain.WebhookStatus(r.Status), DisabledReason: domain.DisableReason(r.DisabledReason),
		Secret: r.Secret, PreviousSecret: r.PreviousSecret, PreviousSecretExpiresAt: r.PreviousExpires.time(),
		FailingSince: r.FailingSince.time(), CreatedAt: r.Created.time(), UpdatedAt: r.Updated.time(), Version: r.Version,
	}
}

type inboundRow struct {
	AccountID   uid    `gorm:"column:account_id;primaryKey"`
	ID          uid    `gorm:"column:id;primaryKey"`
	InstanceID  uid    `gorm:"column:instance_id"`
	Created     millis `gorm:"column:created_at"`
	Name        string `gorm:"column:name"`
	LastFour    string `gorm:"column:last_four"`
	TokenDigest blob   `gorm:"column:token_digest"`
}

// TableName tells GORM.
func (inboundRow) TableName() string { return "inbound_webhooks" }

func (r *inboundRow) domain() domain.InboundWebhook {
	return domain.InboundWebhook{
		AccountID: domain.ID(r.AccountID), ID: domain.ID(r.ID), InstanceID: domain.ID(r.InstanceID), Name: r.Name,
		TokenDigest: r.TokenDigest, LastFour: r.LastFour, CreatedAt: r.Created.time(),
	}
}
