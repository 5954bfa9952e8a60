package store

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// Instance returns an instance. CodeInstanceNotFound when the account has none with the id.
func (a *Account) Instance(ctx context.Context, id domain.ID) (domain.Instance, error) {
	return load(ctx, a.s, a.wall(), func(sc scope) (domain.Instance, error) {
		row, err := boundInstance(sc, id)
		return row.domain(), err
	})
}

// boundInstance reads an instance of the account that sc is bound to.
func boundInstance(sc scope, id domain.ID) (row instanceRow, err error) {
	query := sc.rows(&row).Where(eq("id", uid(id)))
	return row, orNotFound(query.Take(&row).Error, domain.InstanceNotFound)
}

// lockedInstance reads an instance and keeps others from changing it until the transaction ends.
func lockedInstance(sc scope, id domain.ID, ifVersion int64) (row instanceRow, err error) {
	query := sc.rows(&row).Where(eq("id", uid(id))).Clauses(forUpdate())
	if err := query.Take(&row).Error; err != nil {
		return row, orNotFound(err, domain.InstanceNotFound)
	}
	if ifVersion != 0 && ifVersion != row.Version {
		return row, changedSince("instance")
	}
	return row, nil
}

func changedSince(what string) *domain.Error {
	return domain.NewError(domain.CodePreconditionFailed,
		"The "+what+" has changed since you read it. Read it again, and repeat the change if it still makes sense.")
}

// InstanceByToken finds an instance of any account by the digest of its token. CodeInstanceNotFound when
// there is none.
func (s *Store) InstanceByToken(ctx context.Context, digest []byte) (domain.Instance, error) {
	if len(digest) == 0 {
		return domain.Instance{}, domain.InstanceNotFound()
	}
	return load(ctx, s, wall{pass: passInstanceByToken}, func(sc scope) (domain.Instance, error) {
		var row instanceRow
		err := sc.all(&row).Where(eq("token_digest", digest)).Take(&row).Error
		return row.domain(), orNotFound(err, domain.InstanceNotFound)
	})
}

// CreateInstance adds an instance to the account. It fills in the account, its partner and, where they are
// zero, the id, the times, the version and the states. limit is how many instances the account may have, 0
// for no limit: then CodeInstanceLimitReached, also when many create at once. CodeExternalIDInUse when the
// account has another instance with that reference. When the id exists already (a retry after a crash),
// *in becomes the existing instance.
//
// If the instance has a WebhookURL, its OwnWebhook is made with it.
func (a *Account) CreateInstance(ctx context.Context, in *domain.Instance, limit int) error {
	if err := checkInstanceTexts(in); err != nil {
		return err
	}
	in.AccountID = a.id
	completeInstance(in)
	err := a.s.write(ctx, a.wall(), func(sc scope) error {
		total, err := lockCounts(sc)
		if err != nil {
			return orNotFound(err, domain.AccountNotFound)
		}
		if limit > 0 && total >= int64(limit) {
			return existingOr(sc, in, limitReached())
		}
		var owner accountRow
		if err := sc.rows(&owner).Take(&owner).Error; err != nil {
			return orNotFound(err, domain.AccountNotFound)
		}
		in.PartnerID = domain.ID(owner.ParentID)
		return insertInstance(sc, in)
	})
	in.OwnWebhook = nil
	return err
}

func completeInstance(in *domain.Instance) {
	if in.CreatedAt.IsZero() {
		in.CreatedAt = now()
	}
	if in.UpdatedAt.IsZero() {
		in.UpdatedAt = in.CreatedAt
	}
	if in.ID.IsZero() {
		in.ID = domain.NewID(in.CreatedAt)
	}
	in.CreatedAt, in.UpdatedAt = truncated(in.CreatedAt), truncated(in.UpdatedAt)
	in.ConnectedAt, in.LastSeenAt = truncated(in.ConnectedAt), truncated(in.LastSeenAt)
	in.Version = cmp.Or(in.Version, 1)
	in.Integration = cmp.Or(in.Integration, domain.IntegrationWeb)
	in.Status = cmp.Or(in.Status, domain.StatusDisconnected)
	in.Desired = cmp.Or(in.Desired, domain.DesiredDisconnected)
}

// insertInstance adds the row and counts it. The account's counters must be locked.
func insertInstance(sc scope, in *domain.Instance) error {
	row := newInstanceRow(in)
	create := sc.all(&instanceRow{}).Clauses(keepExisting("account_id", "id")).Create(&row)
	if violated(create.Error, "instances_external_id", "instances.external_id") {
		return externalIDInUse()
	}
	if violated(create.Error, "instances_token_digest", "instances.token_digest") {
		return tokenInUse()
	}
	if create.Error != nil {
		return create.Error
	}
	if create.RowsAffected == 0 {
		return existingOr(sc, in, errors.New("an instance exists and does not"))
	}
	if err := createOwnWebhook(sc, in); err != nil {
		return err
	}
	return changeCounts(sc, in.PartnerID, deltas{in.Status: 1})
}

