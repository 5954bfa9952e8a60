package store

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"strconv"
	"time"

	"gorm.io/gorm"

	"github.com/pombal-api/pombal/internal/domain"
)

// On SQLite what a statement costs is mostly to run it at all. So a few do everything, for however many accounts, from
// lists, see hexList. Whose rows they touch is in the lists, next to each id. CROSS JOIN has SQLite take the list first.

const (
	// moveHeadsSQLite takes rows of an account, an instance, and by how much.
	moveHeadsSQLite crossing = `
INSERT INTO event_heads (account_id, instance_id, last)
SELECT ` + listedFirst + `, ` + listedSecond + `, ` + listedNumber + ` FROM json_each(?1) WHERE true
ON CONFLICT (account_id, instance_id) DO UPDATE SET last = last + excluded.last
RETURNING account_id, instance_id, last`

	insertEventSQLite crossing = `
INSERT INTO events (account_id, position, id, instance_id, sequence, at, type, data) VALUES ` + eventRowSQL
	insertEventsSQLite crossing = insertEventSQLite + `,` + eventRowSQL + `,` + eventRowSQL + `,` + eventRowSQL +
		`,` + eventRowSQL + `,` + eventRowSQL + `,` + eventRowSQL + `,` + eventRowSQL
	eventRowSQL = `(?, ?, ?, ?, ?, ?, ?, ?)`

	// matchingSQLite finds the webhooks for rows of an account, an instance and a type, by their place in the list, whether they
	// are active, and whether their lanes are not due by ?2.
	matchingSQLite crossing = matchingSQL + ` w.instance_id IS NULL` + matchSQL + `
UNION ALL` + matchingSQL + ` w.instance_id = ` + listedSecond + matchSQL

	matchingSQL = `
SELECT given.key, w.id, w.url, w.of_instance, w.status = 'active', l.due_at IS NULL OR l.due_at > CAST(?2 AS integer)
FROM json_each(?1) AS given CROSS JOIN webhooks AS w ON w.account_id = ` + listedFirst + ` AND`
	matchSQL = `
CROSS JOIN webhook_lanes AS l ON l.account_id = w.account_id AND l.webhook_id = w.id WHERE (w.events & ` + listedNumber + `) <> 0`

	insertDeliverySQLite crossing = `
INSERT INTO deliveries (number, account_id, webhook_id, position, created_at, took_ms, status_code, attempts, step, manual, state, failure)
VALUES ` + deliveryRowSQL
	insertDeliveriesSQLite crossing = insertDeliverySQLite + `,` + deliveryRowSQL + `,` + deliveryRowSQL + `,` + deliveryRowSQL +
		`,` + deliveryRowSQL + `,` + deliveryRowSQL + `,` + deliveryRowSQL + `,` + deliveryRowSQL
	deliveryRowSQL = `(?, ?, ?, ?, ?, 0, 0, 0, 0, false, ?, ?)`

	dueLaneSQLite crossing = `UPDATE webhook_lanes SET due_at = ?3 WHERE account_id = CAST(?1 AS blob) AND webhook_id = CAST(?2 AS blob)`
)

// publishOnSQLite publishes for one account or several.
func publishOnSQLite(sc scope, all []*joinedPublication) error {
	ctx, tx := sc.db.Statement.Context, sc.db.Statement.ConnPool
	if err := ctx.Err(); err != nil {
		return err
	}
	heads := make(map[domain.ID]*eventHeads, len(all))
	var list hexList
	for _, a := range all {
		h := headsOf(a.account, a.events)
		heads[a.account] = h
		for _, e := range h.list {
			list.addNumbered(a.account, e.id, e.by)
		}
	}
	err := eachInTx(ctx, tx, moveHeadsSQLite, func(row scanned) error { return readHead(row, heads) }, list.text())
	if err != nil {
		return noAccount(translated(sc, err))
	}
	var events []numberedEvent
	for _, a := range all {
		heads[a.account].place(a.events)
		for i := range a.events {
			events = append(events, numberedEvent{Event: &a.events[i]})
		}
	}
	if err = addEventsSQLite(ctx, tx, events); err != nil {
		return translated(sc, err)
	}
	return translated(sc, fanOutOnSQLite(ctx, tx, sc.news, events))
}

// numberedEvent is an event with its number among those of all accounts.
type numberedEvent struct {
	*domain.Event
	number int64
}

// deliveriesPerEvent are the numbers of deliveries that are kept for each event: no event has so many webhooks.
const deliveriesPerEvent = 64

// insertedAtOnce are the rows of a statement that inserts several: to run one costs as much as a row.
const insertedAtOnce = 8

// insertSQLite inserts rows by statements for several and for one, and returns their numbers in the table.
func insertSQLite(ctx context.Context, tx gorm.ConnPool, one, several crossing, rows [][]any) ([]int64, error) {
	numbers := make([]int64, 0, len(rows))
	for len(rows) > 0 {
		statement, n := one, 1
		if len(rows) >= insertedAtOnce {
			statement, n = several, insertedAtOnce
		}
		result, err := tx.ExecContext(ctx, string(statement), slices.Concat(rows[:n]...)...)
		if err != nil {
			return nil, err
		}
		last, err := result.LastInsertId()
		if err != nil {
			return nil, err
		}
		for number := last - int64(n) + 1; number <= last; number++ { // there is no other writer
			numbers = append(numbers, number)
		}
		rows = rows[n:]
	}
	return numbers, nil
}

