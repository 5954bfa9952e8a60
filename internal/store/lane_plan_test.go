package store

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pombal-api/pombal/internal/testkit"
)

// Every statement by hand that crosses accounts. Adding one is a decision, as in TestWall_Passes: it must join rows
// by their account, and only workers may cause it.
func TestCrossing(t *testing.T) {
	t.Parallel()
	want := []string{
		"anyLaneSQLite", "applyPostgres", "applySQLite", "byKeyPostgres", "claimLanesPostgres", "deliverSQLite", "dueDeliveries",
		"dueLaneSQLite", "failingWebhooks", "freeLanesSQLite", "heldLanesSQLite", "holdLanesPostgres", "insertDeliveriesSQLite",
		"insertDeliverySQLite", "insertEventSQLite", "insertEventsSQLite", "keepAttemptSQLite", "laneSQLite", "lockFailingPostgres",
		"lockLanesPostgres", "matchingSQLite", "moveFreeHeadsPostgres", "moveHeadsSQLite", "nextDue", "publishPostgres",
		"releaseLaneSQLite", "renewLanesPostgres", "renewLanesSQLite", "saveFailingPostgres", "saveFailingSQLite", "saveLaneSQLite",
		"saveLanesPostgres", "takeLaneSQLite",
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if spec, ok := n.(*ast.ValueSpec); ok && isCrossing(spec) {
				got = append(got, spec.Names[0].Name)
			}
			if call, ok := n.(*ast.CallExpr); ok && isName(call.Fun, "crossing") {
				t.Errorf("%s: text becomes a statement that crosses accounts", name)
			}
			return true
		})
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// isCrossing reports whether constants, or variables, are statements that cross accounts.
func isCrossing(spec *ast.ValueSpec) bool {
	if isName(spec.Type, "crossing") {
		return true
	}
	if len(spec.Values) == 0 {
		return false
	}
	literal, ok := spec.Values[0].(*ast.CompositeLit)
	return ok && isName(literal.Type, "everywhere")
}

func isName(x ast.Expr, name string) bool {
	id, ok := x.(*ast.Ident)
	return ok && id.Name == name
}

// plannedLanes are the statements of workers with their parameters' types or values, and what must be in their plans.
func plannedLanes() []struct {
	name             string
	postgres, sqlite crossing
	parameters       string // PostgreSQL's
	values           []any  // SQLite's
	wantPostgres     []string
	wantSQLite       []string
} {
	id := uid{1}
	const ids = `ARRAY['01000000-0000-7000-8000-000000000000']::uuid[]`
	return []struct {
		name             string
		postgres, sqlite crossing
		parameters       string
		values           []any
		wantPostgres     []string
		wantSQLite       []string
	}{
		{"claim", claimLanesPostgres, freeLanesSQLite, `'01000000-0000-7000-8000-000000000000', 10, 15`, []any{millis(1), 10},
			[]string{"webhook_lanes_due", "webhook_lanes_pkey"}, []string{"webhook_lanes_due", "sqlite_autoindex_webhooks_1"}},
		{"renew", renewLanesPostgres, heldLanesSQLite, `'01000000-0000-7000-8000-000000000000', 15`, []any{id},
			[]string{"webhook_lanes_of_worker"}, []string{"webhook_lanes_of_worker"}},
		{"next", nextDue.postgres, nextDue.sqlite, ``, []any{1}, []string{"webhook_lanes_due"}, []string{"webhook_lanes_due"}},
		{"failing", failingWebhooks.postgres, failingWebhooks.sqlite, `now(), 1, 10`, []any{millis(1), 1, 10},
			[]string{"webhooks_failing"}, []string{"webhooks_failing"}},
		{"due", dueDeliveries.postgres, dueDeliveries.sqlite, ids + `, ` + ids + `, '{10}', '{}', '{1}', '{0}'`, []any{id, id, millis(1), "[]", 10},
			[]string{"Index Scan using deliveries_waiting", "events_pkey"},
			[]string{"deliveries_waiting (account_id=? AND webhook_id=? AND next_at<?)", "deliveries_waiting (account_id=? AND webhook_id=? AND next_at=?)",
				"d USING INTEGER PRIMARY KEY", "e USING INTEGER PRIMARY KEY"}},
		{"apply", applyPostgres, applySQLite, ids + `, ` + ids + `, '{1}', '{1}', '{now}', '{1}', '{200}', '{f}', '{""}', '{""}', '{delivered}', '{1}', '{null}', now()`,
			[]any{id, id, 1, 1, millis(1), 1, 200, "", "delivered", 1, millis(1), true, false, id},
			[]string{"deliveries_pkey", "Tid Scan on deliveries"}, []string{"deliveries USING INTEGER PRIMARY KEY"}},
		{"save lanes", saveLanesPostgres, releaseLaneSQLite, ids + `, ` + ids + `, '{0}', '{null}', '{t}', now()`, []any{id, id, millis(1)},
			[]string{"webhook_lanes_pkey", "deliveries_waiting"}, []string{"webhook_lanes USING PRIMARY KEY", "deliveries_waiting"}},
		{"heads", moveFreeHeadsPostgres, moveHeadsSQLite, ids + `, ` + ids + `, '{1}'`, []any{"[]"},
			[]string{"Index Scan using event_heads_pkey on event_heads"}, nil},
		{"publish", publishPostgres, matchingSQLite, ids + `, '{1}', ` + ids + `, ` + ids + `, '{1}', '{now}', '{1}', '{""}'`, []any{"[]", millis(1)},
			[]string{"(account_id = e.account_id)", "(account_id = e_1.account_id) AND (instance_id = e_1.instance_id)", "webhook_lanes_pkey"},
			[]string{"webhooks_of_instance (account_id=? AND instance_id=?)"}},
		{"lock", lockLanesPostgres, laneSQLite, ids + `, ` + ids, []any{"[]"},
			[]string{"webhook_lanes_pkey"}, []string{"l USING PRIMARY KEY"}},
	}
}

