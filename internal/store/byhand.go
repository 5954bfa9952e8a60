package store

import (
	"errors"

	"gorm.io/gorm"

	"github.com/pombal-api/pombal/internal/domain"
)

// Statements on tenant rows that GORM cannot compose. Each takes the bound account as its first parameter
// and compares it by equality; exec refuses to run it under another wall.

// saveStatesSQL writes a batch of states: one statement for 100 rows is about ten times cheaper than 100.
const saveStatesSQL = `
UPDATE instances AS i SET status = s.status, reason = s.reason, phone = s.phone, search_text = s.search_text,
    profile_name = s.profile_name, profile_pic_url = s.profile_pic_url, profile_status = s.profile_status,
    connected_at = s.connected_at, last_seen_at = s.last_seen_at, updated_at = s.updated_at, version = s.version
FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
    $10::timestamptz[], $11::timestamptz[], $12::timestamptz[], $13::bigint[])
    AS s (id, status, reason, phone, search_text, profile_name, profile_pic_url, profile_status,
        connected_at, last_seen_at, updated_at, version)
WHERE i.account_id = $1 AND i.id = s.id`

// execByHand runs a statement of this file for the account that sc is bound to.
func execByHand(sc scope, sql string, args ...any) error {
	if sc.wall.account.IsZero() || sc.wall.pass != "" {
		return errWall
	}
	conn, ok := sc.db.Statement.ConnPool.(gorm.TxCommitter)
	if !ok || conn == nil {
		return errors.New("a statement by hand needs a transaction")
	}
	args = append([]any{uid(sc.wall.account)}, args...)
	_, err := sc.db.Statement.ConnPool.ExecContext(sc.db.Statement.Context, sql, args...)
	return err
}

func saveStatesPostgres(sc scope, rows []instanceRow) error {
	return execByHand(sc, saveStatesSQL,
		column(rows, func(r *instanceRow) [16]byte { return domain.ID(r.ID) }),
		column(rows, func(r *instanceRow) string { return r.Status }),
		column(rows, func(r *instanceRow) optional { return r.Reason }),
		column(rows, func(r *instanceRow) optional { return r.Phone }),
		column(rows, func(r *instanceRow) string { return r.SearchText }),
		column(rows, func(r *instanceRow) optional { return r.ProfileName }),
		column(rows, func(r *instanceRow) optional { return r.ProfilePicURL }),
		column(rows, func(r *instanceRow) optional { return r.ProfileStatus }),
		column(rows, func(r *instanceRow) millis { return r.Connected }),
		column(rows, func(r *instanceRow) millis { return r.LastSeen }),
		column(rows, func(r *instanceRow) millis { return r.Updated }),
		column(rows, func(r *instanceRow) int64 { return r.Version }))
}

// column collects one field of all rows.
func column[T any](rows []instanceRow, field func(*instanceRow) T) []T {
	list := make([]T, len(rows))
	for i := range rows {
		list[i] = field(&rows[i])
	}
	return list
}
