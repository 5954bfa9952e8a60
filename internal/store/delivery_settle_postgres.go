package store

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/pombal-api/pombal/internal/domain"
)

const (
	lockFailingPostgres crossing = `
SELECT w.account_id, w.id, w.failing_since
FROM (SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::boolean[], $4::boolean[]) AS t (account_id, id, failed, succeeded) ORDER BY account_id, id) AS t
CROSS JOIN LATERAL (
    SELECT account_id, id, failing_since FROM webhooks AS w WHERE w.account_id = t.account_id AND w.id = t.id
        AND (t.failed AND w.failing_since IS NULL OR t.succeeded AND w.failing_since IS NOT NULL) FOR NO KEY UPDATE
) AS w`

	// lockLanesPostgres keeps away everybody who changes a lane, holdLanesPostgres only those who claim it.
	lockLanesPostgres crossing = selectLanesPostgres + `FOR NO KEY UPDATE) AS l`
	holdLanesPostgres crossing = selectLanesPostgres + `FOR KEY SHARE) AS l`

	selectLanesPostgres = `
SELECT l.account_id, l.webhook_id, l.epoch
FROM (SELECT * FROM unnest($1::uuid[], $2::uuid[]) AS t (account_id, webhook_id) ORDER BY account_id, webhook_id) AS t
CROSS JOIN LATERAL (SELECT account_id, webhook_id, epoch FROM webhook_lanes AS l WHERE l.account_id = t.account_id AND l.webhook_id = t.webhook_id `

	// applyPostgres finds each delivery by its key, whatever the planner believes of the table, and then by its place: while
	// the lane is locked nobody else changes it. The attempt before, if there is one, is kept. What is planned by the clock of
	// a node, which shows $14, is written by that of the database, by which it is looked for.
	applyPostgres crossing = `
WITH clock AS MATERIALIZED (
    SELECT ` + aheadPostgres + `$14 AS ahead
), o AS MATERIALIZED (
    SELECT o.*, d.* FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::int[], $5::timestamptz[], $6::int[], $7::int[],
        $8::boolean[], $9::text[], $10::bytea[], $11::text[], $12::int[], $13::timestamptz[])
        AS o (account_id, webhook_id, delivery, number, at, took_ms, status_code, manual, failure, response, state, step, next_at)
    CROSS JOIN LATERAL (
        SELECT ctid AS place, tried_at AS before_at, took_ms AS before_took_ms, status_code AS before_status_code,
            tried_manual AS before_manual, failure AS before_failure, response AS before_response
        FROM deliveries AS d WHERE d.account_id = o.account_id AND d.webhook_id = o.webhook_id AND d.number = o.delivery
            AND d.state IS NOT DISTINCT FROM 'waiting' AND d.attempts = o.number - 1 FOR NO KEY UPDATE
    ) AS d
), applied AS (
    UPDATE deliveries AS d SET attempts = o.number, tried_at = o.at, took_ms = o.took_ms, status_code = o.status_code,
        failure = nullif(o.failure, ''), tried_manual = o.manual, response = o.response,
        state = CASE WHEN d.manual AND NOT o.manual AND o.state <> 'delivered' THEN d.state ELSE o.state END,
        step = CASE WHEN d.manual AND NOT o.manual AND o.state <> 'delivered' THEN d.step ELSE o.step END,
        next_at = CASE WHEN d.manual AND NOT o.manual AND o.state <> 'delivered' THEN d.next_at ELSE o.next_at + clock.ahead END,
        manual = d.manual AND NOT o.manual AND o.state <> 'delivered'
    FROM o, clock WHERE d.ctid = o.place
    RETURNING o.*
), kept AS (
    INSERT INTO delivery_attempts (account_id, webhook_id, delivery, number, at, took_ms, status_code, manual, failure, response)
    SELECT account_id, webhook_id, delivery, number - 1, before_at, before_took_ms, before_status_code, before_manual, before_failure, before_response
    FROM applied WHERE number > 1 ON CONFLICT DO NOTHING
)
SELECT account_id, webhook_id, delivery, number FROM applied`

	saveFailingPostgres crossing = `
UPDATE webhooks AS w SET failing_since = f.since, warnings = 0
FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) AS f (account_id, id, since)
WHERE w.account_id = f.account_id AND w.id = f.id`

	// aheadPostgres is how far the clock of the database is ahead of that of a node, whose time follows; rounded up, so that
	// nothing is early.
	aheadPostgres = `date_trunc('milliseconds', clock_timestamp()) + interval '1 millisecond' - `

	// saveLanesPostgres puts a lane that still has something to do behind those that wait already. The clocks are as above.
	saveLanesPostgres crossing = `
UPDATE webhook_lanes AS l SET failures = u.failures, paused_until = u.paused_until,
    worker_id = CASE WHEN u.release THEN NULL ELSE l.worker_id END,
    lease_until = CASE WHEN u.release THEN NULL ELSE l.lease_until END,
    due_at = CASE WHEN u.release THEN (
        SELECT greatest(p.at, u.paused_until, date_trunc('milliseconds', clock_timestamp())) FROM (
            (SELECT next_at AS at FROM deliveries AS d
            WHERE d.account_id = u.account_id AND d.webhook_id = u.webhook_id AND d.state = 'waiting' AND d.next_at IS NOT NULL
            ORDER BY next_at LIMIT 1)
            UNION ALL
            (SELECT created_at FROM deliveries AS d
            WHERE d.account_id = u.account_id AND d.webhook_id = u.webhook_id AND d.state = 'waiting' AND d.next_at IS NULL
            ORDER BY next_at, number LIMIT 1)
        ) AS p
        WHERE EXISTS (SELECT FROM webhooks AS w WHERE w.account_id = u.account_id AND w.id = u.webhook_id AND w.status = 'active')
        ORDER BY p.at LIMIT 1
    ) ELSE l.due_at END
FROM (
    SELECT account_id, webhook_id, failures, paused_until + (` + aheadPostgres + `$6) AS paused_until, release
    FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::timestamptz[], $5::boolean[]) AS u (account_id, webhook_id, failures, paused_until, release)
) AS u
WHERE l.account_id = u.account_id AND l.webhook_id = u.webhook_id`
)

