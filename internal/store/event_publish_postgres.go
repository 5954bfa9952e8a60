package store

import (
	"context"
	"database/sql"

	"github.com/jackc/pgx/v5"

	"github.com/pombal-api/pombal/internal/domain"
)

// Publishing is two statements on PostgreSQL, whatever the number of events. The first moves the heads: it
// takes the account's row first, which is held until the commit, so publications of an account take turns and
// their events become visible in the order of their positions. The second comes after it, so that it sees
// every webhook that a change before it has left: who changes webhooks holds that row too (see lockEvents).

const (
	moveHeadsPostgres = `
INSERT INTO event_heads AS h (account_id, instance_id, last)
SELECT $1, g.id, g.n FROM unnest($2::uuid[], $3::bigint[]) AS g (id, n)
ON CONFLICT (account_id, instance_id) DO UPDATE SET last = h.last + excluded.last
RETURNING account_id, instance_id, last`

	// moveFreeHeadsPostgres leaves out accounts for which somebody publishes, or nobody has published yet. (An update would be
	// cheaper, but the planner may look for its rows in the whole table.)
	moveFreeHeadsPostgres crossing = `
WITH given AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[]) AS g (account_id, instance_id, n)
), free AS MATERIALIZED (
    SELECT h.account_id FROM (SELECT DISTINCT account_id FROM given) AS a
    CROSS JOIN LATERAL (
        SELECT account_id FROM event_heads WHERE account_id = a.account_id AND instance_id = a.account_id FOR NO KEY UPDATE SKIP LOCKED
    ) AS h
)
INSERT INTO event_heads AS h (account_id, instance_id, last)
SELECT given.account_id, given.instance_id, given.n FROM given JOIN free ON free.account_id = given.account_id
ON CONFLICT (account_id, instance_id) DO UPDATE SET last = h.last + excluded.last
RETURNING account_id, instance_id, last`

	// publishPostgres takes rows by their whole keys, for which it runs after byKeyPostgres: the planner, which knows neither
	// the accounts nor how many events there are, would read all lanes and all webhooks of a large account otherwise.
	// Of webhooks with the same URL one gets an event, rather an active one, and not the instance's own; one that is
	// disabled misses it, which can be replayed. Lanes are judged as they are when
	// they are locked, which may be later than what the statement sees.
	publishPostgres crossing = `
WITH clock AS MATERIALIZED (
    SELECT date_trunc('milliseconds', clock_timestamp()) AS at
), given AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::uuid[], $5::bigint[], $6::timestamptz[], $7::integer[], $8::bytea[])
        AS g (account_id, position, id, instance_id, sequence, at, type, data)
), stored AS (
    INSERT INTO events (account_id, position, id, instance_id, sequence, at, type, data)
    SELECT account_id, position, id, instance_id, sequence, at, type, data FROM given
), fan AS (
    INSERT INTO deliveries (account_id, webhook_id, number, position, event_id, created_at, took_ms, status_code, attempts, step, manual, state, failure)
    SELECT account_id, webhook_id, position, position, id, clock.at, 0, 0, 0, 0, false,
        CASE WHEN active THEN 'waiting' ELSE 'exhausted' END, CASE WHEN NOT active THEN 'webhook_disabled' END
    FROM clock, (
        SELECT account_id, position, id, webhook_id, active,
            row_number() OVER (PARTITION BY account_id, position, url ORDER BY NOT active, of_instance, webhook_id) AS place
        FROM (
            SELECT e.account_id, e.position, e.id, w.id AS webhook_id, w.url, w.of_instance, w.status = 'active' AS active FROM given AS e
            CROSS JOIN LATERAL (SELECT * FROM webhooks AS w WHERE w.account_id = e.account_id AND w.instance_id IS NULL OFFSET 0) AS w` + eventMatch + `
            UNION ALL
            SELECT e.account_id, e.position, e.id, w.id AS webhook_id, w.url, w.of_instance, w.status = 'active' AS active FROM given AS e
            CROSS JOIN LATERAL (SELECT * FROM webhooks AS w WHERE w.account_id = e.account_id AND w.instance_id = e.instance_id OFFSET 0) AS w` + eventMatch + `
        ) AS every
    ) AS m WHERE place = 1
    RETURNING account_id, webhook_id, position, created_at, state
), held AS (
    SELECT l.account_id, l.webhook_id, l.due_at FROM (SELECT DISTINCT account_id, webhook_id FROM fan WHERE state = 'waiting' ORDER BY account_id, webhook_id) AS f
    CROSS JOIN LATERAL (
        SELECT account_id, webhook_id, due_at FROM webhook_lanes AS l
        WHERE l.account_id = f.account_id AND l.webhook_id = f.webhook_id FOR NO KEY UPDATE
    ) AS l
), woken AS (
    UPDATE webhook_lanes AS l SET due_at = clock.at FROM held, clock
    WHERE l.account_id = held.account_id AND l.webhook_id = held.webhook_id AND (held.due_at IS NULL OR held.due_at > clock.at)
)
SELECT account_id, webhook_id, position, created_at FROM fan WHERE state = 'waiting'`

	eventMatch = ` WHERE (w.events & e.type) <> 0`
)

