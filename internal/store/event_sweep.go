package store

import (
	"cmp"
	"context"
	"slices"

	"gorm.io/gorm"

	"github.com/pombal-api/pombal/internal/domain"
)

// nothingWaits is the condition that no delivery of an event waits for its next attempt. Those of a webhook that is
// gone wait for nothing.
const (
	nothingWaits = `NOT EXISTS (
    SELECT 1 FROM deliveries AS d JOIN webhooks AS w ON w.account_id = d.account_id AND w.id = d.webhook_id
    WHERE d.state = 'waiting' AND `
	nothingWaitsPostgres = nothingWaits + `d.account_id = events.account_id AND d.event_id = events.id)`
	// The signs keep SQLite from looking through the whole account instead.
	nothingWaitsSQLite = nothingWaits + `+d.account_id = events.account_id AND d.number BETWEEN 64 * events.number AND 64 * events.number + 63)`
)

// notTheLatest is the condition that an event is not the latest one of its account. Who has seen that one can still say
// so, however long nothing happens, and goes on behind it.
const notTheLatest = `events.position IS DISTINCT FROM (
    SELECT h.last FROM event_heads AS h WHERE h.account_id = events.account_id AND h.instance_id = events.account_id)`

// Deliveries go first: one that is replayed at the same time stays, and so does its event.
const (
	dropDeliveriesPostgres = `
DELETE FROM deliveries WHERE account_id = $1 AND event_id = ANY ($2)
    AND (state <> 'waiting' OR NOT EXISTS (SELECT FROM webhooks AS w WHERE w.account_id = $1 AND w.id = deliveries.webhook_id))`
	dropEventsPostgres = `
DELETE FROM events WHERE account_id = $1 AND position = ANY ($2)
    AND NOT EXISTS (SELECT FROM deliveries AS d WHERE d.account_id = $1 AND d.event_id = events.id)`

	dropEventSQLite = `DELETE FROM events WHERE id = ?2 AND account_id = ?1`
)

// eventBatch is small, as each event may take many deliveries and attempts with it.
const eventBatch = 100

// sweepEvents removes the events of before a time, except those that wait to be delivered and the latest of each
// account.
func (s *Store) sweepEvents(ctx context.Context, before millis) (removed int, err error) {
	var from, last exactID // what stays is looked at once, not in each batch again
	for {
		n, err := change(ctx, s, wall{pass: passSweep}, func(sc scope) (int, error) {
			var rows []eventRow
			if err := sweepable(sc, from, before).Limit(eventBatch).Find(&rows).Error; err != nil || len(rows) == 0 {
				return 0, err
			}
			last = exactID(rows[len(rows)-1].ID)
			return dropEvents(sc, rows)
		})
		removed += n
		if err != nil || n == 0 {
			return removed, err
		}
		from = last
	}
}

// sweepable are the events from before a time that are to be removed, after one of them, oldest first.
func sweepable(sc scope, after exactID, before millis) *gorm.DB {
	query := sc.all(&eventRow{}).Select("account_id", "position", "id").Where(condition{"id > ? AND id < ?", []any{after, firstID(before)}})
	if isPostgres(sc) {
		query = query.Where(condition{nothingWaitsPostgres, nil})
	} else {
		query = query.Where(condition{nothingWaitsSQLite, nil})
	}
	return query.Where(condition{notTheLatest, nil}).Clauses(ascending("id"))
}

// dropEvents removes events account by account, and returns how many were there.
func dropEvents(sc scope, rows []eventRow) (n int, err error) {
	byAccount := map[domain.ID][]eventRow{}
	for _, r := range rows {
		byAccount[domain.ID(r.AccountID)] = append(byAccount[domain.ID(r.AccountID)], r)
	}
	accounts := make([]domain.ID, 0, len(byAccount))
	for id := range byAccount {
		accounts = append(accounts, id)
	}
	slices.SortFunc(accounts, compareIDs)
	for _, id := range accounts {
		slices.SortFunc(byAccount[id], func(a, b eventRow) int { return cmp.Compare(a.Position, b.Position) })
		some, err := dropEventsOf(sc.with(wall{account: id}), byAccount[id])
		if err != nil {
			return 0, err
		}
		n += some
	}
	return n, nil
}

// dropEventsOf removes events of the account that sc is bound to, with their deliveries.
func dropEventsOf(sc scope, rows []eventRow) (n int, err error) {
	if isPostgres(sc) {
		if err := execByHand(sc, dropDeliveriesPostgres, uidArray(listOf(rows, func(r *eventRow) uid { return r.ID }))); err != nil {
			return 0, err
		}
		some, err := countByHand(sc, dropEventsPostgres, listOf(rows, func(r *eventRow) int64 { return r.Position }))
		return int(some), err
	}
	for _, r := range rows {
		if err := sc.rows(&deliveryRow{}).Where(ofEvent(sc, domain.ID(r.ID))).Delete(&deliveryRow{}).Error; err != nil {
			return 0, err
		}
		some, err := countByHand(sc, dropEventSQLite, exactID(r.ID))
		if err != nil {
			return 0, err
		}
		n += int(some)
	}
	return n, nil
}

// sweepDisabled ends what waits for disabled webhooks, where the one who disabled them could not finish.
func (s *Store) sweepDisabled(ctx context.Context) error {
	const somethingWaits = `EXISTS (
    SELECT 1 FROM deliveries AS d WHERE d.account_id = webhooks.account_id AND d.webhook_id = webhooks.id AND d.state = 'waiting')`
	hooks, err := load(ctx, s, wall{pass: passSweep}, func(sc scope) (rows []webhookRow, err error) {
		query := sc.all(&webhookRow{}).Select("account_id", "id").Where(eq("status", string(domain.WebhookDisabled)))
		return rows, query.Where(condition{somethingWaits, nil}).Find(&rows).Error
	})
	for i := 0; i < len(hooks) && err == nil; i++ {
		err = s.exhaust(ctx, domain.ID(hooks[i].AccountID), domain.ID(hooks[i].ID))
	}
	return err
}
