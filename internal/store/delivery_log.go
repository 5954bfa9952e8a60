package store

import (
	"cmp"
	"context"
	"slices"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/pombal-api/pombal/internal/domain"
)

// Deliveries lists what a webhook of the account was sent, or is to be sent, newest first: p.After is the last
// one already seen, p.Offset is ignored, and nothing is counted. The events come without their data.
// CodeWebhookNotFound.
func (a *Account) Deliveries(
	ctx context.Context, webhook domain.ID, p domain.PageRequest, f domain.DeliveryFilter,
) ([]domain.Delivery, domain.PageInfo, error) {
	return pageOf(ctx, a.s, a.wall(), func(sc scope) ([]domain.Delivery, domain.PageInfo, error) {
		var info domain.PageInfo
		pause, err := pauseOf(sc, webhook)
		if err != nil {
			return nil, info, err
		}
		query := filterDeliveries(sc, f)
		if p.After != nil {
			query = append(query, condition{"number < ?", []any{numberOf(p.After.ID)}})
		}
		rows, err := readLog(logParts(sc, webhook, f, query), p.Limit+1)
		if err != nil {
			return nil, info, err
		}
		info.HasMore = len(rows) > p.Limit
		rows = rows[:min(len(rows), p.Limit)]
		list, err := withEvents(sc, rows)
		for i := range list {
			pause.delays(&list[i])
		}
		if len(list) > 0 {
			last := &list[len(list)-1]
			info.Last = domain.Cursor{CreatedAt: last.CreatedAt, ID: last.ID}
		}
		return list, info, err
	})
}

// readLog returns at most limit deliveries, newest first, from the parts of a log. Each part is read in the order of an index of
// its own.
func readLog(parts []*gorm.DB, limit int) (rows []deliveryRow, err error) {
	for _, part := range parts {
		var some []deliveryRow
		if err := part.Limit(limit).Find(&some).Error; err != nil {
			return nil, err
		}
		rows = append(rows, some...)
	}
	slices.SortFunc(rows, func(a, b deliveryRow) int { return cmp.Compare(b.Number, a.Number) })
	return rows[:min(len(rows), limit)], nil
}

// logParts are where the deliveries of a webhook are that pass a filter and meet conditions.
func logParts(sc scope, webhook domain.ID, f domain.DeliveryFilter, conditions []clause.Expression) []*gorm.DB {
	whole := logOf(sc, webhook, conditions).Clauses(newestFirst())
	waiting := []*gorm.DB{newOf(sc, webhook, conditions), plannedOf(sc, webhook, conditions)}
	switch {
	case f.State == domain.DeliveryWaiting:
		return waiting
	case isPostgres(sc), f.Failed, f.State == domain.DeliveryExhausted:
		return []*gorm.DB{whole}
	}
	settled := whole.Where(condition{"state <> 'waiting'", nil}) // as deliveries_log says it
	if f.Succeeded || f.State == domain.DeliveryDelivered {
		return []*gorm.DB{settled}
	}
	return append(waiting, settled)
}

// isNew and isPlanned tell deliveries that wait for their first attempt from those that wait for another one.
var (
	isNew     = condition{"state = 'waiting' AND next_at IS NULL", nil}
	isPlanned = condition{"state = 'waiting' AND next_at IS NOT NULL", nil}
)

// newOf are the new deliveries.
func newOf(sc scope, webhook domain.ID, conditions []clause.Expression) *gorm.DB {
	order := ascending("next_at", "number")
	order.Columns[0].Desc, order.Columns[1].Desc = true, true
	return logOf(sc, webhook, conditions).Where(isNew).Clauses(order)
}

// plannedOf are the planned deliveries.
func plannedOf(sc scope, webhook domain.ID, conditions []clause.Expression) *gorm.DB {
	return logOf(sc, webhook, conditions).Where(isPlanned).Clauses(clause.OrderBy{Expression: sortedNewestFirst{}})
}

// sortedNewestFirst is newestFirst as no index has it: where little matches, planners would rather read the whole log in the
// order of the key than sort.
type sortedNewestFirst struct{}

// Build writes the clause. It is part of GORM's clause.Expression.
func (sortedNewestFirst) Build(builder clause.Builder) { _, _ = builder.WriteString("+number DESC") }

// logOf starts a statement on the deliveries of a webhook that meet conditions.
func logOf(sc scope, webhook domain.ID, conditions []clause.Expression) *gorm.DB {
	query := sc.rows(&deliveryRow{}).Select(listedDelivery()).Where(eq("webhook_id", uid(webhook)))
	for _, c := range conditions {
		query = query.Where(c)
	}
	return query
}

// newestFirst is the order of events, latest first.
func newestFirst() clause.OrderBy {
	order := ascending("number")
	order.Columns[0].Desc = true
	return order
}

// pause is until when a webhook is left alone.
type pause time.Time

// pauseOf looks for a webhook; each has a lane.
func pauseOf(sc scope, webhook domain.ID) (pause, error) {
	var row laneRow
	err := sc.rows(&row).Select("paused_until").Where(eq("webhook_id", uid(webhook))).Take(&row).Error
	return pause(row.PausedUntil.time()), orNotFound(err, domain.WebhookNotFound)
}

