package store

import (
	"context"

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
		if err := findLane(sc, webhook); err != nil {
			return nil, info, err
		}
		query, found, err := filterDeliveries(sc, f)
		if err != nil || !found {
			return nil, info, err
		}
		if p.After != nil {
			query = append(query, condition{"id < ?", []any{exactID(p.After.ID)}})
		}
		var rows []deliveryRow
		if err = logOf(sc, webhook, query).Limit(p.Limit + 1).Find(&rows).Error; err != nil {
			return nil, info, err
		}
		info.HasMore = len(rows) > p.Limit
		rows = rows[:min(len(rows), p.Limit)]
		list, err := withEvents(sc, rows)
		if len(list) > 0 {
			last := &list[len(list)-1]
			info.Last = domain.Cursor{CreatedAt: last.CreatedAt, ID: last.ID}
		}
		return list, info, err
	})
}

// logOf are the deliveries of a webhook that meet conditions, newest first.
func logOf(sc scope, webhook domain.ID, conditions []clause.Expression) *gorm.DB {
	query := sc.rows(&deliveryRow{}).Select(listedDelivery()).Where(eq("webhook_id", uid(webhook)))
	for _, c := range conditions {
		query = query.Where(c)
	}
	return query.Clauses(newestFirst())
}

// newestFirst is the order of creation, in which ids grow.
func newestFirst() clause.OrderBy {
	order := ascending("id")
	order.Columns[0].Desc = true
	return order
}

// findLane looks for a webhook; each has a lane.
func findLane(sc scope, webhook domain.ID) error {
	var row laneRow
	err := sc.rows(&row).Select("webhook_id").Where(eq("webhook_id", uid(webhook))).Take(&row).Error
	return orNotFound(err, domain.WebhookNotFound)
}

// filterDeliveries returns the conditions of a filter; found is false when nothing can match them.
func filterDeliveries(sc scope, f domain.DeliveryFilter) (query []clause.Expression, found bool, err error) {
	if f.Failed {
		query = append(query, condition{"failure IS NOT NULL", nil})
	}
	if f.Succeeded {
		query = append(query, eq("state", string(domain.DeliveryDelivered)))
	}
	switch f.State {
	case "":
	case domain.DeliveryWaiting: // as the partial index deliveries_waiting says it
		query = append(query, condition{"state = 'waiting'", nil})
	case domain.DeliveryExhausted: // which has a failure always: so deliveries_failed finds the few there may be
		query = append(query, condition{"failure IS NOT NULL", nil}, eq("state", string(f.State)))
	case domain.DeliveryDelivered:
		query = append(query, eq("state", string(f.State)))
	}
	if !f.EventID.IsZero() {
		var events []eventRow
		err := sc.rows(&eventRow{}).Select("position").Where(eq("id", uid(f.EventID))).Find(&events).Error
		if err != nil || len(events) == 0 {
			return nil, false, err
		}
		query = append(query, eq("position", events[0].Position))
	}
	return query, true, nil
}

// withEvents completes deliveries with their events, without the data.
func withEvents(sc scope, rows []deliveryRow) ([]domain.Delivery, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	list, positions := make([]domain.Delivery, len(rows)), make([]any, len(rows))
	for i := range rows {
		list[i], positions[i] = rows[i].domain(), rows[i].Position
	}
	var events []eventRow
	err := sc.rows(&eventRow{}).Select("account_id", "position", "id", "instance_id", "sequence", "at", "type").
		Where(in("position", positions)).Find(&events).Error
	byPosition := make(map[int64]domain.Event, len(events))
	for i := range events {
		byPosition[events[i].Position] = events[i].domain()
	}
	for i := range list {
		list[i].Event = byPosition[rows[i].Position]
	}
	return list, err
}

// Delivery returns one entry of a webhook's log with all attempts, oldest first. CodeWebhookNotFound,
// CodeDeliveryNotFound.
func (a *Account) Delivery(ctx context.Context, webhook, id domain.ID) (domain.Delivery, []domain.Attempt, error) {
	var d domain.Delivery
	var attempts []domain.Attempt
	err := a.s.snapshot(ctx, a.wall(), func(sc scope) error {
		if err := findLane(sc, webhook); err != nil {
			return err
		}
		var row deliveryRow
		err := sc.rows(&row).Where(eq("id", uid(id))).Where(eq("webhook_id", uid(webhook))).Take(&row).Error
		if err != nil {
			return orNotFound(err, domain.DeliveryNotFound)
		}
		var event eventRow
		if err = sc.rows(&event).Where(eq("position", row.Position)).Take(&event).Error; err != nil {
			return err
		}
		d = row.domain()
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

// attemptsOf returns all attempts of a delivery, oldest first. The latest one is in the delivery, unless its webhook
// was disabled after it.
func attemptsOf(sc scope, d *deliveryRow) ([]domain.Attempt, error) {
	var rows []attemptRow
	err := sc.rows(&attemptRow{}).Where(eq("webhook_id", d.WebhookID)).Where(eq("delivery_id", d.ID)).
		Clauses(ascending("number")).Find(&rows).Error
	attempts := listOf(rows, (*attemptRow).domain)
	if d.Attempts > len(attempts) {
		attempts = append(attempts, d.latest())
	}
	return attempts, err
}
