package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/testkit"
)

// planned is a question with what its plan must and must not contain, on each engine.
type planned struct {
	name             string
	question         pageQuestion
	postgres, sqlite []string
}

func plannedPages(account, partner domain.ID) []planned {
	cursor := &domain.Cursor{CreatedAt: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), ID: account}
	connected := domain.InstanceFilter{Status: domain.StatusConnected}
	page := func(owner domain.ID, f domain.InstanceFilter, p domain.PageRequest) pageQuestion {
		p.Limit = 50
		return pageQuestion{owner: owner, partner: owner == partner, filter: f, page: p}
	}
	return []planned{
		{"first page", page(account, domain.InstanceFilter{}, domain.PageRequest{}),
			[]string{"Index Scan using instances_page on"}, []string{"instances_page "}},
		{"by status", page(account, connected, domain.PageRequest{}),
			[]string{"Index Scan using instances_page_by_status on"}, []string{"instances_page_by_status "}},
		{"offset", page(account, domain.InstanceFilter{}, domain.PageRequest{Offset: 100}),
			[]string{"Index Scan using instances_page on"}, []string{"instances_page "}},
		{"cursor", page(account, domain.InstanceFilter{}, domain.PageRequest{After: cursor}),
			[]string{"Index Scan using instances_page on", "ROW(created_at, id) > ROW("}, []string{"instances_page (account_id=? AND (created_at,id)>(?,?)"}},
		{"cursor by status", page(account, connected, domain.PageRequest{After: cursor}),
			[]string{"Index Scan using instances_page_by_status on", "ROW(created_at, id) > ROW("},
			[]string{"instances_page_by_status (account_id=? AND status=? AND (created_at,id)>(?,?)"}},
		{"deep offset", page(account, domain.InstanceFilter{}, domain.PageRequest{Offset: 10_000}),
			[]string{"Index Only Scan using instances_page on", "Index Scan using instances_pkey on"}, []string{"COVERING INDEX instances_page "}},
		{"deep offset by status", page(account, connected, domain.PageRequest{Offset: 10_000}),
			[]string{"Index Only Scan using instances_page_by_status on"}, []string{"COVERING INDEX instances_page_by_status "}},
		{"search", page(account, domain.InstanceFilter{Search: "x"}, domain.PageRequest{}),
			[]string{"Index Scan using instances_page on"}, []string{"instances_page "}},
		{"partner", page(partner, domain.InstanceFilter{}, domain.PageRequest{}),
			[]string{"Index Scan using instances_partner_page on"}, []string{"instances_partner_page "}},
		{"partner by status", page(partner, connected, domain.PageRequest{After: cursor}),
			[]string{"Index Scan using instances_partner_page_by_status on"}, []string{"instances_partner_page_by_status "}},
		{"partner, deep offset", page(partner, domain.InstanceFilter{}, domain.PageRequest{Offset: 10_000}),
			[]string{"Index Only Scan using instances_partner_page on"}, []string{"COVERING INDEX instances_partner_page "}},
		{"external id", page(account, domain.InstanceFilter{ExternalID: "x"}, domain.PageRequest{}),
			[]string{"instances_external_id"}, []string{"instances_external_id "}},
		{"partner's external id", page(partner, domain.InstanceFilter{ExternalID: "x"}, domain.PageRequest{}),
			[]string{"instances_partner_external_id"}, []string{"instances_partner_external_id "}},
		{"name", page(account, domain.InstanceFilter{Name: "x"}, domain.PageRequest{}),
			[]string{"instances_name"}, []string{"instances_name "}},
		{"phone", page(account, domain.InstanceFilter{Phone: "55"}, domain.PageRequest{}),
			[]string{"instances_phone"}, []string{"instances_phone "}},
		{"ids", page(account, domain.InstanceFilter{IDs: []domain.ID{account, partner}}, domain.PageRequest{}),
			[]string{"instances_pkey"}, []string{"sqlite_autoindex_instances_1 "}},
	}
}

// sorts reports whether a question may gather its rows and sort them: those that find few.
func (p planned) sorts() bool {
	f := p.question.filter
	return f.ExternalID != "" || f.Name != "" || f.Phone != "" || f.IDs != nil
}