// postgresSettling is settling on PostgreSQL: few statements, and few times there and back.
type postgresSettling struct {
	ctx context.Context
	tx  pgx.Tx
}

func (t postgresSettling) lock(touches []touch) (map[laneID]held, error) {
	lanes := map[laneID]held{} // only those whose webhook is locked
	var tried, changed, kept []touch
	for _, x := range touches {
		if x.failed || x.succeeded {
			tried = append(tried, x)
		}
		if x.update {
			changed = append(changed, x)
		} else {
			kept = append(kept, x)
		}
	}
	b := new(pgx.Batch)
	queue(b, byKeyPostgres)
	if len(tried) > 0 {
		accounts, ids := laneIDs(tried)
		queue(b, lockFailingPostgres, accounts, ids, listOf(tried, func(x *touch) bool { return x.failed }),
			listOf(tried, func(x *touch) bool { return x.succeeded })).Query(func(rows pgx.Rows) error {
			return eachLane(rows, func(id laneID, since millis) { lanes[id] = held{webhook: true, since: since} })
		})
	}
	found := map[laneID]held{}
	epoch := func(rows pgx.Rows) error {
		return eachLane(rows, func(id laneID, epoch int64) {
			lane := lanes[id]
			lane.epoch = epoch
			found[id] = lane
		})
	}
	if len(changed) > 0 {
		accounts, ids := laneIDs(changed)
		queue(b, lockLanesPostgres, accounts, ids).Query(epoch)
	}
	if len(kept) > 0 {
		accounts, ids := laneIDs(kept)
		queue(b, holdLanesPostgres, accounts, ids).Query(epoch)
	}
	return found, t.tx.SendBatch(t.ctx, b).Close()
}

// laneIDs returns two columns.
func laneIDs(list []touch) (accounts, webhooks [][16]byte) {
	return listOf(list, func(x *touch) [16]byte { return x.account }), listOf(list, func(x *touch) [16]byte { return x.webhook })
}

