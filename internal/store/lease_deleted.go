package store

import (
	"context"
	"slices"

	"github.com/pombal-api/pombal/internal/domain"
)

// Deleted returns those of the instances that do not exist.
func (s *Store) Deleted(ctx context.Context, of []domain.LinkTarget) (gone []domain.LinkTarget, _ error) {
	sorted := slices.SortedFunc(slices.Values(of), func(a, b domain.LinkTarget) int { return compareIDs(a.Account, b.Account) })
	for len(sorted) > 0 {
		account := sorted[0].Account
		n := slices.IndexFunc(sorted, func(t domain.LinkTarget) bool { return t.Account != account })
		if n < 0 {
			n = len(sorted)
		}
		for chunk := range slices.Chunk(sorted[:n], lockChunk) {
			there, err := s.existing(ctx, account, chunk)
			if err != nil {
				return nil, marked(err)
			}
			for _, t := range chunk {
				if !there[uid(t.Instance)] {
					gone = append(gone, t)
				}
			}
		}
		sorted = sorted[n:]
	}
	return gone, nil
}

// existing tells which instances of an account there are.
func (s *Store) existing(ctx context.Context, account domain.ID, of []domain.LinkTarget) (map[uid]bool, error) {
	ids := uidArray(listOf(of, func(t *domain.LinkTarget) uid { return uid(t.Instance) }))
	return load(ctx, s, wall{account: account}, func(sc scope) (map[uid]bool, error) {
		var rows []instanceRow
		err := sc.rows(&instanceRow{}).Select("id").Where(s.oneOf("id", ids)).Find(&rows).Error
		there := make(map[uid]bool, len(rows))
		for i := range rows {
			there[rows[i].ID] = true
		}
		return there, err
	})
}
