package store

import (
	"cmp"
	"context"
	"errors"
	"time"

	"gorm.io/gorm"

	"github.com/pombal-api/pombal/internal/domain"
)

// Who changes webhooks holds the account's events (lockEvents), then the webhooks, then their lanes: so a
// publication sees webhooks as they are, and a worker settles before or after the change.

// Webhook returns a webhook. CodeWebhookNotFound when the account has none with the id.
func (a *Account) Webhook(ctx context.Context, id domain.ID) (domain.Webhook, error) {
	return load(ctx, a.s, a.wall(), func(sc scope) (domain.Webhook, error) {
		row, err := boundWebhook(sc, id)
		return row.domain(), err
	})
}

// boundWebhook reads a webhook of the account that sc is bound to.
func boundWebhook(sc scope, id domain.ID) (row webhookRow, err error) {
	query := sc.rows(&row).Where(eq("id", uid(id)))
	return row, orNotFound(query.Take(&row).Error, domain.WebhookNotFound)
}

// Webhooks lists the webhooks, those of instances too, oldest first.
func (a *Account) Webhooks(ctx context.Context, p domain.PageRequest) ([]domain.Webhook, domain.PageInfo, error) {
	position := func(r *webhookRow) domain.Cursor {
		return domain.Cursor{CreatedAt: r.Created.time(), ID: domain.ID(r.ID)}
	}
	return pageOf(ctx, a.s, a.wall(), func(sc scope) ([]domain.Webhook, domain.PageInfo, error) {
		rows, info, err := readPage(sc, webhookRow{}, p, position)
		return listOf(rows, (*webhookRow).domain), info, err
	})
}

// CreateWebhook adds a webhook to the account. It fills in the account and, where they are zero, the id, the times,
// the version, the status and the timeout. CodeWebhookLimitReached when the account has domain.MaxWebhooks,
// CodeInstanceNotFound. When the id exists already, a crash came before anybody saw that webhook's
// secret: the new secret replaces it, and *w becomes the existing webhook.
func (a *Account) CreateWebhook(ctx context.Context, w *domain.Webhook) error {
	w.AccountID, w.OfInstance = a.id, false
	if err := completeWebhook(w); err != nil {
		return err
	}
	return a.s.write(ctx, a.wall(), func(sc scope) error {
		if err := lockTarget(sc, w.InstanceID); err != nil {
			return err
		}
		var n int64
		if err := sc.rows(&webhookRow{}).Where(eq("of_instance", false)).Select(countOfRows).Find(&n).Error; err != nil {
			return err
		}
		lane, existing, err := lockedWebhook(sc, w.ID)
		switch {
		case err == nil:
			existing.Secret = w.Secret
			*w = existing.domain()
			err = sc.rows(&webhookRow{}).Where(eq("id", existing.ID)).Updates(map[string]any{"secret_sealed": existing.Secret}).Error
			if err != nil {
				return err
			}
			return renewLane(sc, &lane, lane.trouble())
		case domain.CodeOf(err) != domain.CodeWebhookNotFound:
			return err
		case n >= domain.MaxWebhooks:
			return domain.NewError(domain.CodeWebhookLimitReached,
				"The account has as many webhooks as it may have. Delete one that is not needed, or change one of them.")
		}
		return insertWebhook(sc, w)
	})
}

// completeWebhook fills in what is open and refuses what cannot be stored.
func completeWebhook(w *domain.Webhook) error {
	if w.CreatedAt.IsZero() {
		w.CreatedAt = now()
	}
	if w.UpdatedAt.IsZero() {
		w.UpdatedAt = w.CreatedAt
	}
	if w.ID.IsZero() {
		w.ID = domain.NewID(w.CreatedAt)
	}
	w.CreatedAt, w.UpdatedAt = truncated(w.CreatedAt), truncated(w.UpdatedAt)
	w.PreviousSecretExpiresAt, w.FailingSince = truncated(w.PreviousSecretExpiresAt), truncated(w.FailingSince)
	w.Version = cmp.Or(w.Version, 1)
	w.Status = cmp.Or(w.Status, domain.WebhookActive)
	w.Timeout = cmp.Or(w.Timeout, domain.MinWebhookTimeout)
	return checkWebhookTexts(w)
}