// eachLane reads rows of a lane and one more column.
func eachLane[T any](rows pgx.Rows, do func(laneID, T)) error {
	defer rows.Close()
	for rows.Next() {
		var account, webhook uid
		var value T
		if err := rows.Scan(&account, &webhook, &value); err != nil {
			return err
		}
		do(laneID{domain.ID(account), domain.ID(webhook)}, value)
	}
	return rows.Err()
}

func (t postgresSettling) apply(outcomes []domain.Outcome) ([]bool, error) {
	type key struct {
		laneID
		delivery int64
		number   int
	}
	written := make(map[key]bool, len(outcomes))
	b := new(pgx.Batch)
	queue(b, applyPostgres, outcomeColumns(outcomes)...).Query(func(rows pgx.Rows) error {
		return eachRow(rows, func(row scanned) error {
			var k key
			var account, webhook uid
			err := row.Scan(&account, &webhook, &k.delivery, &k.number)
			k.laneID = laneID{domain.ID(account), domain.ID(webhook)}
			written[k] = true
			return err
		})
	})
	err := t.tx.SendBatch(t.ctx, b).Close()
	applied := make([]bool, len(outcomes))
	for i, o := range outcomes {
		k := key{laneOf(o.Lane), numberIn(o.Lane.Webhook, o.Delivery), o.Attempt.Number}
		applied[i] = written[k]
		delete(written, k) // twice in one batch is once
	}
	return applied, err
}

// outcomeColumns are the parameters of applyPostgres.
func outcomeColumns(outcomes []domain.Outcome) []any {
	return []any{
		listOf(outcomes, func(o *domain.Outcome) [16]byte { return o.Lane.Account }),
		listOf(outcomes, func(o *domain.Outcome) [16]byte { return o.Lane.Webhook }),
		listOf(outcomes, func(o *domain.Outcome) int64 { return numberIn(o.Lane.Webhook, o.Delivery) }),
		listOf(outcomes, func(o *domain.Outcome) int32 { return clampInt32(o.Attempt.Number) }),
		listOf(outcomes, func(o *domain.Outcome) millis { return millisOf(o.Attempt.At) }),
		listOf(outcomes, func(o *domain.Outcome) int32 { return tookMS(&o.Attempt) }),
		listOf(outcomes, func(o *domain.Outcome) int32 { return clampInt32(o.Attempt.StatusCode) }),
		listOf(outcomes, func(o *domain.Outcome) bool { return o.Attempt.Manual }),
		listOf(outcomes, func(o *domain.Outcome) string { return string(o.Attempt.Failure) }),
		listOf(outcomes, func(o *domain.Outcome) []byte { return o.Attempt.Response }),
		listOf(outcomes, func(o *domain.Outcome) string { return string(o.State) }),
		listOf(outcomes, func(o *domain.Outcome) int32 { return clampInt32(o.Step) }),
		listOf(outcomes, nextOf),
		millisOf(now()),
	}
}

func (t postgresSettling) save(changed []failing, updates []domain.LaneUpdate) error {
	b := new(pgx.Batch)
	if len(changed) > 0 {
		queue(b, saveFailingPostgres,
			listOf(changed, func(f *failing) [16]byte { return f.account }),
			listOf(changed, func(f *failing) [16]byte { return f.webhook }),
			listOf(changed, func(f *failing) millis { return f.since }))
	}
	if len(updates) > 0 {
		queue(b, saveLanesPostgres,
			listOf(updates, func(u *domain.LaneUpdate) [16]byte { return u.Lane.Account }),
			listOf(updates, func(u *domain.LaneUpdate) [16]byte { return u.Lane.Webhook }),
			listOf(updates, func(u *domain.LaneUpdate) int32 { return clampInt32(u.Failures) }),
			listOf(updates, func(u *domain.LaneUpdate) millis { return millisOf(u.PausedUntil) }),
			listOf(updates, func(u *domain.LaneUpdate) bool { return u.Release }),
			millisOf(now()))
	}
	return t.tx.SendBatch(t.ctx, b).Close()
}
