package store

import (
	"context"
	"time"

	"gorm.io/gorm/clause"

	"github.com/pombal-api/pombal/internal/domain"
)

// replayBatch bounds the deliveries that one transaction puts back: it keeps others from the lane.
const replayBatch = 500

// Replay has a delivery tried now and, if that fails, again by the whole schedule, whatever became of it
// before. CodeWebhookNotFound, CodeWebhookDisabled, CodeDeliveryNotFound.
func (a *Account) Replay(ctx context.Context, webhook, delivery domain.ID, at time.Time) error {
	return a.s.write(ctx, a.wall(), func(sc scope) error {
		lane, err := activeLane(sc, webhook)
		if err != nil {
			return err
		}
		n, err := replay(sc, lane, at, eq("id", uid(delivery)))
		if err == nil && n == 0 {
			return domain.DeliveryNotFound()
		}
		return err
	})
}

// ReplayFailed replays what a webhook was to get since a moment and has refused: what is exhausted, and what
// waits after a failure. It returns how many deliveries there are; when it ends early, those that were put back
// remain so. CodeWebhookNotFound, CodeWebhookDisabled.
func (a *Account) ReplayFailed(ctx context.Context, webhook domain.ID, since, at time.Time) (int, error) {
	total := 0
	from := condition{"id >= ?", []any{firstDeliveryID(since)}}
	for {
		var last *deliveryRow
		n, err := change(ctx, a.s, a.wall(), func(sc scope) (n int, err error) {
			last, n, err = a.s.replayBatch(sc, webhook, from, at)
			return n, err
		})
		total += n
		if err != nil || last == nil {
			return total, err
		}
		from = condition{"id > ?", []any{exactID(last.ID)}}
	}
}

// firstDeliveryID comes before the ids of all deliveries that were made at a moment or later.
func firstDeliveryID(at time.Time) (first exactID) {
	if millisOf(at) > 0 {
		id := domain.NewID(at)
		copy(first[:6], id[:])
	}
	return first
}

// replayBatch replays the next failed deliveries and returns the last one, nil when there are no more.
func (s *Store) replayBatch(sc scope, webhook domain.ID, from condition, at time.Time) (*deliveryRow, int, error) {
	lane, err := activeLane(sc, webhook)
	if err != nil {
		return nil, 0, err
	}
	var rows []deliveryRow
	open := in("state", []any{string(domain.DeliveryWaiting), string(domain.DeliveryExhausted)})
	err = sc.rows(&deliveryRow{}).Select("id").Where(eq("webhook_id", lane.WebhookID)).
		Where(condition{"failure IS NOT NULL", nil}).Where(open).Where(from).
		Clauses(ascending("id")).Limit(replayBatch).Find(&rows).Error
	if err != nil || len(rows) == 0 {
		return nil, 0, err
	}
	n, err := replay(sc, lane, at, s.idAmong(listOf(rows, func(r *deliveryRow) uid { return r.ID })))
	return &rows[len(rows)-1], n, err
}

// idAmong is the condition that an id is one of the list.
func (s *Store) idAmong(ids uidArray) clause.Expression {
	if s.pool != nil {
		return condition{"id = ANY(?)", []any{ids}}
	}
	values := make([]any, len(ids))
	for i, id := range ids {
		values[i] = id
	}
	return in("id", values)
}

// activeLane locks the lane of an active webhook: nobody settles, gives it back, disables it or makes something
// due meanwhile.
func activeLane(sc scope, webhook domain.ID) (row laneRow, err error) {
	err = sc.rows(&row).Where(eq("webhook_id", uid(webhook))).Clauses(forUpdate()).Take(&row).Error
	if err != nil {
		return row, orNotFound(err, domain.WebhookNotFound)
	}
	hook, err := boundWebhook(sc, webhook)
	if err == nil && hook.Status != string(domain.WebhookActive) {
		err = domain.NewError(domain.CodeWebhookDisabled, "The webhook is disabled. Set its status to active before you replay anything.")
	}
	return row, err
}

// replay makes deliveries of a locked lane due, and the lane with them. It returns how many there were.
func replay(sc scope, lane laneRow, at time.Time, which clause.Expression) (int, error) {
	update := sc.rows(&deliveryRow{}).Where(eq("webhook_id", lane.WebhookID)).Where(which).Updates(map[string]any{
		"state": string(domain.DeliveryWaiting), "step": 0, "manual": true, "next_at": millisOf(at),
	})
	if update.Error != nil || update.RowsAffected == 0 {
		return 0, update.Error
	}
	if lane.Due != 0 && lane.Due <= millisOf(at) {
		return int(update.RowsAffected), nil
	}
	err := sc.rows(&laneRow{}).Where(eq("webhook_id", lane.WebhookID)).Updates(map[string]any{"due_at": millisOf(at)}).Error
	return int(update.RowsAffected), err
}