func publishOnPostgres(sc scope, events []domain.Event) error {
	h := headsOf(sc.wall.account, events)
	counts := listOf(h.list, func(e *eventHead) int64 { return e.by })
	ids := listOf(h.list, func(e *eventHead) uid { return uid(e.id) })
	heads := map[domain.ID]*eventHeads{h.account: h}
	err := queryByHand(sc, func(rows *sql.Rows) error { return readHead(rows, heads) }, moveHeadsPostgres, uidArray(ids), counts)
	if err != nil {
		return noAccount(err)
	}
	h.place(events)
	ctx, tx := sc.db.Statement.Context, sc.db.Statement.ConnPool
	if err = execInTx(ctx, tx, byKeyPostgres); err != nil {
		return translated(sc, err)
	}
	byPlace := eventsByPlace(events)
	add := func(row scanned) error { return sc.news.scan(row, byPlace) }
	return translated(sc, eachInTx(ctx, tx, publishPostgres, add, eventColumns(events)...))
}

// eventColumns are the parameters of publishPostgres.
func eventColumns(events []domain.Event) []any {
	return []any{
		uidArray(listOf(events, func(e *domain.Event) uid { return uid(e.AccountID) })),
		listOf(events, func(e *domain.Event) int64 { return e.Position }),
		uidArray(listOf(events, func(e *domain.Event) uid { return uid(e.ID) })),
		uidArray(listOf(events, func(e *domain.Event) uid { return uid(e.InstanceID) })),
		listOf(events, func(e *domain.Event) int64 { return e.Sequence }),
		listOf(events, func(e *domain.Event) millis { return millisOf(e.At) }),
		listOf(events, func(e *domain.Event) int32 { return int32(e.Type) }),
		listOf(events, func(e *domain.Event) []byte { return e.Data }),
	}
}

// moveFreeHeads gives events their positions, except those of accounts whose head another transaction holds, or that have none
// yet.
func moveFreeHeads(ctx context.Context, tx pgx.Tx, all []*joinedPublication) (placed []*joinedPublication, err error) {
	heads := make(map[domain.ID]*eventHeads, len(all))
	var accounts, ids [][16]byte
	var counts []int64
	for _, a := range all {
		h := headsOf(a.account, a.events)
		heads[a.account] = h
		for _, e := range h.list {
			accounts, ids, counts = append(accounts, a.account), append(ids, e.id), append(counts, e.by)
		}
	}
	b := new(pgx.Batch)
	queue(b, byKeyPostgres)
	queue(b, moveFreeHeadsPostgres, accounts, ids, counts).Query(func(rows pgx.Rows) error {
		return eachRow(rows, func(row scanned) error { return readHead(row, heads) })
	})
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return nil, err
	}
	for _, a := range all {
		if h := heads[a.account]; h.moved() {
			h.place(a.events)
			placed = append(placed, a)
		}
	}
	return placed, nil
}

// addEvents adds events that have their positions, and their deliveries, of which it tells.
func addEvents(ctx context.Context, tx pgx.Tx, events []domain.Event, to *news) error {
	byPlace := eventsByPlace(events)
	b := new(pgx.Batch)
	queue(b, publishPostgres, eventColumns(events)...).Query(func(rows pgx.Rows) error {
		return eachRow(rows, func(row scanned) error { return to.scan(row, byPlace) })
	})
	return tx.SendBatch(ctx, b).Close()
}
