package store

import (
	"bytes"
	"context"
	"time"

	"gorm.io/gorm"

	"github.com/pombal-api/pombal/internal/domain"
)

// ClaimIdempotency asks to be the one call that executes under a key. The clocks of the nodes decide when
// a claim lapses: if they disagree and two calls execute, the resource id that both are given keeps them
// from making two objects.
func (a *Account) ClaimIdempotency(ctx context.Context, claim domain.IdempotencyClaim) (domain.IdempotencyResult, error) {
	var t texts
	t.check("Idempotency-Key", claim.Key)
	if err := t.err(); err != nil {
		return domain.IdempotencyResult{}, err
	}
	at := now()
	fresh := idempotencyRow{
		AccountID: uid(a.id), Key: claim.Key, ResourceID: uid(claim.Resource), Fingerprint: claim.Fingerprint[:],
		LockedUntil: millisOf(at.Add(claim.LockFor)), Expires: millisOf(at.Add(claim.KeepFor)),
	}
	return change(ctx, a.s, a.wall(), func(sc scope) (domain.IdempotencyResult, error) {
		create := sc.all(&idempotencyRow{}).Clauses(keepExisting("account_id", "key")).Create(&fresh)
		if err := noAccount(create.Error); err != nil {
			return domain.IdempotencyResult{}, err
		}
		if create.RowsAffected == 1 {
			return domain.IdempotencyResult{State: domain.IdempotencyClaimed, Resource: claim.Resource}, nil
		}
		return takeOver(sc, &fresh, at)
	})
}

// takeOver decides about a claim on a key that has a row already.
func takeOver(sc scope, fresh *idempotencyRow, at time.Time) (result domain.IdempotencyResult, err error) {
	var row idempotencyRow
	if err := sc.rows(&row).Where(eq("key", fresh.Key)).Clauses(forUpdate()).Take(&row).Error; err != nil {
		return result, err
	}
	result.Resource = domain.ID(row.ResourceID)
	switch {
	case row.Expires <= millisOf(at):
		result.State, result.Resource = domain.IdempotencyClaimed, domain.ID(fresh.ResourceID)
		return result, rewriteClaim(sc, fresh)
	case !bytes.Equal(row.Fingerprint, fresh.Fingerprint):
		result.State = domain.IdempotencyMismatch
	case row.Status != 0:
		result.State = domain.IdempotencyReplay
		result.Answer = domain.StoredAnswer{Status: row.Status, Header: row.Header, Sealed: row.Sealed}
	case row.LockedUntil > millisOf(at):
		result.State = domain.IdempotencyInProgress
	default: // whoever claimed it is gone: go on with the resource that it may have made
		result.State = domain.IdempotencyClaimed
		row.LockedUntil = fresh.LockedUntil
		return result, rewriteClaim(sc, &row)
	}
	return result, nil
}

// rewriteClaim makes a row an unfinished claim.
func rewriteClaim(sc scope, row *idempotencyRow) error {
	return sc.rows(&idempotencyRow{}).Where(eq("key", row.Key)).Updates(map[string]any{
		"resource_id": row.ResourceID, "locked_until": row.LockedUntil, "expires_at": row.Expires,
		"fingerprint": row.Fingerprint, "status": 0, "header": header(nil), "sealed": blob(nil),
	}).Error
}

// FinishIdempotency keeps the answer of a claimed call for replay. Of several that finish the same claim
// the first wins; a claim that is gone is no error.
func (a *Account) FinishIdempotency(ctx context.Context, key string, fingerprint [32]byte, resource domain.ID, answer domain.StoredAnswer) error {
	return a.s.write(ctx, a.wall(), func(sc scope) error {
		return claimed(sc, key, fingerprint, resource).Updates(map[string]any{
			"status": answer.Status, "header": header(answer.Header), "sealed": blob(answer.Sealed),
		}).Error
	})
}

// ReleaseIdempotency lets the next call with the key go on at once. It gets the resource id of this one:
// when an error hid that the work was done, the repetition finds what was made instead of making another.
func (a *Account) ReleaseIdempotency(ctx context.Context, key string, fingerprint [32]byte, resource domain.ID) error {
	return a.s.write(ctx, a.wall(), func(sc scope) error {
		return claimed(sc, key, fingerprint, resource).Updates(map[string]any{"locked_until": millisOf(now())}).Error
	})
}

// ForgetIdempotency takes a claim back whose work was refused before it changed anything, so that the
// key may be used for the corrected request.
func (a *Account) ForgetIdempotency(ctx context.Context, key string, fingerprint [32]byte, resource domain.ID) error {
	return a.s.write(ctx, a.wall(), func(sc scope) error {
		return claimed(sc, key, fingerprint, resource).Delete(&idempotencyRow{}).Error
	})
}

// claimed narrows to one unfinished claim.
func claimed(sc scope, key string, fingerprint [32]byte, resource domain.ID) *gorm.DB {
	return sc.rows(&idempotencyRow{}).Where(eq("key", key)).Where(eq("status", 0)).
		Where(eq("fingerprint", fingerprint[:])).Where(eq("resource_id", uid(resource)))
}
