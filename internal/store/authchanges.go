package store

import (
	"context"
	"errors"

	"gorm.io/gorm/clause"

	"github.com/pombal-api/pombal/internal/domain"
)

// maxAuthChanges is how many changes AuthChanges returns at most; whoever is further behind purges all.
const maxAuthChanges = 10_000

// recordAuthChange tells all nodes that something changed about the account that sc is bound to. It
// takes the next version, whose row stays locked until the commit: call it last.
func recordAuthChange(sc scope) error {
	var v authVersionRow
	bump := sc.all(&v).Clauses(clause.Returning{Columns: []clause.Column{{Name: "version"}}}).
		Where(eq("id", 1)).Updates(map[string]any{"version": increment{"version", 1}})
	if err := bump.Error; err != nil {
		return err
	}
	if v.Version == 0 {
		return errors.New("auth_version has no row")
	}
	change := authChangeRow{Version: v.Version, AccountID: uid(sc.wall.account), Changed: millisOf(now())}
	return sc.all(&authChangeRow{}).Create(&change).Error
}

// AuthChanges returns the accounts of which something changed after a version, and the version reached.
// complete is false when the changes since then are not all on record any more, or too many.
func (s *Store) AuthChanges(ctx context.Context, after int64) (accounts []domain.ID, version int64, complete bool, err error) {
	changes, err := load(ctx, s, wall{}, func(sc scope) ([]authChangeRow, error) {
		var v authVersionRow
		if failed := sc.all(&v).Where(eq("id", 1)).Take(&v).Error; failed != nil || v.Version == after {
			version = v.Version
			return nil, failed
		}
		version = v.Version
		var rows []authChangeRow
		// Whoever sees a version sees every earlier change, so this second look misses none.
		return rows, sc.all(&authChangeRow{}).Where(clause.Gt{Column: "version", Value: after}).
			Where(clause.Lte{Column: "version", Value: version}).Limit(maxAuthChanges).Find(&rows).Error
	})
	if err != nil {
		return nil, 0, false, err
	}
	return changedAccounts(changes), version, int64(len(changes)) == version-after, nil // versions have no gaps
}

// changedAccounts returns each account once.
func changedAccounts(changes []authChangeRow) []domain.ID {
	seen := make(map[uid]bool, len(changes))
	var list []domain.ID
	for _, c := range changes {
		if !seen[c.AccountID] {
			seen[c.AccountID] = true
			list = append(list, domain.ID(c.AccountID))
		}
	}
	return list
}
