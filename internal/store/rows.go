package store

import (
	"github.com/pombal-api/pombal/internal/domain"
)

// The tables, as GORM sees them. Field names avoid CreatedAt and UpdatedAt, which GORM would fill by
// itself. Rows never leave this package.

type accountRow struct {
	ID           uid      `gorm:"column:id;primaryKey"`
	ParentID     uid      `gorm:"column:parent_id"`
	Created      millis   `gorm:"column:created_at"`
	Updated      millis   `gorm:"column:updated_at"`
	RequestLimit int      `gorm:"column:request_limit"`
	Partner      bool     `gorm:"column:partner"`
	Status       string   `gorm:"column:status"`
	Plan         string   `gorm:"column:plan"`
	Name         string   `gorm:"column:name"`
	ExternalID   optional `gorm:"column:external_id"`
}

// TableName tells GORM.
func (accountRow) TableName() string { return "accounts" }

func newAccountRow(a *domain.Account) accountRow {
	return accountRow{
		ID: uid(a.ID), ParentID: uid(a.ParentID), Created: millisOf(a.CreatedAt), Updated: millisOf(a.UpdatedAt),
		RequestLimit: a.RequestLimit, Partner: a.Partner, Status: string(a.Status), Plan: a.Plan,
		Name: a.Name, ExternalID: optional(a.ExternalID),
	}
}

func (r *accountRow) domain(origins []string) domain.Account {
	return domain.Account{
		ID: domain.ID(r.ID), ParentID: domain.ID(r.ParentID), Name: r.Name, ExternalID: string(r.ExternalID),
		Plan: r.Plan, Status: domain.AccountStatus(r.Status), Partner: r.Partner, RequestLimit: r.RequestLimit,
		AllowedOrigins: origins, CreatedAt: r.Created.time(), UpdatedAt: r.Updated.time(),
	}
}

type originRow struct {
	AccountID uid    `gorm:"column:account_id;primaryKey"`
	Origin    string `gorm:"column:origin;primaryKey"`
}

// TableName tells GORM.
func (originRow) TableName() string { return "account_origins" }

type keyRow struct {
	AccountID       uid      `gorm:"column:account_id;primaryKey"`
	ID              uid      `gorm:"column:id;primaryKey"`
	RotationRequest uid      `gorm:"column:rotation_request"`
	Created         millis   `gorm:"column:created_at"`
	Expires         millis   `gorm:"column:expires_at"`
	LastUsed        millis   `gorm:"column:last_used_at"`
	Revoked         millis   `gorm:"column:revoked_at"`
	PreviousExpires millis   `gorm:"column:previous_expires_at"`
	Scopes          int64    `gorm:"column:scopes"`
	Name            string   `gorm:"column:name"`
	LastFour        string   `gorm:"column:last_four"`
	Lookup          string   `gorm:"column:lookup"`
	PreviousLookup  optional `gorm:"column:previous_lookup"`
	Digest          blob     `gorm:"column:digest"`
	PreviousDigest  blob     `gorm:"column:previous_digest"`
	InstanceIDs     uidList  `gorm:"column:instance_ids"`
}

// TableName tells GORM.
func (keyRow) TableName() string { return "api_keys" }

func newKeyRow(k *domain.APIKey) keyRow {
	return keyRow{
		AccountID: uid(k.AccountID), ID: uid(k.ID), Created: millisOf(k.CreatedAt), Expires: millisOf(k.ExpiresAt),
		LastUsed: millisOf(k.LastUsedAt), Revoked: millisOf(k.RevokedAt), Scopes: int64(k.Scopes), Name: k.Name,
		LastFour: k.LastFour, Lookup: k.Lookup, Digest: k.Digest, InstanceIDs: k.Instances,
		PreviousDigest: k.PreviousDigest, PreviousExpires: millisOf(k.PreviousExpiresAt),
	}
}

func (r *keyRow) domain() domain.APIKey {
	return domain.APIKey{
		ID: domain.ID(r.ID), AccountID: domain.ID(r.AccountID), Lookup: r.Lookup, Name: r.Name, LastFour: r.LastFour,
		Digest: r.Digest, Scopes: domain.ScopeSet(r.Scopes), Instances: r.InstanceIDs, ExpiresAt: r.Expires.time(),
		LastUsedAt: r.LastUsed.time(), RevokedAt: r.Revoked.time(), CreatedAt: r.Created.time(),
		PreviousDigest: r.PreviousDigest, PreviousExpiresAt: r.PreviousExpires.time(),
	}
}

type authVersionRow struct {
	ID      int   `gorm:"column:id;primaryKey"`
	Version int64 `gorm:"column:version"`
}

// TableName tells GORM.
func (authVersionRow) TableName() string { return "auth_version" }

type authChangeRow struct {
	Version   int64  `gorm:"column:version;primaryKey;autoIncrement:false"`
	AccountID uid    `gorm:"column:account_id"`
	Changed   millis `gorm:"column:changed_at"`
}

// TableName tells GORM.
func (authChangeRow) TableName() string { return "auth_changes" }

type signingKeyRow struct {
	ID        string `gorm:"column:id;primaryKey"`
	Created   millis `gorm:"column:created_at"`
	Activates millis `gorm:"column:activates_at"`
	Retires   millis `gorm:"column:retires_at"`
	Public    blob   `gorm:"column:public"`
	Sealed    blob   `gorm:"column:sealed"`
}

// TableName tells GORM.
func (signingKeyRow) TableName() string { return "signing_keys" }

type countRow struct {
	AccountID uid    `gorm:"column:account_id;primaryKey"`
	Status    string `gorm:"column:status;primaryKey"`
	N         int64  `gorm:"column:n"`
}

// TableName tells GORM.
func (countRow) TableName() string { return "instance_counts" }

type partnerCountRow struct {
	PartnerID uid    `gorm:"column:partner_id;primaryKey"`
	Slot      int    `gorm:"column:slot;primaryKey"`
	Status    string `gorm:"column:status;primaryKey"`
	N         int64  `gorm:"column:n"`
}

// TableName tells GORM.
func (partnerCountRow) TableName() string { return "partner_counts" }

type idempotencyRow struct {
	AccountID   uid    `gorm:"column:account_id;primaryKey"`
	Key         string `gorm:"column:key;primaryKey"`
	ResourceID  uid    `gorm:"column:resource_id"`
	LockedUntil millis `gorm:"column:locked_until"`
	Expires     millis `gorm:"column:expires_at"`
	Status      int    `gorm:"column:status"`
	Fingerprint blob   `gorm:"column:fingerprint"`
	Header      header `gorm:"column:header"`
	Sealed      blob   `gorm:"column:sealed"`
}

// TableName tells GORM.
func (idempotencyRow) TableName() string { return "idempotency_keys" }

type rateWindowRow struct {
	Bucket string `gorm:"column:bucket;primaryKey"`
	Start  millis `gorm:"column:window_start"`
}

// TableName tells GORM.
func (rateWindowRow) TableName() string { return "rate_windows" }
