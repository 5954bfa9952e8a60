package store_test

import (
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/store"
	"github.com/pombal-api/pombal/internal/testkit"
)

// benchDeliveries are what a round of the benchmark has to deliver, of 300 bytes each, over all lanes.
const benchDeliveries = 40_000

// BenchmarkDelivery claims lanes, reads what is due, settles it and gives the lanes back, in batches of 200:
// all that the database does for a delivery, after it was published.
func BenchmarkDelivery(b *testing.B) {
	for _, engine := range testkit.Engines() {
		for name, lanes := range map[string]int{"1 lane": 1, "20 lanes": 20} {
			b.Run(engine.Name+"/"+name, func(b *testing.B) {
				f := newFixture(b, engine.Name)
				worker := domain.NewID(time.Now())
				for range lanes {
					f.addWebhook(b, f.account.ID)
				}
				n, spent := 0, time.Duration(0) // of this process, without PostgreSQL's
				b.ResetTimer()
				for b.Loop() {
					if n%benchDeliveries == 0 {
						b.StopTimer()
						f.fill(b)
						b.StartTimer()
					}
					before := cpuTime(b)
					n += f.deliver(b, worker, lanes)
					spent += cpuTime(b) - before
				}
				b.ReportMetric(float64(spent.Microseconds())/float64(n), "cpu-µs/delivery")
				b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "deliveries/s")
			})
		}
	}
}

// deliver settles a batch and returns its size.
func (f *fixture) deliver(b *testing.B, worker domain.ID, lanes int) int {
	claimed := claimLanes(b, f, worker, lanes)
	var demands []domain.LaneDemand
	var updates []domain.LaneUpdate
	keys := map[domain.ID]domain.LaneKey{}
	for i := range claimed {
		key := claimed[i].Key()
		keys[key.Webhook] = key
		demands = append(demands, domain.LaneDemand{Lane: key, Limit: 200 / lanes})
		updates = append(updates, domain.LaneUpdate{Lane: key, Release: true})
	}
	due := must[[]domain.Delivery](b)(f.DueDeliveries(b.Context(), demands))
	outcomes := make([]domain.Outcome, len(due))
	for i, d := range due {
		outcomes[i] = delivered(keys[d.WebhookID], d)
	}
	if lost := settle(b, f, outcomes, updates...); len(lost) > 0 || len(due) != 200 {
		b.Fatalf("lost %v of %d", lost, len(due))
	}
	return len(due)
}

// fill replaces all events by new ones that are due.
func (f *fixture) fill(b *testing.B) {
	series, random, data := `generate_series(1, 40000) AS s (i)`, `gen_random_uuid()`, `decode(repeat('7b7d7d', 100), 'hex')`
	if f.Dialect() == store.DialectSQLite {
		series = `(WITH RECURSIVE s (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 40000) SELECT i FROM s) AS s`
		random, data = `randomblob(16)`, `zeroblob(300)`
	}
	now, account := f.sqlTime(time.Now().Add(-time.Minute)), f.sqlID(f.account.ID)
	execSQL(b, f, []string{
		`DELETE FROM delivery_attempts`, `DELETE FROM deliveries`, `DELETE FROM events`,
		`INSERT INTO events (account_id, position, id, sequence, at, type, data)
			SELECT ` + account + `, i, ` + random + `, 0, ` + now + `, 1, ` + data + ` FROM ` + series,
		`INSERT INTO deliveries (` + f.eventColumns() + `, account_id, webhook_id, position, created_at, took_ms, status_code, attempts, step, manual, state)
			SELECT ` + f.ofEvent() + `, e.account_id, w.id, e.position, ` + now + `, 0, 0, 0, 0, false, 'waiting'
			FROM events AS e JOIN (SELECT id, row_number() OVER (ORDER BY id) - 1 AS n, count(*) OVER () AS of FROM webhooks) AS w
			ON e.position % w.of = w.n`,
		`UPDATE webhook_lanes SET due_at = ` + now,
	})
}
