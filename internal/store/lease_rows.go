package store

import (
	"time"

	"gorm.io/gorm/clause"

	"github.com/pombal-api/pombal/internal/domain"
)

type nodeRow struct {
	ID       uid    `gorm:"column:id;primaryKey"`
	Started  millis `gorm:"column:started_at"`
	Expires  millis `gorm:"column:expires_at"`
	Capacity int    `gorm:"column:capacity"`
	Held     int    `gorm:"column:held"`
	Name     string `gorm:"column:name"`
}

// TableName tells GORM.
func (nodeRow) TableName() string { return "nodes" }

type linkRow struct {
	AccountID   uid      `gorm:"column:account_id;primaryKey"`
	InstanceID  uid      `gorm:"column:instance_id;primaryKey"`
	NodeID      uid      `gorm:"column:node_id"`
	Epoch       int64    `gorm:"column:epoch"`
	Wish        int64    `gorm:"column:wish"`
	Acted       int64    `gorm:"column:acted"`
	Restarts    int64    `gorm:"column:restarts"`
	Asked       millis   `gorm:"column:asked_at"`
	WantedSince millis   `gorm:"column:wanted_since"`
	RetryAt     millis   `gorm:"column:retry_at"`
	CodeExpires millis   `gorm:"column:code_expires_at"`
	LatencyMS   int64    `gorm:"column:latency_ms"`
	Wanted      bool     `gorm:"column:wanted"`
	Remove      bool     `gorm:"column:remove"`
	Desired     string   `gorm:"column:desired"`
	Method      string   `gorm:"column:method"`
	PairPhone   optional `gorm:"column:pair_phone"`
	Code        optional `gorm:"column:code"`
	DeviceJID   optional `gorm:"column:device_jid"`
	ProxySealed blob     `gorm:"column:proxy_sealed"`
}

// TableName tells GORM.
func (linkRow) TableName() string { return "instance_links" }

func (r *linkRow) lease() domain.Lease {
	return domain.Lease{Account: domain.ID(r.AccountID), Instance: domain.ID(r.InstanceID), Epoch: r.Epoch}
}

func (r *linkRow) domain() domain.LinkWish {
	return domain.LinkWish{
		Lease: r.lease(), Seq: r.Wish, Desired: domain.Desired(r.Desired), Remove: r.Remove, Restarts: r.Restarts,
		Method: domain.PairingMethod(r.Method), Phone: string(r.PairPhone), AskedAt: r.Asked.time(),
		RetryAt: r.RetryAt.time(), JID: string(r.DeviceJID), ProxySealed: r.ProxySealed,
	}
}

// skipLocked locks the rows read, leaving out those that somebody else has locked.
func skipLocked() clause.Locking {
	return clause.Locking{Strength: clause.LockingStrengthUpdate, Options: clause.LockingOptionsSkipLocked}
}

// fromNow is a moment by the clock of the database, as a value to assign.
type fromNow struct {
	postgres bool
	after    time.Duration
}

// Build writes the moment. It is part of GORM's clause.Expression.
func (f fromNow) Build(builder clause.Builder) {
	if !f.postgres {
		builder.AddVar(builder, millisOf(now().Add(f.after)))
		return
	}
	// Columns would round up what is due now.
	_, _ = builder.WriteString("date_trunc('milliseconds', clock_timestamp() + make_interval(secs => ")
	builder.AddVar(builder, f.after.Seconds())
	_, _ = builder.WriteString("))")
}

// expired is the condition that a moment has passed by the clock of the database.
func (s *Store) expired(column string) condition { return s.before(column, 0) }

// before is the condition that a moment will have passed soon.
func (s *Store) before(column string, soon time.Duration) condition {
	if s.pool != nil {
		return condition{column + " < clock_timestamp() + make_interval(secs => ?)", []any{soon.Seconds()}}
	}
	return condition{column + " < ?", []any{millisOf(now().Add(soon))}}
}