// Plans hold for a database that has just begun, whose tables look small, and for one that has grown.
func TestLanePlans_Postgres(t *testing.T) {
	t.Parallel()
	f := newWallFixture(t, testkit.Engines()[1])
	conn, err := pgx.Connect(t.Context(), f.s.cfg.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	exec := func(sql string) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatal(err)
		}
	}
	exec(`SET plan_cache_mode = force_generic_plan`)
	explain := func(age string) {
		for _, p := range plannedLanes() {
			exec(`BEGIN`)
			exec(string(byKeyPostgres))
			exec(`DEALLOCATE ALL`)
			exec(`PREPARE q AS ` + string(p.postgres))
			execute := `EXPLAIN EXECUTE q`
			if p.parameters != "" {
				execute += `(` + p.parameters + `)`
			}
			rows, err := conn.Query(t.Context(), execute, pgx.QueryExecModeSimpleProtocol)
			if err != nil {
				t.Fatal(p.name, err)
			}
			lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if err != nil {
				t.Fatal(p.name, err)
			}
			exec(`ROLLBACK`)
			checkLanePlan(t, p.name+" in a "+age+" database", strings.Join(lines, "\n"), p.wantPostgres,
				"Seq Scan on", "Bitmap Heap Scan on deliveries")
		}
	}
	explain("new")
	exec(`INSERT INTO webhooks (account_id, id, created_at, updated_at, version, events, timeout_ms, warnings, of_instance, status, name, url, secret_sealed)
		SELECT a.id, a.id, now(), now(), 1, 255, 5000, 0, false, 'active', 'hook', 'https://example.com/', '' FROM accounts AS a`)
	exec(`INSERT INTO webhook_lanes (account_id, webhook_id, epoch, failures) SELECT account_id, id, 0, 0 FROM webhooks`)
	exec(`INSERT INTO events (account_id, position, id, sequence, at, type, data) SELECT a.id, 1, gen_random_uuid(), 0, now(), 1, '' FROM accounts AS a`)
	exec(`INSERT INTO deliveries (account_id, webhook_id, number, position, event_id, created_at, took_ms, status_code, attempts, step, manual, state)
		SELECT account_id, account_id, 1, 1, id, now(), 0, 0, 0, 0, false, 'delivered' FROM events`)
	exec(`VACUUM ANALYZE`)
	explain("tiny") // which statistics say, and which it is no more a moment later
	exec(`DELETE FROM deliveries`)
	exec(`DELETE FROM events`)
	exec(`DELETE FROM webhooks`)
	exec(`INSERT INTO webhooks (account_id, id, created_at, updated_at, version, events, timeout_ms, warnings, of_instance, status, name, url, secret_sealed, failing_since)
		SELECT a.id, gen_random_uuid(), now(), now(), 1, 255, 5000, 0, false, 'active', 'hook', 'https://example.com/', '', CASE WHEN i % 100 = 0 THEN now() END
		FROM accounts AS a, generate_series(1, 2000) AS i`)
	exec(`INSERT INTO webhook_lanes (account_id, webhook_id, epoch, failures, due_at, worker_id)
		SELECT account_id, id, 0, 0, CASE WHEN random() < 0.1 THEN now() END, CASE WHEN random() < 0.01 THEN gen_random_uuid() END FROM webhooks`)
	exec(`INSERT INTO events (account_id, position, id, sequence, at, type, data)
		SELECT a.id, i, gen_random_uuid(), 0, now(), 1, '' FROM accounts AS a, generate_series(1, 20000) AS i`)
	exec(`INSERT INTO deliveries (account_id, webhook_id, number, position, event_id, created_at, next_at, took_ms, status_code, attempts, step, manual, state)
		SELECT e.account_id, w.id, e.position, e.position, e.id, now(), CASE WHEN position % 50 = 0 THEN now() END, 0, 0, 0, 0, false,
			CASE WHEN position % 50 = 0 THEN 'waiting' ELSE 'delivered' END
		FROM events AS e JOIN LATERAL (SELECT id FROM webhooks AS w WHERE w.account_id = e.account_id ORDER BY id LIMIT 1) AS w ON true`)
	exec(`VACUUM ANALYZE`)
	explain("grown")
}

func TestLanePlans_SQLite(t *testing.T) {
	t.Parallel()
	f := newWallFixture(t, testkit.Engines()[0])
	for _, p := range plannedLanes() {
		rows, err := f.s.pages.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+string(p.sqlite), p.values...)
		if err != nil {
			t.Fatal(p.name, err)
		}
		plan := collectPlan(t, rows)
		if p.name == "due" { // which sorts as many as it may return, of either kind, and nothing before that
			plan = regexp.MustCompile(`(SCAN \(subquery-\d+\)\n)USE TEMP B-TREE FOR ORDER BY\n`).ReplaceAllString(plan, "$1")
		}
		checkLanePlan(t, p.name, plan, p.wantSQLite, "SCAN e\n", "SCAN w\n", "SCAN webhook", "SCAN deliveries", "TEMP B-TREE")
	}
}

func checkLanePlan(t *testing.T, name, plan string, wanted []string, refused ...string) {
	t.Helper()
	for _, want := range wanted {
		if !strings.Contains(plan, want) {
			t.Errorf("%s: no %q in\n%s", name, want, plan)
		}
	}
	for _, bad := range refused {
		if strings.Contains(plan, bad) {
			t.Errorf("%s: %q in\n%s", name, bad, plan)
		}
	}
}
