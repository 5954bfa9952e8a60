package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"

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
RETURNING instance_id, last`

	moveHeadSQLite = `
INSERT INTO event_heads (account_id, instance_id, last) VALUES (?1, ?2, ?3)
ON CONFLICT (account_id, instance_id) DO UPDATE SET last = last + excluded.last
RETURNING instance_id, last`

	// publishPostgres takes rows by their whole keys, by arrays and OFFSET 0: the planner, which knows neither the
	// account nor how many events there are, would read all lanes and all webhooks of a large account otherwise.
	// Lanes are judged as they are when they are locked, which may be later than what the statement sees.
	publishPostgres = `
WITH clock AS MATERIALIZED (
    SELECT date_trunc('milliseconds', clock_timestamp()) AS at
), given AS MATERIALIZED (
    SELECT * FROM unnest($2::bigint[], $3::uuid[], $4::uuid[], $5::bigint[], $6::timestamptz[], $7::integer[], $8::bytea[])
        AS g (position, id, instance_id, sequence, at, type, data)
), stored AS (
    INSERT INTO events (account_id, position, id, instance_id, sequence, at, type, data)
    SELECT $1, position, id, instance_id, sequence, at, type, data FROM given
), fan AS (
    INSERT INTO deliveries (account_id, id, webhook_id, position, created_at, next_at, took_ms, status_code, attempts, step, manual, state)
    SELECT $1, (lpad(to_hex((extract(epoch FROM clock.at) * 1000)::bigint), 12, '0') || '7' || lpad(to_hex((position >> 14) & 4095), 3, '0')
            || to_hex(32768 | (position & 16383)) || right(gen_random_uuid()::text, 12))::uuid,
        webhook_id, position, clock.at, clock.at, 0, 0, 0, 0, false, 'waiting'
    FROM clock, (` + eventMatching + `
        CROSS JOIN LATERAL (SELECT * FROM webhooks AS w WHERE w.account_id = $1 AND w.instance_id = e.instance_id OFFSET 0) AS w` + eventMatches + `) AS m
    RETURNING webhook_id
), held AS (
    SELECT webhook_id, due_at FROM webhook_lanes
    WHERE account_id = $1 AND webhook_id = ANY (ARRAY(SELECT webhook_id FROM fan))
    ORDER BY webhook_id FOR NO KEY UPDATE
)
UPDATE webhook_lanes SET due_at = (SELECT at FROM clock)
WHERE account_id = $1 AND webhook_id = ANY (ARRAY(
    SELECT held.webhook_id FROM held, clock WHERE held.due_at IS NULL OR held.due_at > clock.at))`

	// eventMatching and eventMatches, with the instances' webhooks w of the events e between, find the webhooks of given
	// events: of those with the same URL one, rather not the instance's own.
	eventMatching = `
SELECT position, webhook_id FROM (
    SELECT position, webhook_id, row_number() OVER (PARTITION BY position, url ORDER BY of_instance, webhook_id) AS place
    FROM (
        SELECT e.position, w.id AS webhook_id, w.url, w.of_instance FROM given AS e
        JOIN webhooks AS w ON w.account_id = $1 AND w.instance_id IS NULL` + eventMatch + `
        UNION ALL
        SELECT e.position, w.id AS webhook_id, w.url, w.of_instance FROM given AS e`
	eventMatch   = ` WHERE w.status = 'active' AND (w.events & e.type) <> 0`
	eventMatches = eventMatch + `
    ) AS every
) AS placed WHERE place = 1`

	insertEventSQLite = `
INSERT INTO events (account_id, position, id, instance_id, sequence, at, type, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)`

	dueLanesSQLite = `
UPDATE webhook_lanes SET due_at = ?3 WHERE account_id = ` + accountSQLite + ` AND (due_at IS NULL OR due_at > CAST(?3 AS integer))
    AND webhook_id IN (SELECT webhook_id FROM deliveries WHERE account_id = ` + accountSQLite + ` AND position > CAST(?2 AS integer))`

	// accountSQLite is a parameter that SQLite plans for once, see withCasts.
	accountSQLite = `CAST(?1 AS blob)`
)

// fanOutSQLite is the middle of publishPostgres. The ids of deliveries sort like their events.
func fanOutSQLite() string {
	return `
WITH given AS (
    SELECT position, instance_id, type FROM events WHERE account_id = ` + accountSQLite + ` AND position > CAST(?2 AS integer)
)
INSERT INTO deliveries (account_id, id, webhook_id, position, created_at, next_at, took_ms, status_code, attempts, step, manual, state)
SELECT ?1, unhex(printf('%012x7%03x%04x', ?4, (position >> 14) & 4095, 32768 | (position & 16383)) || hex(randomblob(6))),
    webhook_id, position, ?3, ?3, 0, 0, 0, 0, false, 'waiting'