func checkWebhookTexts(w *domain.Webhook) error {
	var t texts
	t.check("name", w.Name)
	t.checkLong("url", w.URL)
	return t.err()
}

// lockTarget locks the instance that a webhook is to be bound to, if any, and the account's events.
func lockTarget(sc scope, instance domain.ID) error {
	if !instance.IsZero() {
		if _, err := lockedInstance(sc, instance, 0); err != nil {
			return err
		}
	}
	return lockEvents(sc)
}

// insertWebhook adds the row and its lane.
func insertWebhook(sc scope, w *domain.Webhook) error {
	row := newWebhookRow(w)
	if err := noAccount(sc.all(&webhookRow{}).Create(&row).Error); err != nil {
		return err
	}
	return sc.all(&laneRow{}).Create(&laneRow{AccountID: row.AccountID, WebhookID: row.ID}).Error
}

// lockedWebhook locks the account's events, a webhook and its lane.
func lockedWebhook(sc scope, id domain.ID) (lane laneRow, row webhookRow, err error) {
	if err = orWebhookNotFound(lockEvents(sc)); err != nil {
		return lane, row, err
	}
	query := sc.rows(&row).Where(eq("id", uid(id))).Clauses(forUpdate())
	if err = orNotFound(query.Take(&row).Error, domain.WebhookNotFound); err != nil {
		return lane, row, err
	}
	return lane, row, sc.rows(&lane).Where(eq("webhook_id", uid(id))).Clauses(forUpdate()).Take(&lane).Error
}

// orWebhookNotFound hides that not even the account exists.
func orWebhookNotFound(err error) error {
	if domain.CodeOf(err) == domain.CodeAccountNotFound {
		return domain.WebhookNotFound()
	}
	return err
}

// lockWebhooksOf takes what workers and publishers need of an instance's webhooks, until the transaction ends.
func lockWebhooksOf(sc scope, instance domain.ID) error {
	if err := lockEvents(sc); err != nil {
		return err
	}
	var hooks []webhookRow
	query := sc.rows(&webhookRow{}).Select("id").Where(eq("instance_id", uid(instance)))
	err := query.Clauses(ascending("id"), forUpdate()).Find(&hooks).Error
	if err != nil || len(hooks) == 0 {
		return err
	}
	ids := listOf(hooks, func(r *webhookRow) any { return r.ID })
	var lanes []laneRow
	return sc.rows(&laneRow{}).Where(in("webhook_id", ids)).Clauses(ascending("webhook_id"), forUpdate()).Find(&lanes).Error
}

// UpdateWebhook changes what callers may change, if the version is ifVersion (0 for any). A patch that changes
// nothing is no change. CodeWebhookNotFound, CodePreconditionFailed, CodeInstanceNotFound; CodeWebhookOfInstance
// for what follows the webhook's instance.
func (a *Account) UpdateWebhook(ctx context.Context, id domain.ID, patch domain.WebhookPatch, ifVersion int64, at time.Time) (domain.Webhook, error) {
	var patched domain.Webhook
	patchWebhook(&patched, patch)
	if err := checkWebhookTexts(&patched); err != nil {
		return domain.Webhook{}, err
	}
	w, err := change(ctx, a.s, a.wall(), func(sc scope) (domain.Webhook, error) {
		if err := lockTarget(sc, patched.InstanceID); err != nil {
			return domain.Webhook{}, orWebhookNotFound(err)
		}
		lane, row, err := lockedWebhook(sc, id)
		if err != nil {
			return domain.Webhook{}, err
		}
		before, w := row.domain(), row.domain()
		patchWebhook(&w, patch)
		switch {
		case ifVersion != 0 && ifVersion != w.Version:
			return w, changedSince("webhook")
		case sameWebhook(&before, &w):
			return w, nil
		case w.OfInstance && (w.URL != before.URL || w.Events != before.Events || w.InstanceID != before.InstanceID):
			return w, ofInstanceOnly()
		}
		w.UpdatedAt, w.Version = truncated(at), w.Version+1
		return w, saveWebhook(sc, &lane, &before, &w)
	})
	if err == nil && w.Status == domain.WebhookDisabled {
		_ = a.s.exhaust(ctx, a.id, id) // the change is made, and the sweep does what remains
	}
	return w, err
}

func ofInstanceOnly() *domain.Error {
	return domain.NewError(domain.CodeWebhookOfInstance,
		"This webhook is the instance's own. Change webhookUrl and webhookEvents of the instance instead; clear webhookUrl to remove it.")
}

