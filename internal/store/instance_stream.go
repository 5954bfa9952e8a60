package store

import (
	"context"
	"strings"

	"github.com/pombal-api/pombal/internal/domain"
)

// streamBatch is how many instances StreamInstances holds at a time.
const streamBatch = 200

// StreamInstances calls each for every instance that the filter finds behind after (nil for all), in the
// order of creation, then id. It reads in batches and holds no connection while each runs, so a slow reader
// costs nobody anything. An instance is valid only until each returns; an error of each ends the stream and
// is returned as it is. Instances that exist throughout come exactly once.
func (a *Account) StreamInstances(ctx context.Context, f domain.InstanceFilter, after *domain.Cursor, each func(*domain.Instance) error) error {
	if err := checkFilter(f); err != nil {
		return err
	}
	if f.IDs != nil && len(f.IDs) == 0 {
		return nil
	}
	f.Search = strings.ToLower(f.Search)
	q := pageQuestion{owner: a.id, filter: f, page: domain.PageRequest{Limit: streamBatch, After: after}}
	rows := make([]instanceRow, 0, streamBatch)
	for {
		err := a.s.read(ctx, a.wall(), func(sc scope) error {
			rows = rows[:0]
			return a.s.streamBatch(sc, &q, &rows)
		})
		if err != nil {
			return err
		}
		for i := range rows {
			in := rows[i].domain()
			if err := each(&in); err != nil {
				return err
			}
			q.page.After = &domain.Cursor{CreatedAt: in.CreatedAt, ID: in.ID}
		}
		if len(rows) < streamBatch {
			return nil
		}
	}
}

// streamBatch reads the next rows of a stream.
func (s *Store) streamBatch(sc scope, q *pageQuestion, rows *[]instanceRow) error {
	value := func(sl slot) any {
		if sl >= slotIDs {
			return uid(q.id(sl))
		}
		return q.arg(sl)
	}
	query := filtered(sc.rows(&instanceRow{}), q.shape(false), s.pool != nil, value)
	if p := q.page.After; p != nil {
		query = query.Where(afterCursor(p))
	}
	return query.Clauses(ascending("created_at", "id")).Limit(streamBatch).Find(rows).Error
}
