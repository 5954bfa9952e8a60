package store

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"gorm.io/gorm"

	"github.com/pombal-api/pombal/internal/domain"
)

// KeyByLookup finds a key of any account by its public part, or by the one it had before its last
// rotation; revoked and expired ones too. CodeAPIKeyNotFound when there is none.
func (s *Store) KeyByLookup(ctx context.Context, lookup string) (domain.APIKey, error) {
	if lookup == "" || !isText(lookup) {
		return domain.APIKey{}, domain.APIKeyNotFound()
	}
	return load(ctx, s, wall{pass: passKeyByLookup}, func(sc scope) (domain.APIKey, error) {
		var row keyRow
		err := sc.all(&row).Where(eq("lookup", lookup)).Take(&row).Error
		if errors.Is(err, gorm.ErrRecordNotFound) {
			err = sc.all(&row).Where(eq("previous_lookup", lookup)).Take(&row).Error
		}
		return row.domain(), orNotFound(err, domain.APIKeyNotFound)
	})
}

// KeyByID returns a key of an account, revoked and expired ones too. CodeAPIKeyNotFound when there is none.
func (s *Store) KeyByID(ctx context.Context, account, id domain.ID) (domain.APIKey, error) {
	if account.IsZero() {
		return domain.APIKey{}, domain.APIKeyNotFound()
	}
	return load(ctx, s, wall{account: account}, func(sc scope) (domain.APIKey, error) {
		var row keyRow
		err := sc.rows(&row).Where(eq("id", uid(id))).Take(&row).Error
		return row.domain(), orNotFound(err, domain.APIKeyNotFound)
	})
}

// lockedKey reads and locks a key of the account that sc is bound to, unless it is revoked.
func lockedKey(sc scope, id domain.ID) (row keyRow, err error) {
	query := sc.rows(&row).Where(eq("id", uid(id))).Where(eq("revoked_at", millis(0))).Clauses(forUpdate())
	return row, orNotFound(query.Take(&row).Error, domain.APIKeyNotFound)
}

// TouchKeys records when keys were last used.
func (s *Store) TouchKeys(ctx context.Context, uses map[domain.ID]domain.KeyUse) error {
	ids := make([]domain.ID, 0, len(uses))
	for id := range uses {
		ids = append(ids, id)
	}
	// In order, so that two nodes that record the same keys do not wait for each other in a circle.
	slices.SortFunc(ids, func(a, b domain.ID) int { return bytes.Compare(a[:], b[:]) })
	return s.write(ctx, wall{}, func(sc scope) error {
		for _, id := range ids {
			use := uses[id]
			if use.AccountID.IsZero() {
				continue
			}
			key := sc.with(wall{account: use.AccountID}).rows(&keyRow{}).Where(eq("id", uid(id)))
			// Another node may have been here already with a later use.
			later := condition{"last_used_at IS NULL OR last_used_at < ?", []any{millisOf(use.At)}}
			if err := key.Where(later).Updates(map[string]any{"last_used_at": millisOf(use.At)}).Error; err != nil {
				return err
			}
		}
		return nil
	})
}

// APIKeys lists the keys that are not revoked, oldest first.
func (a *Account) APIKeys(ctx context.Context, p domain.PageRequest) ([]domain.APIKey, domain.PageInfo, error) {
	position := func(r *keyRow) domain.Cursor {
		return domain.Cursor{CreatedAt: r.Created.time(), ID: domain.ID(r.ID)}
	}
	return pageOf(ctx, a.s, a.wall(), func(sc scope) ([]domain.APIKey, domain.PageInfo, error) {
		rows, info, err := readPage(sc, keyRow{}, p, position, eq("revoked_at", millis(0)))
		keys := make([]domain.APIKey, len(rows))
		for i := range rows {
			keys[i] = rows[i].domain()
		}
		return keys, info, err
	})
}