// delays lets a delivery that waits wait for the end of the pause.
func (p pause) delays(d *domain.Delivery) {
	if until := time.Time(p); d.State == domain.DeliveryWaiting && d.NextAt.Before(until) {
		d.NextAt = until
	}
}

// filterDeliveries returns the conditions of a filter.
func filterDeliveries(sc scope, f domain.DeliveryFilter) (query []clause.Expression) {
	if f.Failed {
		query = append(query, condition{"failure IS NOT NULL", nil})
	}
	if f.Succeeded {
		query = append(query, eq("state", string(domain.DeliveryDelivered)))
	}
	switch f.State {
	case "", domain.DeliveryWaiting: // see logParts
	case domain.DeliveryExhausted: // which has a failure always: so deliveries_failed finds the few there may be
		query = append(query, condition{"failure IS NOT NULL", nil}, eq("state", string(f.State)))
	case domain.DeliveryDelivered:
		query = append(query, eq("state", string(f.State)))
	}
	if !f.EventID.IsZero() {
		query = append(query, ofEvent(sc, f.EventID))
	}
	return query
}

// ofEvent is the condition that a delivery is of an event of the account. An event that is not there has none.
func ofEvent(sc scope, event domain.ID) clause.Expression {
	known := []any{exactID(event), uid(sc.wall.account)}
	if isPostgres(sc) {
		return condition{"number = (SELECT e.position FROM events AS e WHERE e.id = ? AND e.account_id = ?)", known}
	}
	return condition{"number BETWEEN " + firstNumberSQLite + " AND " + firstNumberSQLite + " + 63", append(known, known...)}
}

// firstNumberSQLite is the first number for deliveries of event ? of account ?; deliveriesPerEvent says how many.
const firstNumberSQLite = `64 * (SELECT e.number FROM events AS e WHERE e.id = ? AND e.account_id = ?)`

// withEvents completes deliveries with their events, without the data.
func withEvents(sc scope, rows []deliveryRow) ([]domain.Delivery, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	var events []eventRow
	err := sc.rows(&eventRow{}).Select("account_id", "position", "id", "instance_id", "sequence", "at", "type").
		Where(haveDeliveries(sc, rows...)).Find(&events).Error
	byPosition := make(map[int64]domain.Event, len(events))
	for i := range events {
		byPosition[events[i].Position] = events[i].domain()
	}
	list := make([]domain.Delivery, len(rows))
	for i := range rows {
		list[i] = rows[i].domain()
		list[i].Event = byPosition[rows[i].Position]
	}
	return list, err
}

// haveDeliveries is the condition that events are those of deliveries.
func haveDeliveries(sc scope, rows ...deliveryRow) clause.Expression {
	if isPostgres(sc) {
		return in("position", listOf(rows, func(d *deliveryRow) any { return d.Position }))
	}
	return in("number", listOf(rows, func(d *deliveryRow) any { return d.Number / deliveriesPerEvent }))
}

// Delivery returns one entry of a webhook's log with all attempts, oldest first. CodeWebhookNotFound,
// CodeDeliveryNotFound.
func (a *Account) Delivery(ctx context.Context, webhook, id domain.ID) (domain.Delivery, []domain.Attempt, error) {
	var d domain.Delivery
	var attempts []domain.Attempt
	err := a.s.snapshot(ctx, a.wall(), func(sc scope) error {
		pause, err := pauseOf(sc, webhook)
		if err != nil {
			return err
		}
		var row deliveryRow
		if err = findDelivery(sc, webhook, id).Take(&row).Error; err != nil {
			return orNotFound(err, domain.DeliveryNotFound)
		}
		var event eventRow
		err = sc.rows(&event).Where(haveDeliveries(sc, row)).Take(&event).Error
		if err != nil {
			return err
		}
		d = row.domain()
		pause.delays(&d)
		d.Event = event.domain()
		attempts, err = attemptsOf(sc, &row)
		if len(attempts) > 0 {
			d.Last = attempts[len(attempts)-1]
		}
		return err
	})
	if err != nil {
		return domain.Delivery{}, nil, err
	}
	return d, attempts, nil
}

// findDelivery starts a statement on a delivery.
func findDelivery(sc scope, webhook, id domain.ID) *gorm.DB {
	return sc.rows(&deliveryRow{}).Where(eq("webhook_id", uid(webhook))).Where(eq("number", numberIn(webhook, id))).
		Where(eq("created_at", madeAt(id)))
}

// attemptsOf returns all attempts of a delivery, oldest first. The latest one is in the delivery, unless its webhook
// was disabled after it.
func attemptsOf(sc scope, d *deliveryRow) ([]domain.Attempt, error) {
	var rows []attemptRow
	err := sc.rows(&attemptRow{}).Where(eq("webhook_id", d.WebhookID)).Where(eq("delivery", d.Number)).
		Clauses(ascending("number")).Find(&rows).Error
	attempts := listOf(rows, (*attemptRow).domain)
	if d.Attempts > len(attempts) {
		attempts = append(attempts, d.latest())
	}
	return attempts, err
}