// existingOr makes *in the instance with its id if there is one already; otherwise it returns otherwise.
func existingOr(sc scope, in *domain.Instance, otherwise error) error {
	row, err := boundInstance(sc, in.ID)
	switch {
	case domain.CodeOf(err) == domain.CodeInstanceNotFound:
		return otherwise
	case err != nil:
		return err
	}
	*in = row.domain()
	return nil
}

func limitReached() *domain.Error {
	return domain.NewError(domain.CodeInstanceLimitReached,
		"The account has as many instances as its plan allows. Delete one that is not needed, or ask for a larger plan.")
}

// tokenInUse is for tokens that callers chose; ours never meet.
func tokenInUse() *domain.Error {
	return domain.Invalid(domain.Detail{Field: "token", Code: "in_use", Message: "it cannot be used. Choose another, long and random token."})
}

func checkInstanceTexts(in *domain.Instance) error {
	var t texts
	t.check("name", in.Name)
	t.check("externalId", in.ExternalID)
	t.check("phone", in.Phone)
	t.checkLong("webhookUrl", in.WebhookURL)
	t.checkLong("profileName", in.ProfileName)
	t.checkLong("profilePicUrl", in.ProfilePicURL)
	t.checkLong("profileStatus", in.ProfileStatus)
	t.checkLong("statusReason", string(in.Reason))
	return t.err()
}

// UpdateInstance changes what callers may change, if the version is ifVersion (0 for any). A patch that
// changes nothing is no change. The instance's own webhook changes with its WebhookURL and WebhookEvents.
// CodeInstanceNotFound, CodePreconditionFailed, CodeExternalIDInUse.
func (a *Account) UpdateInstance(ctx context.Context, id domain.ID, patch domain.InstancePatch, ifVersion int64, at time.Time) (domain.Instance, error) {
	var patched domain.Instance
	patchInstance(&patched, patch)
	if err := checkInstanceTexts(&patched); err != nil {
		return domain.Instance{}, err
	}
	return change(ctx, a.s, a.wall(), func(sc scope) (domain.Instance, error) {
		row, err := lockedInstance(sc, id, ifVersion)
		if err != nil {
			return domain.Instance{}, err
		}
		before, in := row.domain(), row.domain()
		patchInstance(&in, patch)
		if !sameSettings(&before, &in) {
			in.UpdatedAt, in.Version = truncated(at), in.Version+1
			if err = saveSettings(sc, &in); err != nil {
				return domain.Instance{}, err
			}
		}
		if patch.WebhookURL == nil && patch.WebhookEvents == nil {
			return in, nil
		}
		in.OwnWebhook = patch.OwnWebhook
		err = changeOwnWebhook(sc, &in)
		in.OwnWebhook = nil
		return in, err
	})
}

func patchInstance(in *domain.Instance, p domain.InstancePatch) {
	set(&in.Name, p.Name)
	set(&in.ExternalID, p.ExternalID)
	set(&in.WebhookURL, p.WebhookURL)
	set(&in.WebhookEvents, p.WebhookEvents)
	set(&in.AutoRead, p.AutoRead)
	set(&in.AutoTyping, p.AutoTyping)
}

func sameSettings(a, b *domain.Instance) bool {
	return a.Name == b.Name && a.ExternalID == b.ExternalID && a.WebhookURL == b.WebhookURL &&
		a.WebhookEvents == b.WebhookEvents && a.AutoRead == b.AutoRead && a.AutoTyping == b.AutoTyping
}

func saveSettings(sc scope, in *domain.Instance) error {
	row := newInstanceRow(in)
	err := sc.rows(&instanceRow{}).Where(eq("id", row.ID)).Updates(map[string]any{
		"name": row.Name, "search_text": row.SearchText, "external_id": row.ExternalID, "webhook_url": row.WebhookURL,
		"webhook_events": row.WebhookEvents, "auto_read": row.AutoRead, "auto_typing": row.AutoTyping,
		"updated_at": row.Updated, "version": row.Version,
	}).Error
	if violated(err, "instances_external_id", "instances.external_id") {
		return externalIDInUse()
	}
	return err
}

// DeleteInstance removes an instance if its version is ifVersion (0 for any), and returns what it was.
// CodeInstanceNotFound, CodePreconditionFailed.
func (a *Account) DeleteInstance(ctx context.Context, id domain.ID, ifVersion int64) (domain.Instance, error) {
	return change(ctx, a.s, a.wall(), func(sc scope) (domain.Instance, error) {
		row, err := lockedToRemove(sc, id, ifVersion)
		if err != nil {
			return domain.Instance{}, err
		}
		return row.domain(), removeLocked(sc, &row)
	})
}