// addEventsSQLite adds events, and fills in their numbers.
func addEventsSQLite(ctx context.Context, tx gorm.ConnPool, events []numberedEvent) error {
	rows := listOf(events, func(e *numberedEvent) []any {
		return []any{uid(e.AccountID), e.Position, uid(e.ID), uid(e.InstanceID), e.Sequence, millisOf(e.At), int64(e.Type), e.Data}
	})
	numbers, err := insertSQLite(ctx, tx, insertEventSQLite, insertEventsSQLite, rows)
	for i, number := range numbers {
		events[i].number = number
	}
	return err
}

// fanOutOnSQLite adds the deliveries of events, and makes their lanes due.
func fanOutOnSQLite(ctx context.Context, tx gorm.ConnPool, to *news, events []numberedEvent) error {
	at := now()
	targets, err := targetsSQLite(ctx, tx, events, at)
	if err != nil || len(targets) == 0 {
		return err
	}
	rows := make([][]any, len(targets))
	to.due = slices.Grow(to.due, len(targets))
	place := int64(0)
	for i, t := range targets {
		if place++; i == 0 || targets[i-1].event.number != t.event.number {
			place = 0
		}
		if place == deliveriesPerEvent {
			return errors.New("store: an event has more webhooks than there are numbers for")
		}
		number := t.event.number*deliveriesPerEvent + place
		d := domain.Delivery{
			AccountID: t.event.AccountID, ID: deliveryID(at, number, t.webhook), WebhookID: t.webhook, Event: *t.event.Event,
			State: domain.DeliveryWaiting, NextAt: at, CreatedAt: at,
		}
		var failure domain.FailureCode
		if !t.active {
			d.State, failure = domain.DeliveryExhausted, domain.FailureDisabled
		}
		rows[i] = []any{number, uid(d.AccountID), uid(d.WebhookID), d.Event.Position, millisOf(at), string(d.State), optional(failure)}
		if !t.active {
			continue
		}
		if t.wakes {
			if err = execInTx(ctx, tx, dueLaneSQLite, uid(d.AccountID), uid(d.WebhookID), millisOf(at)); err != nil {
				return err
			}
		}
		to.due = append(to.due, d)
	}
	_, err = insertSQLite(ctx, tx, insertDeliverySQLite, insertDeliveriesSQLite, rows) // which has their numbers
	return err
}

// target is a webhook that wants an event.
type target struct {
	event      numberedEvent
	webhook    domain.ID
	url        string
	ofInstance bool
	active     bool // one that is not misses the event, which can be replayed
	wakes      bool // its lane has had nothing to do
}

// targetsSQLite returns the webhooks that want the events: of those with the same URL one, rather an active one, and not the
// instance's own.
func targetsSQLite(ctx context.Context, tx gorm.ConnPool, events []numberedEvent, at time.Time) ([]target, error) {
	var list hexList
	for i := range events {
		list.addNumbered(events[i].AccountID, events[i].InstanceID, int64(events[i].Type))
	}
	var targets []target
	err := eachInTx(ctx, tx, matchingSQLite, func(row scanned) error {
		var i int
		var webhook uid
		var t target
		err := row.Scan(&i, &webhook, &t.url, &t.ofInstance, &t.active, &t.wakes)
		t.event, t.webhook = events[i], domain.ID(webhook)
		targets = append(targets, t)
		return err
	}, list.text(), millisOf(at))
	slices.SortFunc(targets, func(a, b target) int {
		return cmp.Or(cmp.Compare(a.event.number, b.event.number), cmp.Compare(a.url, b.url),
			compareBools(b.active, a.active), compareBools(a.ofInstance, b.ofInstance), compareIDs(a.webhook, b.webhook))
	})
	return slices.CompactFunc(targets, func(a, b target) bool { return a.event.number == b.event.number && a.url == b.url }), err
}

func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// hexList is a list of rows of two ids and perhaps a number, as a JSON array of text: the ids in hexadecimal digits, zeros for
// none, then the number in decimal ones. SQLite takes that apart faster than rows that are arrays themselves.
type hexList struct{ b []byte }

// What a statement finds in a row of a hexList.
const (
	listedFirst  = `unhex(substr(value, 1, 32))`
	listedSecond = `unhex(substr(value, 33, 32))`
	listedNumber = `CAST(substr(value, 65) AS integer)`
)

func (l *hexList) add(first, second domain.ID) {
	if len(l.b) == 0 {
		l.b = append(l.b, '[', '"')
	} else {
		l.b = append(l.b, '"', ',', '"')
	}
	l.b = hex.AppendEncode(hex.AppendEncode(l.b, first[:]), second[:])
}

func (l *hexList) addNumbered(first, second domain.ID, n int64) {
	l.add(first, second)
	l.b = strconv.AppendInt(l.b, n, 10)
}

func (l *hexList) text() string {
	if len(l.b) == 0 {
		return "[]"
	}
	return string(append(l.b, '"', ']'))
}
