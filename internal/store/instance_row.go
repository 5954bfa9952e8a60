package store

import (
	"strings"

	"github.com/pombal-api/pombal/internal/domain"
)

type instanceRow struct {
	AccountID     uid      `gorm:"column:account_id;primaryKey"`
	ID            uid      `gorm:"column:id;primaryKey"`
	PartnerID     uid      `gorm:"column:partner_id"`
	Created       millis   `gorm:"column:created_at"`
	Updated       millis   `gorm:"column:updated_at"`
	Connected     millis   `gorm:"column:connected_at"`
	LastSeen      millis   `gorm:"column:last_seen_at"`
	Version       int64    `gorm:"column:version"`
	WebhookEvents int64    `gorm:"column:webhook_events"`
	AutoRead      bool     `gorm:"column:auto_read"`
	AutoTyping    bool     `gorm:"column:auto_typing"`
	Integration   string   `gorm:"column:integration"`
	Desired       string   `gorm:"column:desired"`
	Status        string   `gorm:"column:status"`
	Name          string   `gorm:"column:name"`
	SearchText    string   `gorm:"column:search_text"`
	ExternalID    optional `gorm:"column:external_id"`
	Reason        optional `gorm:"column:reason"`
	Phone         optional `gorm:"column:phone"`
	ProfileName   optional `gorm:"column:profile_name"`
	ProfilePicURL optional `gorm:"column:profile_pic_url"`
	ProfileStatus optional `gorm:"column:profile_status"`
	WebhookURL    optional `gorm:"column:webhook_url"`
	TokenDigest   blob     `gorm:"column:token_digest"`
	TokenSealed   blob     `gorm:"column:token_sealed"`
}

// TableName tells GORM.
func (instanceRow) TableName() string { return "instances" }

func newInstanceRow(in *domain.Instance) instanceRow {
	return instanceRow{
		AccountID: uid(in.AccountID), ID: uid(in.ID), PartnerID: uid(in.PartnerID),
		Created: millisOf(in.CreatedAt), Updated: millisOf(in.UpdatedAt),
		Connected: millisOf(in.ConnectedAt), LastSeen: millisOf(in.LastSeenAt), Version: in.Version,
		WebhookEvents: int64(in.WebhookEvents), AutoRead: in.AutoRead, AutoTyping: in.AutoTyping,
		Integration: string(in.Integration), Desired: string(in.Desired), Status: string(in.Status),
		Name: in.Name, SearchText: searchText(in.Name, in.Phone), ExternalID: optional(in.ExternalID),
		Reason: optional(in.Reason), Phone: optional(in.Phone), ProfileName: optional(in.ProfileName),
		ProfilePicURL: optional(in.ProfilePicURL), ProfileStatus: optional(in.ProfileStatus),
		WebhookURL: optional(in.WebhookURL), TokenDigest: in.TokenDigest, TokenSealed: in.TokenSealed,
	}
}

func (r *instanceRow) domain() domain.Instance {
	return domain.Instance{
		AccountID: domain.ID(r.AccountID), PartnerID: domain.ID(r.PartnerID), ID: domain.ID(r.ID), Name: r.Name,
		ExternalID: string(r.ExternalID), Integration: domain.Integration(r.Integration),
		Desired: domain.Desired(r.Desired), Status: domain.Status(r.Status), Reason: domain.ReasonCode(r.Reason),
		Phone: string(r.Phone), ProfileName: string(r.ProfileName), ProfilePicURL: string(r.ProfilePicURL),
		ProfileStatus: string(r.ProfileStatus), WebhookURL: string(r.WebhookURL),
		WebhookEvents: domain.EventSet(r.WebhookEvents), AutoRead: r.AutoRead, AutoTyping: r.AutoTyping,
		TokenDigest: r.TokenDigest, TokenSealed: r.TokenSealed, CreatedAt: r.Created.time(),
		UpdatedAt: r.Updated.time(), ConnectedAt: r.Connected.time(), LastSeenAt: r.LastSeen.time(), Version: r.Version,
	}
}

// searchText is what a search looks through. Lowering in Go makes both engines find the same rows.
func searchText(name, phone string) string { return strings.ToLower(name) + "\n" + phone }