func patchWebhook(w *domain.Webhook, p domain.WebhookPatch) {
	set(&w.Name, p.Name)
	if p.URL != nil && *p.URL != w.URL { // another receiver, which did not fail
		w.URL, w.FailingSince = *p.URL, time.Time{}
	}
	set(&w.InstanceID, p.InstanceID)
	set(&w.Events, p.Events)
	set(&w.Timeout, p.Timeout)
	if p.Status == nil {
		return
	}
	switch {
	case *p.Status == domain.WebhookActive:
		w.Status, w.DisabledReason, w.FailingSince = domain.WebhookActive, "", time.Time{}
	case w.Status != *p.Status:
		w.Status, w.DisabledReason = domain.WebhookDisabled, domain.DisabledByOwner
	}
}

func sameWebhook(a, b *domain.Webhook) bool {
	return a.Name == b.Name && a.URL == b.URL && a.InstanceID == b.InstanceID && a.Events == b.Events &&
		a.Timeout == b.Timeout && a.Status == b.Status && a.FailingSince.Equal(b.FailingSince)
}

// saveWebhook writes what can change of a webhook that is locked with its lane.
func saveWebhook(sc scope, lane *laneRow, before, w *domain.Webhook) error {
	row := newWebhookRow(w)
	columns := map[string]any{
		"name": row.Name, "url": row.URL, "instance_id": row.InstanceID, "events": row.Events, "timeout_ms": row.TimeoutMS,
		"status": row.Status, "disabled_reason": row.DisabledReason, "failing_since": row.FailingSince,
		"updated_at": row.Updated, "version": row.Version,
	}
	if w.FailingSince.IsZero() {
		columns["warnings"] = 0
	}
	if err := sc.rows(&webhookRow{}).Where(eq("id", row.ID)).Updates(columns).Error; err != nil {
		return err
	}
	switch {
	case w.Status == domain.WebhookDisabled && before.Status != w.Status:
		return takeLane(sc, lane, laneState{})
	case w.Status == domain.WebhookDisabled: // nothing of it is to be tried
		return nil
	case w.URL != before.URL, w.FailingSince.IsZero() && (!before.FailingSince.IsZero() || before.Status != w.Status):
		return renewLane(sc, lane, laneState{})
	}
	return nil
}

// laneState is what takeLane makes of a lane; its zero value leaves nothing to do in it.
type laneState struct {
	due, pausedUntil millis
	failures         int
}

// trouble is what a lane has had with its receiver.
func (r *laneRow) trouble() laneState {
	return laneState{pausedUntil: r.PausedUntil, failures: r.Failures}
}

// takeLane takes a locked lane from its worker, which is told. What the worker is trying, it tries in vain: its webhook
// was another one.
func takeLane(sc scope, lane *laneRow, to laneState) error {
	return sc.rows(&laneRow{}).Where(eq("webhook_id", lane.WebhookID)).Updates(map[string]any{
		"worker_id": uid{}, "epoch": sc.news.take(lane), "due_at": to.due, "lease_until": millis(0),
		"paused_until": to.pausedUntil, "failures": to.failures,
	}).Error
}

// renewLane takes the lane of a webhook that has changed from its worker, for the next one to see it as it is now. It is
// to be looked at if anything waits in it.
func renewLane(sc scope, lane *laneRow, to laneState) error {
	first, err := firstWaiting(sc, domain.ID(lane.WebhookID))
	if err != nil {
		return err
	}
	if first != nil {
		to.due = nextAttempt(first.State, first.Next, first.Created)
	}
	return takeLane(sc, lane, to)
}

// firstWaiting returns a delivery of a webhook that waits: one that is new, or else the one that is planned next; nil for none.
func firstWaiting(sc scope, id domain.ID) (*deliveryRow, error) {
	for _, which := range []condition{isNew, isPlanned} {
		var rows []deliveryRow
		err := sc.rows(&deliveryRow{}).Select("state", "next_at", "created_at").Where(eq("webhook_id", uid(id))).
			Where(which).Clauses(ascending("next_at", "number")).Limit(1).Find(&rows).Error
		if err != nil {
			return nil, err
		}
		if len(rows) > 0 {
			return &rows[0], nil
		}
	}
	return nil, nil
}

