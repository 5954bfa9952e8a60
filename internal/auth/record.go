package auth

import (
	"context"
	"crypto/subtle"
	"sync/atomic"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// keyRecord is a key with its account, as they were when loaded.
type keyRecord struct {
	key       domain.APIKey
	owner     *accountRecord
	principal *domain.Principal // of whoever presents the key itself
	noted     atomic.Int64      // when its use was last noted, in Unix milliseconds
}

// accountRecord is an account, as it was when loaded.
type accountRecord struct {
	account   domain.Account
	suspended bool // it, or the partner it belongs to
}

// keyRef names a key for those who know its id and not its lookup.
type keyRef struct{ account, id domain.ID }

func (a *Authenticator) loadByLookup(ctx context.Context, l lookup) (*keyRecord, owners, error) {
	key, err := a.store.KeyByLookup(ctx, string(l[:]))
	if err != nil {
		return nil, owners{}, err
	}
	return a.newRecord(ctx, key)
}

func (a *Authenticator) loadByID(ctx context.Context, ref keyRef) (*keyRecord, owners, error) {
	key, err := a.store.KeyByID(ctx, ref.account, ref.id)
	if err != nil {
		return nil, owners{}, err
	}
	return a.newRecord(ctx, key)
}

func (a *Authenticator) newRecord(ctx context.Context, key domain.APIKey) (*keyRecord, owners, error) {
	owner, accounts, err := a.loadAccount(ctx, key.AccountID)
	if err != nil {
		return nil, owners{}, err
	}
	record := &keyRecord{key: key, owner: owner, principal: &domain.Principal{
		Account: owner.account, Actor: owner.account,
		KeyID: key.ID, KeyName: key.Name, Scopes: key.Scopes, Instances: key.Instances, Until: key.ExpiresAt,
	}}
	if !key.LastUsedAt.IsZero() {
		record.noted.Store(key.LastUsedAt.UnixMilli())
	}
	return record, accounts, nil
}

func (a *Authenticator) loadAccount(ctx context.Context, id domain.ID) (*accountRecord, owners, error) {
	account, err := a.store.AccountByID(ctx, id)
	if err != nil {
		return nil, owners{}, err
	}
	record := &accountRecord{account: account, suspended: account.Status != domain.AccountActive}
	if account.ParentID.IsZero() {
		return record, owners{account.ID}, nil
	}
	parent, err := a.store.AccountByID(ctx, account.ParentID)
	if err != nil {
		return nil, owners{}, err
	}
	record.suspended = record.suspended || parent.Status != domain.AccountActive
	return record, owners{account.ID, parent.ID}, nil
}

// check returns nil while the key may be used, else what to answer; revoked says it for a revoked key.
func (r *keyRecord) check(now time.Time, revoked func() error) error {
	switch {
	case !r.key.RevokedAt.IsZero():
		return revoked()
	case !r.key.ExpiresAt.IsZero() && !now.Before(r.key.ExpiresAt):
		return expiredKey()
	case r.owner.suspended:
		return suspended()
	}
	return nil
}

// checkSecret compares in constant time, under each pepper, with the key's secret and with the one
// before its last rotation. Nothing about the key is told to who does not hold either.
func (a *Authenticator) checkSecret(key *domain.APIKey, secret string, now time.Time) error {
	for _, digests := range a.keyDigests {
		digest := digests.sum(secret)
		if subtle.ConstantTimeCompare(digest[:], key.Digest) == 1 {
			return nil
		}
		if subtle.ConstantTimeCompare(digest[:], key.PreviousDigest) == 1 {
			if now.Before(key.PreviousExpiresAt) {
				return nil
			}
			return expiredKey()
		}
	}
	return invalidKey()
}
