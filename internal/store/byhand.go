package store

import (
	"database/sql"
	"errors"

	"gorm.io/gorm"

	"github.com/pombal-api/pombal/internal/domain"
)

// Statements on tenant rows that GORM cannot compose. Each takes the bound account as its first parameter
// and compares it by equality; handOf refuses to run it under another wall.

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

// execByHand runs a statement by hand for the account that sc is bound to.
func execByHand(sc scope, sql string, args ...any) error {
	_, err := countByHand(sc, sql, args...)
	return err
}

// countByHand is execByHand that returns how many rows were changed.
func countByHand(sc scope, text string, args ...any) (int64, error) {
	conn, args, err := handOf(sc, args)
	if err != nil {
		return 0, err
	}
	result, err := conn.ExecContext(sc.db.Statement.Context, text, args...)
	if err != nil {
		return 0, translated(sc, err)
	}
	return result.RowsAffected()
}

// queryByHand runs a statement by hand for the account that sc is bound to, and gives its rows to each.
func queryByHand(sc scope, each func(*sql.Rows) error, text string, args ...any) error {
	conn, args, err := handOf(sc, args)
	if err != nil {
		return err
	}
	rows, err := conn.QueryContext(sc.db.Statement.Context, text, args...)
	if err != nil {
		return translated(sc, err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := each(rows); err != nil {
			return err
		}
	}
	return translated(sc, rows.Err())
}

// handOf returns the transaction of a statement by hand, and its arguments with the bound account before them.
func handOf(sc scope, args []any) (gorm.ConnPool, []any, error) {
	if sc.wall.account.IsZero() || sc.wall.pass != "" {
		return nil, nil, errWall
	}
	conn, ok := sc.db.Statement.ConnPool.(gorm.TxCommitter)
	if !ok || conn == nil {
		return nil, nil, errors.New("a statement by hand needs a transaction")
	}
	return sc.db.Statement.ConnPool, append([]any{uid(sc.wall.account)}, args...), sc.db.Statement.Context.Err()
}

// translated gives an error the names that GORM gives its own.
func translated(sc scope, err error) error {
	if t, ok := sc.db.Dialector.(gorm.ErrorTranslator); ok && err != nil {
		return t.Translate(err)
	}
	return err
}

func saveStatesPostgres(sc scope, rows []instanceRow) error {
	return execByHand(sc, saveStatesSQL,
		listOf(rows, func(r *instanceRow) [16]byte { return domain.ID(r.ID) }),
		listOf(rows, func(r *instanceRow) string { return r.Status }),
		listOf(rows, func(r *instanceRow) optional { return r.Reason }),
		listOf(rows, func(r *instanceRow) optional { return r.Phone }),
		listOf(rows, func(r *instanceRow) string { return r.SearchText }),
		listOf(rows, func(r *instanceRow) optional { return r.ProfileName }),
		listOf(rows, func(r *instanceRow) optional { return r.ProfilePicURL }),
		listOf(rows, func(r *instanceRow) optional { return r.ProfileStatus }),
		listOf(rows, func(r *instanceRow) millis { return r.Connected }),
		listOf(rows, func(r *instanceRow) millis { return r.LastSeen }),
		listOf(rows, func(r *instanceRow) millis { return r.Updated }),
		listOf(rows, func(r *instanceRow) int64 { return r.Version }))
}