FROM (` + strings.ReplaceAll(eventMatching, "$1", accountSQLite) + `
    JOIN webhooks AS w ON w.account_id = ` + accountSQLite + ` AND w.instance_id = e.instance_id` + eventMatches + `) AS m`
}

// PublishEvents adds events to the account, in one transaction and in their order. It fills in the account, and
// the id and the time where they are zero, the position and the sequence. CodeAccountNotFound.
func (a *Account) PublishEvents(ctx context.Context, events []domain.Event) error {
	if len(events) == 0 {
		return nil
	}
	if err := completeEvents(a.id, events); err != nil {
		return err
	}
	if a.s.pool != nil {
		return a.publishTogether(ctx, events)
	}
	return a.s.write(ctx, a.wall(), func(sc scope) error { return publish(sc, events) })
}

// publish adds events to the account that sc is bound to, with their deliveries. Its locks come after those on
// totals, instances and links, and before those on the totals of partners.
func publish(sc scope, events []domain.Event) error {
	if len(events) == 0 {
		return nil
	}
	if err := completeEvents(sc.wall.account, events); err != nil {
		return err
	}
	if sc.published != nil {
		*sc.published = true
	}
	if isPostgres(sc) {
		return publishOnPostgres(sc, events)
	}
	return publishOnSQLite(sc, events)
}

// isPostgres reports on which engine a scope works.
func isPostgres(sc scope) bool { return sc.db.Name() == "postgres" }

// numbered spells the parameters of a statement, $1 and so on, for the engine.
func numbered(sc scope, text string) string {
	if isPostgres(sc) {
		return text
	}
	return strings.ReplaceAll(text, "$", "?")
}

func completeEvents(account domain.ID, events []domain.Event) error {
	for i := range events {
		e := &events[i]
		if e.Type == 0 || e.Type&(e.Type-1) != 0 || e.Type&domain.EveryEvent == 0 || len(e.Data) == 0 {
			return errors.New("store: an event needs one type and data")
		}
		if e.At.IsZero() {
			e.At = now()
		}
		e.At = truncated(e.At)
		if e.ID.IsZero() {
			e.ID = domain.NewID(e.At)
		}
		e.AccountID = account
	}
	return nil
}

// eventHeads says by how much the heads of an account and its instances move.
type eventHeads struct {
	account domain.ID
	order   []domain.ID // the account, then the instances in order
	by      map[domain.ID]int64
	last    map[domain.ID]int64 // after the move
}

func headsOf(account domain.ID, events []domain.Event) *eventHeads {
	h := &eventHeads{account: account, by: map[domain.ID]int64{}, last: map[domain.ID]int64{}}
	for _, e := range events {
		if h.by[e.InstanceID]++; h.by[e.InstanceID] == 1 && !e.InstanceID.IsZero() {
			h.order = append(h.order, e.InstanceID)
		}
	}
	slices.SortFunc(h.order, compareIDs)
	h.order = slices.Insert(h.order, 0, account)
	h.by[account] = int64(len(events))
	return h
}

// compareIDs is the order in which rows are locked.
func compareIDs(a, b domain.ID) int { return bytes.Compare(a[:], b[:]) }

// read takes a row that moving the heads returned.
func (h *eventHeads) read(rows *sql.Rows) error {
	var instance uid
	var last int64
	err := rows.Scan(&instance, &last)
	h.last[domain.ID(instance)] = last
	return err
}

// place gives the events their positions and sequences.
func (h *eventHeads) place(events []domain.Event) {
	for i := range events {
		e := &events[i]
		h.by[h.account]--
		e.Position, e.Sequence = h.last[h.account]-h.by[h.account], 0
		if !e.InstanceID.IsZero() {
			h.by[e.InstanceID]--
			e.Sequence = h.last[e.InstanceID] - h.by[e.InstanceID]
		}
	}
}

func publishOnPostgres(sc scope, events []domain.Event) error {
	heads := headsOf(sc.wall.account, events)
	counts := listOf(heads.order, func(id *domain.ID) int64 { return heads.by[*id] })
	ids := listOf(heads.order, func(id *domain.ID) uid { return uid(*id) })
	if err := noAccount(queryByHand(sc, heads.read, moveHeadsPostgres, uidArray(ids), counts)); err != nil {
		return err
	}
	heads.place(events)
	return execByHand(sc, publishPostgres,
		listOf(events, func(e *domain.Event) int64 { return e.Position }),
		uidArray(listOf(events, func(e *domain.Event) uid { return uid(e.ID) })),
		uidArray(listOf(events, func(e *domain.Event) uid { return uid(e.InstanceID) })),
		listOf(events, func(e *domain.Event) int64 { return e.Sequence }),
		listOf(events, func(e *domain.Event) millis { return millisOf(e.At) }),
		listOf(events, func(e *domain.Event) int32 { return int32(e.Type) }),
		listOf(events, func(e *domain.Event) []byte { return e.Data }))
}

func publishOnSQLite(sc scope, events []domain.Event) error {
	heads := headsOf(sc.wall.account, events)
	for _, id := range heads.order {
		if err := noAccount(queryByHand(sc, heads.read, moveHeadSQLite, uid(id), heads.by[id])); err != nil {
			return err
		}
	}
	heads.place(events)
	for i := range events {
		e := &events[i]
		err := execByHand(sc, insertEventSQLite, e.Position, uid(e.ID), uid(e.InstanceID), e.Sequence, millisOf(e.At), int64(e.Type), e.Data)
		if err != nil {
			return err
		}
	}
	before, at := events[0].Position-1, millisOf(now())
	n, err := countByHand(sc, fanOutSQLite(), before, at, int64(at))
	if err != nil || n == 0 {
		return err
	}
	return execByHand(sc, dueLanesSQLite, before, at)
}

// lockEvents keeps others from publishing events of the account that sc is bound to until the transaction ends,
// as who changes its webhooks must. CodeAccountNotFound.
func lockEvents(sc scope) error {
	if !isPostgres(sc) {
		return nil // the whole database is locked
	}
	return noAccount(execByHand(sc, `
INSERT INTO event_heads AS h (account_id, instance_id, last) VALUES ($1, $1, 0)
ON CONFLICT (account_id, instance_id) DO UPDATE SET last = h.last`))
}

// listOf collects something of each element.
func listOf[E, T any](list []E, of func(*E) T) []T {
	result := make([]T, len(list))
	for i := range list {
		result[i] = of(&list[i])
	}
	return result
}
