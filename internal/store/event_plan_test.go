package store

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/testkit"
)

// plannedText is a statement with what its plan must contain on each engine.
type plannedText struct {
	name, sql        string
	postgres, sqlite []string
}

// plannedEvents are the statements about events that are asked often, or of large tables.
func plannedEvents(t *testing.T, f wallFixture) []plannedText {
	t.Helper()
	text := func(query func(scope) *gorm.DB) string {
		dry := scope{db: f.s.reader.WithContext(t.Context()).Session(&gorm.Session{DryRun: true}), wall: wall{account: f.mine}}
		return query(dry).Find(&[]map[string]any{}).Statement.SQL.String()
	}
	filtered := func(filter domain.DeliveryFilter) string {
		return text(func(sc scope) *gorm.DB {
			parts := logParts(sc, f.mine, filter, filterDeliveries(sc, filter))
			return parts[len(parts)-1].Limit(9)
		})
	}
	// What is entered is found by its order, and sorted with the few that are not.
	inOrder := func(by string) []string {
		return []string{"MERGE (UNION ALL)\nLEFT\nSEARCH o USING PRIMARY KEY (" + by + ")\nSEARCH e USING INTEGER PRIMARY KEY (rowid=?)\nRIGHT\n" +
			"SEARCH events USING INTEGER PRIMARY KEY (rowid>?)"}
	}
	one, two := []domain.ID{f.mine}, []domain.ID{f.mine, f.theirs}
	list := []plannedText{
		{"after a position", text(func(sc scope) *gorm.DB { return f.s.eventsAfter(sc, 1, domain.EventFilter{}).Limit(9) }),
			[]string{"Index Scan using events_pkey"}, inOrder("account_id=? AND position>?")},
		{"the latest", text(func(sc scope) *gorm.DB { return latestEvents(sc, 1).Where(lte("position", 9)).Limit(1) }),
			[]string{"Index Scan Backward using events_pkey"}, inOrder("account_id=? AND position>? AND position<?")},
		{"of an instance", text(func(sc scope) *gorm.DB {
			return f.s.eventsAfter(sc, 1, domain.EventFilter{Instances: one}).Where(lte("position", 9)).Limit(9)
		}), []string{"Index Scan using events_of_instance"}, inOrder("account_id=? AND position>? AND position<?")},
		{"of an instance in a window", text(func(sc scope) *gorm.DB {
			return f.s.eventsAfter(sc, 1, domain.EventFilter{Instances: one, Types: 1}).Where(lte("position", 9)).Limit(9)
		}), []string{"events_"}, inOrder("account_id=? AND position>? AND position<?")},
		{"in a window", text(func(sc scope) *gorm.DB {
			return f.s.eventsAfter(sc, 1, domain.EventFilter{Instances: two, Types: 1}).Where(lte("position", 9)).Limit(9)
		}), []string{"events_"}, inOrder("account_id=? AND position>? AND position<?")},
		{"by id", text(func(sc scope) *gorm.DB { return sc.rows(&eventRow{}).Where(eq("id", exactID(f.mine))) }),
			[]string{"Index Scan using events_by_id"}, []string{"events_by_id (id=?)"}},
		{"heads", text(func(sc scope) *gorm.DB {
			return sc.with(wall{pass: passHeads}).all(&headRow{}).Where(f.s.headsAmong(two))
		}),
			[]string{"event_heads_pkey"}, []string{"event_heads USING PRIMARY KEY (account_id=? AND instance_id=?)"}},
		{"old events", text(func(sc scope) *gorm.DB {
			return sweepable(sc.with(wall{pass: passSweep}), exactID{}, millisOf(now())).Limit(9)
		}), []string{"Index Scan using events_by_id", "deliveries_of_event", "event_heads_pkey"},
			[]string{"events_by_id (id>? AND id<?)", "d USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)", "h USING PRIMARY KEY (account_id=? AND instance_id=?)"}},
		{"what is planned", text(func(sc scope) *gorm.DB { return plannedOf(sc, f.mine, nil).Limit(9) }),
			[]string{"deliveries_waiting"}, []string{"deliveries_waiting (account_id=? AND webhook_id=? AND next_at>?)"}},
		{"what is new", text(func(sc scope) *gorm.DB { return newOf(sc, f.mine, nil).Limit(9) }),
			[]string{"Index Scan Backward using deliveries_waiting"}, []string{"deliveries_waiting (account_id=? AND webhook_id=? AND next_at=?)"}},
		{"what is exhausted", filtered(domain.DeliveryFilter{State: domain.DeliveryExhausted}),
			[]string{"Index Scan Backward using deliveries_failed"}, []string{"deliveries_failed (account_id=? AND webhook_id=?)"}},
		{"of an event", filtered(domain.DeliveryFilter{EventID: f.mine}), []string{"deliveries_pkey", "events_by_id"},
			[]string{"deliveries_log (account_id=? AND webhook_id=? AND rowid>? AND rowid<?)", "events_by_id (id=?)"}},
		{"what failed", filtered(domain.DeliveryFilter{Failed: true}),
			[]string{"Index Scan Backward using deliveries_failed"}, []string{"deliveries_failed (account_id=? AND webhook_id=?)"}},
	}
	if f.s.pool != nil {
		return append(list, plannedText{name: "publish", sql: string(publishPostgres), postgres: []string{
			"(account_id = e.account_id) AND (instance_id IS NULL)", "(account_id = e_1.account_id) AND (instance_id = e_1.instance_id)",
			"Index Scan using webhook_lanes_pkey",
		}})
	}
	return append(list,
		plannedText{name: "fan out", sql: string(matchingSQLite), sqlite: []string{"webhooks_of_instance (account_id=? AND instance_id=?)"}},
		plannedText{name: "due lanes", sql: string(dueLaneSQLite), sqlite: []string{"webhook_lanes USING PRIMARY KEY (account_id=? AND webhook_id=?)"}})
}

