package store

import (
	"context"

	"github.com/pombal-api/pombal/internal/domain"
)

// pageOf runs do in a snapshot and returns its page.
func pageOf[T any](ctx context.Context, s *Store, w wall, do func(scope) ([]T, domain.PageInfo, error)) ([]T, domain.PageInfo, error) {
	var list []T
	var info domain.PageInfo
	err := s.snapshot(ctx, w, func(sc scope) (err error) {
		list, info, err = do(sc)
		return err
	})
	if err != nil {
		return nil, domain.PageInfo{}, err
	}
	return list, info, nil
}

// readPage reads a page of a list that is short enough to be counted. sc must be a snapshot, so that the
// total fits the page. Further conditions narrow what the wall lets through.
func readPage[R interface{ TableName() string }](
	sc scope, model R, p domain.PageRequest, position func(*R) domain.Cursor, narrow ...any,
) ([]R, domain.PageInfo, error) {
	var info domain.PageInfo
	count, query := sc.rows(model), sc.rows(model).Clauses(ascending("created_at", "id"))
	for _, c := range narrow {
		count, query = count.Where(c), query.Where(c)
	}
	if err := count.Select(countOfRows).Find(&info.Total).Error; err != nil {
		return nil, info, err
	}
	if p.After != nil {
		query = query.Where(afterCursor(p.After)).Limit(p.Limit + 1)
	} else {
		query = query.Offset(int(p.Offset)).Limit(p.Limit)
	}
	var rows []R
	if err := query.Find(&rows).Error; err != nil {
		return nil, info, err
	}
	info.HasMore = info.Total-p.Offset > int64(len(rows)) && len(rows) > 0
	if p.After != nil {
		info.HasMore = len(rows) > p.Limit
		rows = rows[:min(len(rows), p.Limit)]
	}
	if len(rows) > 0 {
		info.Last = position(&rows[len(rows)-1])
	}
	return rows, info, nil
}
