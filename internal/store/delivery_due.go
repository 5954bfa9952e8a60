package store

import (
	"context"
	"encoding/json"

	"github.com/pombal-api/pombal/internal/domain"
)

// dueColumns are what scanDue reads, of a delivery d and its event e.
const dueColumns = `d.account_id, d.webhook_id, d.number, d.position, d.attempts, d.step, d.manual, d.next_at, d.created_at,
    d.tried_at, d.took_ms, d.status_code, d.failure, e.id, e.instance_id, e.sequence, e.at, e.type, e.data`

// dueDeliveries reads of each lane what is planned and what is new in the order of an index, and each event by its key: the
// limits within keep PostgreSQL from reading a whole table when it knows little about it. $4 has the numbers to leave
// out, lane by lane.
var dueDeliveries = everywhere{
	postgres: `
SELECT ` + dueColumns + `
FROM unnest($1::uuid[], $2::uuid[], $3::int[], $5::int[], $6::int[]) WITH ORDINALITY
    AS l (account_id, webhook_id, n, first, last, place)
CROSS JOIN LATERAL (
    SELECT * FROM (
        (SELECT * FROM deliveries AS d
        WHERE d.account_id = l.account_id AND d.webhook_id = l.webhook_id AND d.state = 'waiting' AND d.next_at <= statement_timestamp()
            AND d.number <> ALL (($4::bigint[])[l.first:l.last])
        ORDER BY d.next_at, d.number LIMIT l.n)
        UNION ALL
        (SELECT * FROM deliveries AS d
        WHERE d.account_id = l.account_id AND d.webhook_id = l.webhook_id AND d.state = 'waiting' AND d.next_at IS NULL
            AND d.number <> ALL (($4::bigint[])[l.first:l.last])
        ORDER BY d.next_at, d.number LIMIT l.n)
    ) AS d ORDER BY coalesce(d.next_at, d.created_at), d.number LIMIT l.n
) AS d
CROSS JOIN LATERAL (
    SELECT * FROM events AS e WHERE e.account_id = d.account_id AND e.position = d.position LIMIT 1
) AS e
ORDER BY l.place, coalesce(d.next_at, d.created_at), d.number`,
	sqlite: `
SELECT ` + dueColumns + `
FROM (
    SELECT * FROM (
        SELECT number, next_at AS at FROM deliveries
        WHERE account_id = CAST(?1 AS blob) AND webhook_id = CAST(?2 AS blob) AND state = 'waiting' AND next_at <= CAST(?3 AS integer)
            AND number NOT IN (SELECT value FROM json_each(?4))
        ORDER BY next_at, number LIMIT ?5 + 0
    )
    UNION ALL
    SELECT * FROM (
        SELECT number, created_at FROM deliveries
        WHERE account_id = CAST(?1 AS blob) AND webhook_id = CAST(?2 AS blob) AND state = 'waiting' AND next_at IS NULL
            AND number NOT IN (SELECT value FROM json_each(?4))
        ORDER BY number LIMIT ?5 + 0
    )
    ORDER BY at, number LIMIT ?5 + 0
) AS p
CROSS JOIN deliveries AS d ON d.number = p.number
CROSS JOIN events AS e ON e.number = d.number / 64 AND e.account_id = d.account_id
ORDER BY p.at, p.number`,
}

// DueDeliveries returns what is to be tried now, lane by lane in the order of the demands; within a lane what
// waits longest comes first. It changes nothing: whoever has claimed the lane knows what it is trying.
func (s *Store) DueDeliveries(ctx context.Context, demands []domain.LaneDemand) ([]domain.Delivery, error) {
	if len(demands) == 0 {
		return nil, nil
	}
	var due []domain.Delivery
	add := func(row scanned) error {
		d, err := scanDue(row)
		due = append(due, d)
		return err
	}
	if s.pool != nil {
		err := s.each(ctx, dueDeliveries, func() { due = nil }, add, dueParameters(demands)...)
		return due, err
	}
	for _, d := range demands {
		before := due
		except, err := json.Marshal(numbersOf(d.Except))
		if err != nil {
			return nil, err
		}
		err = s.each(ctx, dueDeliveries, func() { due = before }, add,
			uid(d.Lane.Account), uid(d.Lane.Webhook), millisOf(now()), string(except), d.Limit)
		if err != nil {
			return nil, err
		}
	}
	return due, nil
}

// dueParameters are those of PostgreSQL's dueDeliveries.
func dueParameters(demands []domain.LaneDemand) []any {
	except := []int64{}
	first, last := make([]int32, len(demands)), make([]int32, len(demands))
	for i, d := range demands {
		first[i] = int32(len(except) + 1)
		except = append(except, numbersOf(d.Except)...)
		last[i] = int32(len(except))
	}
	return []any{
		listOf(demands, func(d *domain.LaneDemand) [16]byte { return d.Lane.Account }),
		listOf(demands, func(d *domain.LaneDemand) [16]byte { return d.Lane.Webhook }),
		listOf(demands, func(d *domain.LaneDemand) int32 { return clampInt32(d.Limit) }),
		except, first, last,
	}
}

func numbersOf(deliveries []domain.ID) []int64 {
	return listOf(deliveries, func(id *domain.ID) int64 { return numberOf(*id) })
}

func scanDue(row scanned) (d domain.Delivery, err error) {
	var account, webhook, event, instance uid
	var next, created, tried, at millis
	var number, took int64
	var failure optional
	var data blob
	err = row.Scan(&account, &webhook, &number, &d.Event.Position, &d.Attempts, &d.Step, &d.Manual, &next, &created,
		&tried, &took, &d.Last.StatusCode, &failure, &event, &instance, &d.Event.Sequence, &at, &d.Event.Type, &data)
	d.AccountID, d.WebhookID = domain.ID(account), domain.ID(webhook)
	d.ID = deliveryID(created.time(), number, d.WebhookID)
	d.State, d.CreatedAt = domain.DeliveryWaiting, created.time()
	d.NextAt = nextAttempt(string(d.State), next, created).time()
	d.Last.Number, d.Last.At, d.Last.Took = d.Attempts, tried.time(), ofMillis(took)
	d.Last.Failure = domain.FailureCode(failure)
	d.Event.AccountID, d.Event.ID, d.Event.InstanceID = d.AccountID, domain.ID(event), domain.ID(instance)
	d.Event.At, d.Event.Data = at.time(), data
	return d, err
}