// DeleteWebhook removes a webhook. Its log goes with the events. CodeWebhookNotFound, CodeWebhookOfInstance.
func (a *Account) DeleteWebhook(ctx context.Context, id domain.ID) error {
	return a.s.write(ctx, a.wall(), func(sc scope) error {
		lane, row, err := lockedWebhook(sc, id)
		if err != nil {
			return err
		}
		if row.OfInstance {
			return ofInstanceOnly()
		}
		return removeWebhook(sc, &lane)
	})
}

// removeWebhook removes a locked webhook, and its lane with it.
func removeWebhook(sc scope, lane *laneRow) error {
	sc.news.take(lane)
	return sc.rows(&webhookRow{}).Where(eq("id", lane.WebhookID)).Delete(&webhookRow{}).Error
}

// RotateWebhookSecret gives a webhook a new secret; the old one goes on signing until the rotation's end, nothing
// before it does. Repeated with the same request, it replaces the new secret and leaves the old one alone.
// CodeWebhookNotFound.
func (a *Account) RotateWebhookSecret(ctx context.Context, id domain.ID, r domain.SecretRotation) (domain.Webhook, error) {
	return change(ctx, a.s, a.wall(), func(sc scope) (domain.Webhook, error) {
		lane, row, err := lockedWebhook(sc, id)
		if err != nil {
			return domain.Webhook{}, err
		}
		if r.Request.IsZero() || row.RotationRequest != uid(r.Request) {
			row.PreviousSecret, row.PreviousExpires = row.Secret, millisOf(r.Until)
			row.RotationRequest = uid(r.Request)
		}
		if !r.Until.After(r.At) {
			row.PreviousSecret, row.PreviousExpires = nil, 0
		}
		row.Secret, row.Updated, row.Version = r.Secret, millisOf(r.At), row.Version+1
		err = sc.rows(&webhookRow{}).Where(eq("id", row.ID)).Updates(map[string]any{
			"secret_sealed": row.Secret, "previous_secret_sealed": row.PreviousSecret,
			"previous_secret_expires_at": row.PreviousExpires, "rotation_request": row.RotationRequest,
			"updated_at": row.Updated, "version": row.Version,
		}).Error
		if err != nil {
			return domain.Webhook{}, err
		}
		return row.domain(), renewLane(sc, &lane, lane.trouble())
	})
}

// ownWebhook returns the webhook that is the instance's own. gorm.ErrRecordNotFound.
func ownWebhook(sc scope, instance domain.ID) (row webhookRow, err error) {
	err = sc.rows(&row).Where(eq("instance_id", uid(instance))).Where(condition{"of_instance", nil}).Take(&row).Error
	return row, err
}

// createOwnWebhook makes the webhook of a new instance that has a URL.
func createOwnWebhook(sc scope, in *domain.Instance) error {
	if in.OwnWebhook == nil || in.WebhookURL == "" {
		return nil
	}
	w := *in.OwnWebhook
	w.AccountID, w.InstanceID, w.OfInstance = in.AccountID, in.ID, true
	w.URL, w.Events, w.CreatedAt = in.WebhookURL, in.WebhookEvents, in.UpdatedAt
	if err := completeWebhook(&w); err != nil {
		return err
	}
	return insertWebhook(sc, &w)
}

// changeOwnWebhook makes the webhook of an instance that is locked follow it.
func changeOwnWebhook(sc scope, in *domain.Instance) error {
	row, err := ownWebhook(sc, in.ID)
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return createOwnWebhook(sc, in)
	}
	if err != nil {
		return err
	}
	lane, row, err := lockedWebhook(sc, domain.ID(row.ID))
	if err != nil {
		return err
	}
	if in.WebhookURL == "" {
		return removeWebhook(sc, &lane)
	}
	before, w := row.domain(), row.domain()
	patch := domain.WebhookPatch{URL: &in.WebhookURL, Events: &in.WebhookEvents}
	if w.URL != in.WebhookURL && w.DisabledReason != domain.DisabledByOwner {
		patch.Status = new(domain.WebhookActive)
	}
	patchWebhook(&w, patch)
	if sameWebhook(&before, &w) {
		return nil
	}
	w.UpdatedAt, w.Version = in.UpdatedAt, w.Version+1
	return saveWebhook(sc, &lane, &before, &w)
}