// Among thousands of accounts with an instance or two there is one with thousands, each with a webhook.
func TestEventPlans_Postgres(t *testing.T) {
	t.Parallel()
	f := newWallFixture(t, testkit.Engines()[1])
	conn, err := pgx.Connect(t.Context(), f.s.cfg.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	for _, sql := range []string{
		`INSERT INTO accounts (id, created_at, updated_at, request_limit, partner, status, plan, name)
			SELECT gen_random_uuid(), now(), now(), 0, false, 'active', 'free', 'tiny' FROM generate_series(1, 3000)`,
		`INSERT INTO instances (account_id, id, created_at, updated_at, version, webhook_events, auto_read, auto_typing,
				integration, desired, status, name, search_text)
			SELECT a.id, gen_random_uuid(), now() + i * interval '1 s', now(), 1, 0, false, false, 'web', 'connected', 'connected', 'n', 'n'
			FROM accounts a, generate_series(1, CASE a.name WHEN 'mine' THEN 5000 ELSE 1 END) i`,
		`INSERT INTO webhooks (account_id, id, instance_id, created_at, updated_at, version, events, timeout_ms, warnings, of_instance, status, name, url, secret_sealed)
			SELECT account_id, id, id, now(), now(), 1, 255, 5000, 0, true, 'active', '', 'https://x', '' FROM instances`,
		`INSERT INTO webhook_lanes (account_id, webhook_id, epoch, failures) SELECT account_id, id, 0, 0 FROM webhooks`,
		`INSERT INTO event_heads (account_id, instance_id, last) SELECT id, id, 0 FROM accounts UNION SELECT account_id, id, 0 FROM instances`,
		`INSERT INTO events (account_id, position, id, instance_id, sequence, at, type, data)
			SELECT account_id, row_number() OVER (PARTITION BY account_id), gen_random_uuid(), i.id, n, now() - n * interval '1 minute', 1, '{}'
			FROM instances i, generate_series(1, 10) n`,
		`INSERT INTO deliveries (account_id, webhook_id, number, position, event_id, created_at, next_at, took_ms, status_code, attempts, step, manual, state)
			SELECT account_id, instance_id, position, position, id, at, CASE position % 20 WHEN 0 THEN at END, 0, 0, 0, 0, false,
				CASE position % 20 WHEN 0 THEN 'waiting' ELSE 'delivered' END
			FROM events`,
		`VACUUM ANALYZE`,
		`SET plan_cache_mode = force_generic_plan`,
	} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range plannedEvents(t, f) {
		if p.sql == string(publishPostgres) { // the last one
			for _, sql := range []string{"BEGIN", string(byKeyPostgres)} {
				if _, err := conn.Exec(t.Context(), sql); err != nil {
					t.Fatal(err)
				}
			}
		}
		plan := explainText(t, conn, p.sql)
		for _, want := range p.postgres {
			if !strings.Contains(plan, want) {
				t.Errorf("%s: no %q in\n%s", p.name, want, plan)
			}
		}
		if strings.Contains(plan, "Seq Scan") {
			t.Errorf("%s reads a whole table:\n%s", p.name, plan)
		}
	}
}

// explainText returns the plan of a statement for any parameters.
func explainText(t *testing.T, conn *pgx.Conn, text string) string {
	t.Helper()
	n := 0
	for n < 20 && strings.Contains(text, fmt.Sprint("$", n+1)) {
		n++
	}
	arguments := strings.TrimSuffix(strings.Repeat("NULL, ", n), ", ")
	for _, sql := range []string{"DEALLOCATE ALL", "PREPARE explained AS " + text} {
		if _, err := conn.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatal(text, err)
		}
	}
	rows, err := conn.Query(t.Context(), "EXPLAIN EXECUTE explained("+arguments+")", pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}

func TestEventPlans_SQLite(t *testing.T) {
	t.Parallel()
	f := newWallFixture(t, testkit.Engines()[0])
	wholeTable := regexp.MustCompile(`(?m)^SCAN (e|events|o|w|webhooks|webhook_lanes|deliveries|d|event_heads)\b`)
	for _, p := range plannedEvents(t, f) {
		n := strings.Count(p.sql, "?")
		if strings.Contains(p.sql, "?1") {
			n = 0
			for strings.Contains(p.sql, fmt.Sprint("?", n+1)) {
				n++
			}
		}
		rows, err := f.s.pages.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+p.sql, make([]any, n)...)
		if err != nil {
			t.Fatal(p.sql, err)
		}
		plan := collectPlan(t, rows)
		for _, want := range p.sqlite {
			if !strings.Contains(plan, want) {
				t.Errorf("%s: no %q in\n%s", p.name, want, plan)
			}
		}
		if wholeTable.MatchString(plan) {
			t.Errorf("%s reads a whole table:\n%s", p.name, plan)
		}
	}
}
