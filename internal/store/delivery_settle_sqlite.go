package store

import (
	"context"
	"database/sql"

	"gorm.io/gorm"

	"github.com/pombal-api/pombal/internal/domain"
)

// Parameters are cast where rows are looked for: bare ones SQLite would compare with the conditions of partial indexes,
// and plan anew whenever they are others.
const (
	// laneSQLite takes rows of an account and a webhook.
	laneSQLite crossing = `
SELECT l.account_id, l.webhook_id, l.epoch, w.failing_since FROM json_each(?1) AS given
CROSS JOIN webhook_lanes AS l ON l.account_id = ` + listedFirst + ` AND l.webhook_id = ` + listedSecond + `
CROSS JOIN webhooks AS w ON w.account_id = l.account_id AND w.id = l.webhook_id`

	// deliverSQLite is applySQLite for what was delivered, as most is: whether it was replayed meanwhile makes no difference.
	deliverSQLite crossing = `
UPDATE deliveries SET attempts = ?4, tried_at = ?5, took_ms = ?6, status_code = ?7, step = ?8, tried_manual = ?9, response = ?10,
    state = 'delivered', failure = NULL, next_at = NULL, manual = false` + toApplySQLite

	// applySQLite has in ?12 whether the delivery stays as it is if it was replayed meanwhile.
	applySQLite crossing = `
UPDATE deliveries SET attempts = ?4, tried_at = ?5, took_ms = ?6, status_code = ?7, failure = ?8,
    state = iif(manual AND ?12, state, ?9), step = iif(manual AND ?12, step, ?10),
    next_at = iif(manual AND ?12, next_at, ?11), manual = manual AND ?12, tried_manual = ?13, response = ?14` + toApplySQLite

	// keepAttemptSQLite keeps the attempt before.
	keepAttemptSQLite crossing = `
INSERT INTO delivery_attempts (account_id, webhook_id, delivery, number, at, took_ms, status_code, manual, failure, response)
SELECT account_id, webhook_id, number, attempts, tried_at, took_ms, status_code, tried_manual, failure, response FROM deliveries` +
		toApplySQLite + ` AND attempts > 0 ON CONFLICT DO NOTHING`

	toApplySQLite = `
WHERE account_id = CAST(?1 AS blob) AND webhook_id = CAST(?2 AS blob) AND number = CAST(?3 AS integer) AND state = 'waiting' AND attempts = ?4 - 1`

	saveFailingSQLite crossing = `UPDATE webhooks SET failing_since = ?3, warnings = 0 WHERE account_id = ?1 AND id = ?2`

	saveLaneSQLite crossing = `
UPDATE webhook_lanes SET failures = ?3, paused_until = ?4 WHERE account_id = CAST(?1 AS blob) AND webhook_id = CAST(?2 AS blob)`

	// releaseLaneSQLite puts a lane that still has something to do behind those that wait already. Where there is nothing,
	// min and with it max are NULL.
	releaseLaneSQLite crossing = `
UPDATE webhook_lanes SET worker_id = NULL, lease_until = NULL, due_at = (
    SELECT max(min(at), coalesce(webhook_lanes.paused_until, 0), ?3) FROM (` + firstDueSQLite + `)
    WHERE EXISTS (SELECT 1 FROM webhooks AS w WHERE w.account_id = CAST(?1 AS blob) AND w.id = CAST(?2 AS blob) AND w.status = 'active')
) WHERE account_id = CAST(?1 AS blob) AND webhook_id = CAST(?2 AS blob)`

	// firstDueSQLite has when the first of the planned and of the new deliveries is due.
	firstDueSQLite = `
    SELECT * FROM (
        SELECT next_at AS at FROM deliveries
        WHERE account_id = CAST(?1 AS blob) AND webhook_id = CAST(?2 AS blob) AND state = 'waiting' AND next_at IS NOT NULL
        ORDER BY next_at LIMIT 1
    )
    UNION ALL
    SELECT * FROM (
        SELECT created_at FROM deliveries
        WHERE account_id = CAST(?1 AS blob) AND webhook_id = CAST(?2 AS blob) AND state = 'waiting' AND next_at IS NULL
        ORDER BY number LIMIT 1
    )`
)

// sqliteSettling is settling on SQLite, whose statements cost little: one for each row.
type sqliteSettling struct{ sc scope }

// tx returns the transaction. Its context has no end of its own, which the driver would watch for every
// statement: the transaction ends with the other one.
func (t sqliteSettling) tx() (context.Context, gorm.ConnPool) {
	return context.WithoutCancel(t.sc.db.Statement.Context), t.sc.db.Statement.ConnPool
}

func (t sqliteSettling) lock(touches []touch) (map[laneID]held, error) {
	ctx, tx := t.tx()
	lanes := make(map[laneID]held, len(touches))
	var list hexList
	for _, x := range touches {
		list.add(x.account, x.webhook)
	}
	err := eachInTx(ctx, tx, laneSQLite, func(row scanned) error {
		var account, webhook uid
		lane := held{webhook: true}
		err := row.Scan(&account, &webhook, &lane.epoch, &lane.since)
		lanes[laneID{domain.ID(account), domain.ID(webhook)}] = lane
		return err
	}, list.text())
	return lanes, err
}

func (t sqliteSettling) apply(outcomes []domain.Outcome) ([]bool, error) {
	ctx, tx := t.tx()
	deliver, err := prepareSQLite(ctx, tx, deliverSQLite)
	if err != nil {
		return nil, err
	}
	defer func() { _ = deliver.Close() }()
	applied := make([]bool, len(outcomes))
	for i := range outcomes {
		if applied[i], err = applyOne(ctx, tx, deliver, &outcomes[i]); err != nil {
			return nil, err
		}
	}
	return applied, nil
}

func applyOne(ctx context.Context, tx gorm.ConnPool, deliver *sql.Stmt, o *domain.Outcome) (bool, error) {
	a := &o.Attempt
	account, webhook, number := uid(o.Lane.Account), uid(o.Lane.Webhook), numberIn(o.Lane.Webhook, o.Delivery)
	if a.Number > 1 {
		if err := execInTx(ctx, tx, keepAttemptSQLite, account, webhook, number, a.Number); err != nil {
			return false, err
		}
	}
	var result sql.Result
	var err error
	if o.State == domain.DeliveryDelivered {
		result, err = deliver.ExecContext(ctx, account, webhook, number, a.Number, millisOf(a.At), tookMS(a), a.StatusCode, o.Step, a.Manual, blob(a.Response))
	} else {
		result, err = tx.ExecContext(ctx, string(applySQLite), account, webhook, number, a.Number, millisOf(a.At), tookMS(a), a.StatusCode,
			optional(a.Failure), string(o.State), o.Step, nextOf(o), !a.Manual, a.Manual, blob(a.Response))
	}
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

func (t sqliteSettling) save(changed []failing, updates []domain.LaneUpdate) error {
	ctx, tx := t.tx()
	for _, f := range changed {
		if err := execInTx(ctx, tx, saveFailingSQLite, uid(f.account), uid(f.webhook), f.since); err != nil {
			return err
		}
	}
	for _, u := range updates {
		account, webhook := uid(u.Lane.Account), uid(u.Lane.Webhook)
		if err := execInTx(ctx, tx, saveLaneSQLite, account, webhook, u.Failures, millisOf(u.PausedUntil)); err != nil {
			return err
		}
		if !u.Release {
			continue
		}
		if err := execInTx(ctx, tx, releaseLaneSQLite, account, webhook, millisOf(now())); err != nil {
			return err
		}
	}
	return nil
}
