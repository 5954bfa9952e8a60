package store

import (
	"context"
	"encoding/binary"

	"github.com/jackc/pgx/v5"

	"github.com/pombal-api/pombal/internal/domain"
)

// pageWidth is how many columns a page has: the total, and pageColumns. The total may also come alone.
const pageWidth = 19

func (s *Store) runPagePostgres(ctx context.Context, q *pageQuery, sink *pageSink) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	// From here on the query is short and bounded, and ending it early would cost the connection.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), opTimeout)
	defer cancel()
	rows, err := conn.Query(ctx, q.sql, sink.question.postgresArgs(q.slots)...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		raw := rows.RawValues()
		sink.total = int64Of(raw[0])
		if len(raw) != pageWidth || !sink.wants() {
			continue
		}
		decodeView(&sink.view, raw[1:])
		if err := sink.take(); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (q *pageQuestion) postgresArgs(slots []slot) []any {
	args := make([]any, 1, len(slots)+1)
	args[0] = pgx.QueryResultFormats{pgx.BinaryFormatCode}
	for _, s := range slots {
		switch s {
		case slotOwner:
			args = append(args, uid(q.owner))
		case slotCursorTime:
			args = append(args, q.page.After.CreatedAt)
		case slotCursorID:
			args = append(args, exactID(q.page.After.ID))
		case slotIDs:
			args = append(args, uidsOf(q.filter.IDs))
		default:
			args = append(args, q.arg(s))
		}
	}
	return args
}

func uidsOf(ids []domain.ID) uidArray {
	list := make(uidArray, len(ids))
	for i, id := range ids {
		list[i] = uid(id)
	}
	return list
}

// decodeView reads pageColumns in PostgreSQL's binary format. Text points into the connection's buffer.
func decodeView(v *domain.InstanceView, raw [][]byte) {
	copy(v.AccountID[:], raw[0])
	copy(v.ID[:], raw[1])
	v.CreatedAt = millisOfBinary(raw[2])
	v.UpdatedAt = millisOfBinary(raw[3])
	v.ConnectedAt = millisOfBinary(raw[4])
	v.LastSeenAt = millisOfBinary(raw[5])
	v.WebhookEvents = domain.EventSet(int32Of(raw[6]))
	v.AutoRead = boolOf(raw[7])
	v.AutoTyping = boolOf(raw[8])
	v.Integration = raw[9]
	v.Status = raw[10]
	v.Name = raw[11]
	v.ExternalID = raw[12]
	v.Reason = raw[13]
	v.Phone = raw[14]
	v.ProfileName = raw[15]
	v.ProfilePicURL = raw[16]
	v.WebhookURL = raw[17]
}

// postgresEpoch is 2000-01-01 UTC in Unix milliseconds: PostgreSQL counts microseconds from there.
const postgresEpoch = 946_684_800_000

func millisOfBinary(b []byte) int64 {
	if len(b) != 8 {
		return domain.NoTime
	}
	return postgresEpoch + int64(binary.BigEndian.Uint64(b))/1000
}

func int64Of(b []byte) int64 {
	if len(b) != 8 {
		return 0
	}
	return int64(binary.BigEndian.Uint64(b))
}

func int32Of(b []byte) uint32 {
	if len(b) != 4 {
		return 0
	}
	return binary.BigEndian.Uint32(b)
}

func boolOf(b []byte) bool { return len(b) == 1 && b[0] != 0 }