// CreateAPIKey adds a key to the account, filling in the account, and the id and the time of creation
// where they are zero. When the id exists already, a crash came before anybody saw that key's secret: the
// new secret replaces it.
func (a *Account) CreateAPIKey(ctx context.Context, key *domain.APIKey) error {
	var t texts
	t.check("name", key.Name)
	t.check("lookup", key.Lookup)
	if err := t.err(); err != nil {
		return err
	}
	key.AccountID = a.id
	if key.CreatedAt.IsZero() {
		key.CreatedAt = now()
	}
	if key.ID.IsZero() {
		key.ID = domain.NewID(key.CreatedAt)
	}
	key.CreatedAt, key.ExpiresAt = truncated(key.CreatedAt), truncated(key.ExpiresAt)
	return a.s.write(ctx, a.wall(), func(sc scope) error {
		row := newKeyRow(key)
		create := sc.all(&keyRow{}).Clauses(keepExisting("account_id", "id")).Create(&row)
		if err := noAccount(create.Error); err != nil {
			return err
		}
		if create.RowsAffected == 0 {
			if err := replaceSecret(sc, key); err != nil {
				return err
			}
		}
		return recordAuthChange(sc)
	})
}

// noAccount turns a row that belongs to no account into the error that says so.
func noAccount(err error) error {
	if errors.Is(err, gorm.ErrForeignKeyViolated) {
		return domain.AccountNotFound()
	}
	return err
}

// replaceSecret gives an existing key the secret of *key, and makes *key that key.
func replaceSecret(sc scope, key *domain.APIKey) error {
	row, err := lockedKey(sc, key.ID)
	if err != nil {
		return err
	}
	row.Lookup, row.LastFour, row.Digest = key.Lookup, key.LastFour, key.Digest
	*key = row.domain()
	return sc.rows(&keyRow{}).Where(eq("id", row.ID)).Updates(map[string]any{
		"lookup": row.Lookup, "last_four": row.LastFour, "digest": row.Digest,
	}).Error
}

// RevokeAPIKey ends a key. CodeAPIKeyNotFound when there is none, or none any more.
func (a *Account) RevokeAPIKey(ctx context.Context, id domain.ID, at time.Time) error {
	return a.s.write(ctx, a.wall(), func(sc scope) error {
		update := sc.rows(&keyRow{}).Where(eq("id", uid(id))).Where(eq("revoked_at", millis(0))).
			Updates(map[string]any{"revoked_at": millisOf(at)})
		if err := update.Error; err != nil {
			return err
		}
		if update.RowsAffected == 0 {
			return domain.APIKeyNotFound()
		}
		return recordAuthChange(sc)
	})
}

// RotateAPIKey gives a key a new secret; the old one stays good for the overlap. CodeAPIKeyNotFound when
// there is none, or none any more.
func (a *Account) RotateAPIKey(ctx context.Context, id domain.ID, r domain.KeyRotation) (domain.APIKey, error) {
	return change(ctx, a.s, a.wall(), func(sc scope) (domain.APIKey, error) {
		row, err := lockedKey(sc, id)
		if err != nil {
			return domain.APIKey{}, err
		}
		rotate(&row, r)
		err = sc.rows(&keyRow{}).Where(eq("id", row.ID)).Updates(map[string]any{
			"lookup": row.Lookup, "last_four": row.LastFour, "digest": row.Digest,
			"previous_lookup": row.PreviousLookup, "previous_digest": row.PreviousDigest,
			"previous_expires_at": row.PreviousExpires, "rotation_request": row.RotationRequest,
		}).Error
		if err != nil {
			return domain.APIKey{}, err
		}
		return row.domain(), recordAuthChange(sc)
	})
}

// rotate applies a rotation. Repeated with the same request, it leaves the old secret and its end alone.
func rotate(row *keyRow, r domain.KeyRotation) {
	if r.Request.IsZero() || row.RotationRequest != uid(r.Request) {
		row.PreviousLookup, row.PreviousDigest = optional(row.Lookup), row.Digest
		row.PreviousExpires = millisOf(r.RotatedAt.Add(r.Overlap))
		row.RotationRequest = uid(r.Request)
	}
	if r.Lookup != "" {
		row.Lookup = r.Lookup
	}
	row.LastFour, row.Digest = r.LastFour, r.Digest
	if r.Overlap <= 0 {
		row.PreviousLookup, row.PreviousDigest, row.PreviousExpires = "", nil, 0
	}
	if string(row.PreviousLookup) == row.Lookup {
		row.PreviousLookup = "" // the public part stayed: it is found by that already
	}
}