// Statistics of thousands of accounts with an instance or two and a huge one: there the average
// account suggests plans that would be a disaster for the huge one. One plan serves both, so it must be
// the one that reads in the order of an index and stops.
func TestPlans_Postgres(t *testing.T) {
	t.Parallel()
	f := newWallFixture(t, testkit.Engines()[1])
	conn, err := pgx.Connect(t.Context(), f.s.cfg.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	for _, sql := range []string{
		`INSERT INTO accounts (id, parent_id, created_at, updated_at, request_limit, partner, status, plan, name)
			SELECT gen_random_uuid(), (SELECT id FROM accounts WHERE name = 'theirs'), now(), now(), 0, false, 'active', 'free', 'tiny' FROM generate_series(1, 5000)`,
		`INSERT INTO instances (account_id, partner_id, id, created_at, updated_at, version, webhook_events, auto_read, auto_typing,
				integration, desired, status, name, search_text, external_id, phone)
			SELECT a.id, a.parent_id, gen_random_uuid(), now() + i * interval '1 s', now(), 1, 0, false, false,
				'web', 'connected', (ARRAY['connected', 'disconnected'])[1 + i % 2], 'n' || i, 'n' || i, 'e' || i, '5' || i
			FROM accounts a, generate_series(1, CASE a.name WHEN 'mine' THEN 40000 ELSE 1 END) i WHERE a.name IN ('tiny', 'mine')`,
		`VACUUM ANALYZE`,
		`SET plan_cache_mode = force_generic_plan`,
	} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range plannedPages(f.mine, f.theirs) {
		q, err := f.s.pageQuery(t.Context(), p.question.shape(true))
		if err != nil {
			t.Fatal(err)
		}
		plan := explainPostgres(t, conn, p, q)
		for _, want := range p.postgres {
			if !strings.Contains(plan, want) {
				t.Errorf("%s: no %q in\n%s\n%s", p.name, want, q.sql, plan)
			}
		}
		for _, refused := range []string{"WindowAgg", "Seq Scan on instances", "Bitmap Heap Scan", "Hash Join", "Merge Join"} {
			if strings.Contains(plan, refused) && !p.sorts() && p.question.filter.Search == "" {
				t.Errorf("%s: %q in\n%s", p.name, refused, plan)
			}
		}
		deep := p.question.shape(true).paging == fromDeepOffset // sorts the page, not what is skipped
		if strings.Contains(plan, "Sort Key") && !deep && !p.sorts() {
			t.Errorf("%s sorts:\n%s", p.name, plan)
		}
	}
}

// explainPostgres returns the plan that pgx's prepared statement would get.
func explainPostgres(t *testing.T, conn *pgx.Conn, p planned, q *pageQuery) string {
	t.Helper()
	var literals []string
	for _, arg := range p.question.postgresArgs(q.slots)[1:] {
		switch v := arg.(type) {
		case uid:
			literals = append(literals, "'"+domain.ID(v).String()+"'")
		case exactID:
			literals = append(literals, "'"+domain.ID(v).String()+"'")
		case uidArray:
			literals = append(literals, "ARRAY['"+domain.ID(v[0]).String()+"']::uuid[]")
		case time.Time:
			literals = append(literals, "'"+v.Format(time.RFC3339)+"'")
		default:
			literals = append(literals, fmt.Sprintf("'%v'", v))
		}
	}
	for _, sql := range []string{"DEALLOCATE ALL", "PREPARE page AS " + q.sql} {
		if _, err := conn.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := conn.Query(t.Context(), "EXPLAIN EXECUTE page("+strings.Join(literals, ", ")+")", pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}

func TestPlans_SQLite(t *testing.T) {
	t.Parallel()
	f := newWallFixture(t, testkit.Engines()[0])
	for _, p := range plannedPages(f.mine, f.theirs) {
		q, err := f.s.pageQuery(t.Context(), p.question.shape(false))
		if err != nil {
			t.Fatal(err)
		}
		rows, err := f.s.pages.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+q.sql, p.question.sqliteArgs(q.slots)...)
		if err != nil {
			t.Fatal(err)
		}
		plan := collectPlan(t, rows)
		for _, want := range p.sqlite {
			if !strings.Contains(plan, want) {
				t.Errorf("%s: no %q in\n%s", p.name, want, plan)
			}
		}
		deep := p.question.shape(false).paging == fromDeepOffset
		if strings.Contains(plan, "SCAN instances") || strings.Contains(plan, "TEMP B-TREE") && !deep && !p.sorts() {
			t.Errorf("%s scans or sorts:\n%s", p.name, plan)
		}
	}
}

func collectPlan(t *testing.T, rows *sql.Rows) string {
	t.Helper()
	defer func() { _ = rows.Close() }()
	var plan strings.Builder
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			t.Fatal(err)
		}
		plan.WriteString(detail + "\n")
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return plan.String()
}
