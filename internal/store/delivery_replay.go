package store

import (
	"context"
	"time"

	"gorm.io/gorm"

	"github.com/pombal-api/pombal/internal/domain"
)

// replayBatch bounds the deliveries that one transaction puts back: it keeps others from the lane.
const replayBatch = 500

// Replay has a delivery tried now and, if that fails, again by the whole schedule, whatever became of it
// before. CodeWebhookNotFound, CodeWebhookDisabled, CodeDeliveryNotFound.
func (a *Account) Replay(ctx context.Context, webhook, delivery domain.ID) error {
	return a.s.write(ctx, a.wall(), func(sc scope) error {
		lane, err := activeLane(sc, webhook)
		if err != nil {
			return err
		}
		n, err := replay(sc, lane, findDelivery(sc, webhook, delivery))
		if err == nil && n == 0 {
			return domain.DeliveryNotFound()
		}
		return err
	})
}

// ReplayFailed replays what a webhook was to get since a moment and has refused, or missed while it was disabled: what is
// exhausted, and what waits after a failure. It returns how many deliveries it has put back; when it ends early, those
// remain so, and the next call goes on behind those that still wait. CodeWebhookNotFound, CodeWebhookDisabled.
func (a *Account) ReplayFailed(ctx context.Context, webhook domain.ID, since time.Time) (int, error) {
	after, err := load(ctx, a.s, a.wall(), func(sc scope) (int64, error) { return lastFailedBefore(sc, webhook, since) })
	if err != nil {
		return 0, err
	}
	for total := 0; ; {
		last := after
		n, err := change(ctx, a.s, a.wall(), func(sc scope) (n int, err error) {
			last, n, err = a.s.replaySome(sc, webhook, after)
			return n, err
		})
		total += n
		if err != nil || last == after {
			return total, err
		}
		after = last
	}
}

// lastFailedBefore returns the number of the latest failed delivery from before a moment, 0 for none. It reads those that
// came later only.
func lastFailedBefore(sc scope, webhook domain.ID, since time.Time) (int64, error) {
	var rows []deliveryRow
	err := failedOf(sc, webhook).Select("number").Where(condition{"created_at < ?", []any{millisOf(since)}}).
		Clauses(newestFirst()).Limit(1).Find(&rows).Error
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	return rows[0].Number, nil
}

// failedOf starts a statement on the deliveries of a webhook whose latest attempt failed.
func failedOf(sc scope, webhook domain.ID) *gorm.DB {
	return sc.rows(&deliveryRow{}).Where(eq("webhook_id", uid(webhook))).Where(condition{"failure IS NOT NULL", nil})
}

// replaySome replays the next failed deliveries and returns the number of the last one, after itself when there are no more.
func (s *Store) replaySome(sc scope, webhook domain.ID, after int64) (last int64, n int, err error) {
	lane, err := activeLane(sc, webhook)
	if err != nil {
		return after, 0, err
	}
	var rows []deliveryRow
	replayed := s.before("next_at", time.Millisecond) // also what was in this very millisecond
	replayed.sql = "NOT (state = 'waiting' AND manual AND " + replayed.sql + ")"
	open := func() *gorm.DB {
		return failedOf(sc, webhook).Where(in("state", []any{string(domain.DeliveryWaiting), string(domain.DeliveryExhausted)})).
			Where(replayed).Where(condition{"number > ?", []any{after}})
	}
	err = open().Select("number").Clauses(ascending("number")).Limit(replayBatch).Find(&rows).Error
	if err != nil || len(rows) == 0 {
		return after, 0, err
	}
	last = rows[len(rows)-1].Number
	n, err = replay(sc, lane, open().Where(lte("number", last)))
	return last, n, err
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

// replay makes deliveries of a locked lane due, and the lane with them, even if it was to be left alone for a while: whoever
// asks for it believes that the receiver is well. It returns how many there were.
func replay(sc scope, lane laneRow, which *gorm.DB) (int, error) {
	due := fromNow{postgres: isPostgres(sc)}
	update := which.Updates(map[string]any{"state": string(domain.DeliveryWaiting), "step": 0, "manual": true, "next_at": due})
	if update.Error != nil || update.RowsAffected == 0 {
		return 0, update.Error
	}
	if lane.Due != 0 && lane.Due <= millisOf(now()) && lane.PausedUntil == 0 {
		return int(update.RowsAffected), nil
	}
	err := sc.rows(&laneRow{}).Where(eq("webhook_id", lane.WebhookID)).
		Updates(map[string]any{"due_at": due, "paused_until": millis(0)}).Error
	return int(update.RowsAffected), err
}
