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
	err = s.read(ctx, wall{}, func(sc scope) error {
		var v authVersionRow
		if err := sc.all(&v).Where(eq("id", 1)).Take(&v).Error; err != nil {
			return err
		}
		version, accounts, complete = v.Version, nil, true
		if version == after {
			return nil
		}
		var changes []authChangeRow
		// Whoever sees a version sees every earlier change, so this second look misses none.
		err := sc.all(&authChangeRow{}).Where(clause.Gt{Column: "version", Value: after}).
			Where(clause.Lte{Column: "version", Value: version}).Limit(maxAuthChanges).Find(&changes).Error
		complete = int64(len(changes)) == version-after // versions have no gaps
		accounts = changedAccounts(changes)
		return err
	})
	return accounts, version, complete, err
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
