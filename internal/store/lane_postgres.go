package store

import (
	"context"

	"github.com/pombal-api/pombal/internal/domain"
)

// claimLanesPostgres leaves out the lanes that somebody has locked: they are being claimed or settled. OFFSET 0
// makes it begin with the lanes that are due, not with the webhooks.
const claimLanesPostgres crossing = `
WITH due AS (
    SELECT l.account_id, l.webhook_id
    FROM webhook_lanes AS l CROSS JOIN LATERAL (
        SELECT FROM webhooks AS w WHERE w.account_id = l.account_id AND w.id = l.webhook_id AND w.status = 'active' OFFSET 0
    ) AS w
    WHERE l.due_at <= statement_timestamp() AND (l.paused_until IS NULL OR l.paused_until <= statement_timestamp())
        AND (l.worker_id IS NULL OR l.lease_until < statement_timestamp())
    ORDER BY l.due_at LIMIT $2 FOR UPDATE OF l SKIP LOCKED
)
UPDATE webhook_lanes AS l
SET worker_id = $1, epoch = l.epoch + 1, lease_until = statement_timestamp() + make_interval(secs => $3)
FROM due JOIN webhooks AS w ON w.account_id = due.account_id AND w.id = due.webhook_id
WHERE l.account_id = due.account_id AND l.webhook_id = due.webhook_id
RETURNING ` + laneColumns

// renewLanesPostgres locks before it changes: an update takes its rows in any order.
const renewLanesPostgres crossing = `
WITH held AS (
    SELECT account_id, webhook_id FROM webhook_lanes WHERE worker_id = $1
    ORDER BY account_id, webhook_id FOR NO KEY UPDATE
)
UPDATE webhook_lanes AS l SET lease_until = statement_timestamp() + make_interval(secs => $2)
FROM held JOIN webhooks AS w ON w.account_id = held.account_id AND w.id = held.webhook_id
WHERE l.account_id = held.account_id AND l.webhook_id = held.webhook_id
RETURNING ` + laneColumns

// nextDue looks at the lanes that are due but paused or held, of which there are few, and at the first one
// that is not due yet. The time is in milliseconds from now.
var nextDue = everywhere{
	postgres: `
SELECT CAST(ceil(1000 * extract(epoch FROM least(
    (SELECT min(greatest(l.due_at, l.paused_until, CASE WHEN l.worker_id IS NOT NULL THEN l.lease_until END))
     FROM (SELECT * FROM webhook_lanes WHERE due_at <= statement_timestamp() ORDER BY due_at LIMIT 1000) AS l
     JOIN webhooks AS w ON w.account_id = l.account_id AND w.id = l.webhook_id AND w.status = 'active'),
    (SELECT min(due_at) FROM webhook_lanes WHERE due_at > statement_timestamp())
) - statement_timestamp())) AS bigint)`,
	sqlite: `
SELECT min(at) - ?1 FROM (
    SELECT max(l.due_at, coalesce(l.paused_until, 0), CASE WHEN l.worker_id IS NOT NULL THEN coalesce(l.lease_until, 0) ELSE 0 END) AS at
    FROM (SELECT * FROM webhook_lanes WHERE due_at <= ?1 ORDER BY due_at LIMIT 1000) AS l
    JOIN webhooks AS w ON w.account_id = l.account_id AND w.id = l.webhook_id AND w.status = 'active'
    UNION ALL
    SELECT min(due_at) FROM webhook_lanes WHERE due_at > ?1
)`,
}

// failingWebhooks is asked rarely, and answered from an index that healthy webhooks are not in.
var failingWebhooks = everywhere{
	postgres: `
SELECT account_id, id, failing_since, warnings FROM webhooks
WHERE failing_since < $1 AND status = 'active' AND warnings < $2 ORDER BY failing_since LIMIT $3`,
	sqlite: `
SELECT account_id, id, failing_since, warnings FROM webhooks
WHERE failing_since < ?1 AND status = 'active' AND warnings < ?2 ORDER BY failing_since LIMIT ?3`,
}

// lanesPostgres runs a statement that changes lanes and returns them. It runs again when the database asks for
// that: who disables a webhook has its lane, and then takes those of the webhooks that are told.
func (s *Store) lanesPostgres(ctx context.Context, sql crossing, args ...any) ([]domain.Lane, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	var lanes []domain.Lane
	var err error
	for range attempts {
		lanes = nil
		err = s.eachByKey(ctx, sql, collectLanes(&lanes), args...)
		if !isRepeatable(err) {
			break
		}
	}
	if err != nil {
		return nil, translate(ended(ctx, err))
	}
	return lanes, nil
}
