package store

import (
	"context"
	"time"

	"gorm.io/gorm/clause"

	"github.com/pombal-api/pombal/internal/domain"
)

// SigningKeys returns all keys that sign or signed tokens, oldest first.
func (s *Store) SigningKeys(ctx context.Context) ([]domain.SigningKey, error) {
	return load(ctx, s, wall{}, func(sc scope) ([]domain.SigningKey, error) {
		var rows []signingKeyRow
		err := sc.all(&signingKeyRow{}).Clauses(ascending("created_at", "id")).Find(&rows).Error
		keys := make([]domain.SigningKey, len(rows))
		for i, r := range rows {
			keys[i] = domain.SigningKey{
				ID: r.ID, Public: r.Public, Sealed: r.Sealed, CreatedAt: r.Created.time(),
				ActivatesAt: r.Activates.time(), RetiresAt: r.Retires.time(),
			}
		}
		return keys, err
	})
}

// AddSigningKey adds a key. Those that had no end until now retire at retirePreviousAt.
func (s *Store) AddSigningKey(ctx context.Context, key domain.SigningKey, retirePreviousAt time.Time) error {
	row := signingKeyRow{
		ID: key.ID, Created: millisOf(key.CreatedAt), Activates: millisOf(key.ActivatesAt),
		Retires: millisOf(key.RetiresAt), Public: key.Public, Sealed: key.Sealed,
	}
	return s.write(ctx, wall{}, func(sc scope) error {
		err := sc.all(&signingKeyRow{}).Where(eq("retires_at", millis(0))).Where(clause.Neq{Column: "id", Value: key.ID}).
			Updates(map[string]any{"retires_at": millisOf(retirePreviousAt)}).Error
		if err != nil {
			return err
		}
		return sc.all(&signingKeyRow{}).Create(&row).Error
	})
}
