package store

import (
	"context"
	"errors"
	"time"

	"gorm.io/gorm"

	"github.com/pombal-api/pombal/internal/domain"
)

// DisableWebhook ends what a webhook gets, and tells the account. What waits for it becomes exhausted.
// domain.ErrLeaseLost when another worker has the lane, or nobody: it may lead somewhere else by now. CodeWebhookNotFound.
func (s *Store) DisableWebhook(ctx context.Context, d domain.DisableWebhook) error {
	err := s.write(ctx, wall{account: d.Lane.Account}, func(sc scope) error {
		lane, row, err := lockedWebhook(sc, d.Lane.Webhook)
		if err != nil {
			return err
		}
		if d.Lane.Epoch != lane.Epoch {
			return domain.ErrLeaseLost
		}
		before, w := row.domain(), row.domain()
		if w.Status == domain.WebhookDisabled {
			return nil
		}
		w.Status, w.DisabledReason = domain.WebhookDisabled, d.Reason
		w.UpdatedAt, w.Version = truncated(d.At), w.Version+1
		if err := saveWebhook(sc, &lane, &before, &w); err != nil {
			return err
		}
		return publish(sc, []domain.Event{webhookEvent(domain.EventWebhookDisabled, &w, d.Reason, d.At)})
	})
	if err != nil {
		return marked(err)
	}
	return marked(s.exhaust(ctx, d.Lane.Account, d.Lane.Webhook))
}

// WarnWebhook tells the account that a webhook accepts nothing, if that is still so, and if nobody else has told since
// w was read.
func (s *Store) WarnWebhook(ctx context.Context, w domain.FailingWebhook, at time.Time) error {
	return marked(s.write(ctx, wall{account: w.AccountID}, func(sc scope) error {
		_, row, err := lockedWebhook(sc, w.ID)
		if domain.CodeOf(err) == domain.CodeWebhookNotFound {
			return nil
		}
		if err != nil {
			return err
		}
		hook := row.domain()
		if hook.Status != domain.WebhookActive || row.Warnings != w.Warnings || row.FailingSince != millisOf(w.Since) {
			return nil
		}
		err = sc.rows(&webhookRow{}).Where(eq("id", row.ID)).Updates(map[string]any{"warnings": row.Warnings + 1}).Error
		if err != nil {
			return err
		}
		return publish(sc, []domain.Event{webhookEvent(domain.EventWebhookFailing, &hook, domain.DisabledByFailing, at)})
	}))
}

// exhaustSQL takes the oldest deliveries first. Only while their webhook is disabled: it may be active again. Their
// latest attempts, whose failures are overwritten, are kept before.
const (
	exhaustSQL = `
UPDATE deliveries SET state = 'exhausted', failure = 'webhook_disabled', next_at = NULL
WHERE account_id = $1 AND webhook_id = $2 AND number IN (SELECT d.number` + exhaustible + `)`

	keepAttemptsSQL = `
INSERT INTO delivery_attempts (account_id, webhook_id, delivery, number, at, took_ms, status_code, manual, failure, response)
SELECT account_id, webhook_id, number, attempts, tried_at, took_ms, status_code, tried_manual, failure, response
FROM (SELECT d.*` + exhaustible + `) AS d WHERE attempts > 0 ON CONFLICT DO NOTHING`

	exhaustible = `
    FROM deliveries AS d JOIN webhooks AS w ON w.account_id = d.account_id AND w.id = d.webhook_id
    WHERE d.account_id = $1 AND d.webhook_id = $2 AND d.state = 'waiting' AND w.status = 'disabled'
    ORDER BY d.next_at, d.number LIMIT $3`
)

// exhaust ends what waits for a disabled webhook, in small transactions: there may be very much. The sweep goes on
// where this stops.
func (s *Store) exhaust(ctx context.Context, account, webhook domain.ID) error {
	for {
		n, err := change(ctx, s, wall{account: account}, func(sc scope) (int64, error) {
			var lane laneRow // whoever makes the webhook active again has it locked
			err := sc.rows(&lane).Where(eq("webhook_id", uid(webhook))).Clauses(forUpdate()).Take(&lane).Error
			if errors.Is(err, gorm.ErrRecordNotFound) {
				return 0, nil
			}
			if err != nil {
				return 0, err
			}
			if err = execByHand(sc, numbered(sc, keepAttemptsSQL), uid(webhook), sweepBatch); err != nil {
				return 0, err
			}
			return countByHand(sc, numbered(sc, exhaustSQL), uid(webhook), sweepBatch)
		})
		if err != nil || n < sweepBatch {
			return err
		}
	}
}
