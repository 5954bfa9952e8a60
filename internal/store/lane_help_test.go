package store_test

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/store"
)

// Webhooks, events and deliveries, as if they had been published.

// sqlID and sqlTime spell values as the fixture's engine reads them.
func (f *fixture) sqlID(id domain.ID) string {
	if f.Dialect() == store.DialectSQLite {
		return "x'" + hex.EncodeToString(id[:]) + "'"
	}
	return "'" + id.String() + "'"
}

func (f *fixture) sqlTime(t time.Time) string {
	if f.Dialect() == store.DialectSQLite {
		return fmt.Sprint(t.UnixMilli())
	}
	return "'" + t.UTC().Format(domain.TimeLayout) + "'"
}

// addWebhook adds an active webhook with its lane.
func (f *fixture) addWebhook(t testing.TB, account domain.ID) domain.ID {
	t.Helper()
	id := domain.NewID(time.Now())
	a, w, now := f.sqlID(account), f.sqlID(id), f.sqlTime(at(0))
	execSQL(t, f, []string{
		`INSERT INTO webhooks (account_id, id, created_at, updated_at, version, events, timeout_ms, warnings, of_instance, status, name, url, secret_sealed)
		VALUES (` + a + `, ` + w + `, ` + now + `, ` + now + `, 1, 255, 5000, 0, false, 'active', 'hook', 'https://example.com/', ` + f.sqlBytes("sealed") + `)`,
		`INSERT INTO webhook_lanes (account_id, webhook_id, epoch, failures) VALUES (` + a + `, ` + w + `, 0, 0)`,
	})
	return id
}

func (f *fixture) sqlBytes(text string) string {
	if f.Dialect() == store.DialectSQLite {
		return "x'" + hex.EncodeToString([]byte(text)) + "'"
	}
	return `'\x` + hex.EncodeToString([]byte(text)) + "'"
}

// eventColumns and ofEvent are how a delivery is known to be of an event e.
func (f *fixture) eventColumns() string {
	if f.Dialect() == store.DialectSQLite {
		return "number"
	}
	return "number, event_id"
}

func (f *fixture) ofEvent() string {
	if f.Dialect() == store.DialectSQLite {
		return "64 * e.number"
	}
	return "e.position, e.id"
}

// ofEventAt is ofEvent for the event at a position.
func (f *fixture) ofEventAt(account string, position int64) string {
	where := fmt.Sprintf("FROM events AS e WHERE account_id = %s AND position = %d)", account, position)
	if f.Dialect() == store.DialectSQLite {
		return "(SELECT 64 * e.number " + where
	}
	return fmt.Sprintf("%d, (SELECT e.id %s", position, where)
}

// positions counts the events of a test's accounts, which its tests add one after another.
func (f *fixture) publish(t testing.TB, account, webhook domain.ID, first int64, next ...time.Time) []domain.ID {
	t.Helper()
	var events, deliveries []string
	a, w := f.sqlID(account), f.sqlID(webhook)
	for i, due := range next {
		position, event := first+int64(i), f.sqlID(domain.NewID(time.Now()))
		events = append(events, fmt.Sprintf("(%s, %d, %s, 0, %s, 1, %s)", a, position, event, f.sqlTime(at(0)), f.sqlBytes("{}")))
		deliveries = append(deliveries, fmt.Sprintf("(%s, %s, %s, %d, %s, %s, 0, 0, 0, 0, false, 'waiting')",
			f.ofEventAt(a, position), a, w, position, f.sqlTime(at(i)), f.sqlTime(due)))
	}
	execSQL(t, f, []string{
		`INSERT INTO events (account_id, position, id, sequence, at, type, data) VALUES ` + strings.Join(events, ", "),
		`INSERT INTO deliveries (` + f.eventColumns() + `, account_id, webhook_id, position, created_at, next_at, took_ms, status_code, attempts, step, manual, state)
		VALUES ` + strings.Join(deliveries, ", "),
		`UPDATE webhook_lanes SET due_at = ` + f.sqlTime(next[0]) + ` WHERE account_id = ` + a + ` AND webhook_id = ` + w,
	})
	return f.deliveryIDs(t, webhook, first)
}

// deliveryIDs returns the ids of a webhook's deliveries of the events from a position on.
func (f *fixture) deliveryIDs(t testing.TB, webhook domain.ID, first int64) (ids []domain.ID) {
	t.Helper()
	rows, err := openSQL(t, f.Dialect(), f.place).QueryContext(t.Context(), fmt.Sprintf(
		"SELECT number FROM deliveries WHERE webhook_id = %s AND position >= %d ORDER BY position", f.sqlID(webhook), first))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var number int64
		if err := rows.Scan(&number); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, store.DeliveryID(at(len(ids)), number, webhook))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return ids
}

// past and future are when deliveries are due.
func past(n int) []time.Time {
	list := make([]time.Time, n)
	for i := range list {
		list[i] = time.Now().Add(time.Duration(i)*time.Millisecond - time.Hour)
	}
	return list
}

func claimLanes(t testing.TB, f *fixture, worker domain.ID, limit int) []domain.Lane {
	t.Helper()
	return must[[]domain.Lane](t)(f.ClaimLanes(t.Context(), worker, limit, time.Minute))
}

// due returns what is due in a lane.
func due(t testing.TB, f *fixture, lane domain.LaneKey, limit int, except ...domain.ID) []domain.Delivery {
	t.Helper()
	return must[[]domain.Delivery](t)(f.DueDeliveries(t.Context(), []domain.LaneDemand{{Lane: lane, Limit: limit, Except: except}}))
}

func settle(t testing.TB, f *fixture, outcomes []domain.Outcome, updates ...domain.LaneUpdate) (lost []domain.LaneKey) {
	t.Helper()
	return must[[]domain.LaneKey](t)(f.Settle(t.Context(), outcomes, updates))
}

func delivered(lane domain.LaneKey, d domain.Delivery) domain.Outcome {
	return domain.Outcome{Lane: lane, Delivery: d.ID, State: domain.DeliveryDelivered, Step: d.Step, Attempt: domain.Attempt{
		Number: d.Attempts + 1, At: stored(1), Took: 20 * time.Millisecond, StatusCode: 200, Manual: d.Manual, Response: []byte("ok"),
	}}
}

// failed is an outcome after which the delivery waits, or is exhausted where next is zero.
func failed(lane domain.LaneKey, d domain.Delivery, next time.Time) domain.Outcome {
	o := delivered(lane, d)
	o.State, o.NextAt, o.Step = domain.DeliveryWaiting, next, d.Step+1
	if next.IsZero() {
		o.State = domain.DeliveryExhausted
	}
	o.Attempt.StatusCode, o.Attempt.Failure = 500, domain.FailureStatus
	return o
}
