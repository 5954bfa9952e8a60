package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/pombal-api/pombal/internal/domain"
)

func (s *Store) runPageSQLite(ctx context.Context, q *pageQuery, sink *pageSink) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case s.pageTurns <- struct{}{}:
		defer func() { <-s.pageTurns }()
	case <-ctx.Done():
		return ctx.Err()
	}
	// The query is short, and watching ctx costs a goroutine for each.
	rows, err := q.prepared.QueryContext(context.WithoutCancel(ctx), sink.question.sqliteArgs(q.slots)...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	if q.total {
		rows.Next()
		return errors.Join(rows.Scan(&sink.total), rows.Err())
	}
	row, _ := s.pageRows.Get().(*sqlitePageRow)
	if row == nil {
		row = newSQLitePageRow()
	}
	defer s.pageRows.Put(row)
	for rows.Next() {
		if err := rows.Scan(row.dest...); err != nil {
			return err
		}
		sink.total = row.total
		if !sink.wants() {
			continue
		}
		row.decode(&sink.view)
		if err := sink.take(); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (q *pageQuestion) sqliteArgs(slots []slot) []any {
	args := make([]any, 0, len(slots))
	for _, s := range slots {
		switch {
		case s >= slotIDs:
			id := q.id(s)
			args = append(args, id[:])
		case s == slotOwner:
			args = append(args, q.owner[:])
		case s == slotCursorTime:
			args = append(args, q.page.After.CreatedAt.UnixMilli())
		case s == slotCursorID:
			args = append(args, q.page.After.ID[:])
		default:
			args = append(args, q.arg(s))
		}
	}
	return args
}

// sqlitePageRow is where Scan puts a row of a page; it is used again for the next.
type sqlitePageRow struct {
	total                                  int64
	accountID, id                          sql.RawBytes
	created, updated, connected, lastSeen  sql.NullInt64
	events                                 sql.NullInt64
	autoRead, autoTyping                   sql.NullInt64
	integration, status, name, externalID  sql.RawBytes
	reason, phone, profileName, profilePic sql.RawBytes
	webhookURL                             sql.RawBytes
	dest                                   []any
}

func newSQLitePageRow() *sqlitePageRow {
	r := new(sqlitePageRow)
	r.dest = []any{
		&r.total, &r.accountID, &r.id, &r.created, &r.updated, &r.connected, &r.lastSeen, &r.events,
		&r.autoRead, &r.autoTyping, &r.integration, &r.status, &r.name, &r.externalID,
		&r.reason, &r.phone, &r.profileName, &r.profilePic, &r.webhookURL,
	}
	return r
}

func (r *sqlitePageRow) decode(v *domain.InstanceView) {
	copy(v.AccountID[:], r.accountID)
	copy(v.ID[:], r.id)
	v.CreatedAt, v.UpdatedAt = millisOrNone(r.created), millisOrNone(r.updated)
	v.ConnectedAt, v.LastSeenAt = millisOrNone(r.connected), millisOrNone(r.lastSeen)
	v.WebhookEvents = domain.EventSet(r.events.Int64)
	v.AutoRead, v.AutoTyping = r.autoRead.Int64 != 0, r.autoTyping.Int64 != 0
	v.Integration, v.Status, v.Name, v.ExternalID = r.integration, r.status, r.name, r.externalID
	v.Reason, v.Phone, v.ProfileName, v.ProfilePicURL = r.reason, r.phone, r.profileName, r.profilePic
	v.WebhookURL = r.webhookURL
}

func millisOrNone(n sql.NullInt64) int64 {
	if !n.Valid {
		return domain.NoTime
	}
	return n.Int64
}
