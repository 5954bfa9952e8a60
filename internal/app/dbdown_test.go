package app_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/pombal-api/pombal/internal/app"
	"github.com/pombal-api/pombal/internal/auth"
	"github.com/pombal-api/pombal/internal/testkit"
	"github.com/pombal-api/pombal/internal/testkit/apitest"
	"github.com/pombal-api/pombal/pkg/api"
)

// everyCall returns one request of every kind that needs the database, by name. They belong to a tenant
// that they do not harm, apart from creating things.
func everyCall(t *testing.T, s *apitest.Server) map[string]request {
	t.Helper()
	partner := s.NewPartner(t)
	child := partner.NewChild(t)
	instance := child.NewInstance(t, "of the child")
	ownToken := instanceToken(t, s, child.Key)
	spare, err := child.API.APIKeys.Create(t.Context(), api.CreateAPIKey{Name: "spare", Scopes: []api.Scope{api.ScopeInstancesRead}})
	if err != nil {
		t.Fatal(err)
	}
	own, boss := bearer(child.Key), bearer(partner.Key)
	on := append(slices.Clone(boss), "X-Account-Id", child.ID)
	once := append(slices.Clone(own), "Idempotency-Key", "while-it-is-down")
	path := "/v1/instances/" + instance.ID
	return map[string]request{
		"list":               {method: "GET", path: "/v1/instances", header: own},
		"list by token":      {method: "GET", path: "/v1/instances", header: bearer(mintToken(t, child.API))},
		"list of all":        {method: "GET", path: "/v1/instances", header: append(slices.Clone(boss), "X-Account-Id", "*")},
		"list on behalf":     {method: "GET", path: "/v1/instances", header: on},
		"unknown key":        {method: "GET", path: "/v1/instances", header: bearer(auth.NewKey(make([]byte, 32)).Plain)},
		"get":                {method: "GET", path: path, header: own},
		"status":             {method: "GET", path: path + "/status", header: own},
		"create":             {method: "POST", path: "/v1/instances", header: own, body: `{"name":"new"}`},
		"create once":        {method: "POST", path: "/v1/instances", header: once, body: `{"name":"once","externalId":"once"}`},
		"update":             {method: "PATCH", path: path, header: own, body: `{"name":"renamed"}`},
		"delete":             {method: "DELETE", path: path + "x", header: own}, // not found, but who may ask?
		"keys":               {method: "GET", path: "/v1/api-keys", header: own},
		"create key":         {method: "POST", path: "/v1/api-keys", header: own, body: `{"name":"new","scopes":["instances:read"]}`},
		"rotate key":         {method: "POST", path: "/v1/api-keys/" + spare.ID + "/rotate", header: own, body: `{}`},
		"revoke key":         {method: "DELETE", path: "/v1/api-keys/" + spare.ID, header: own},
		"create token":       {method: "POST", path: "/v1/tokens", header: own, body: `{}`},
		"accounts":           {method: "GET", path: "/v1/accounts", header: boss},
		"get account":        {method: "GET", path: "/v1/accounts/" + child.ID, header: boss},
		"create account":     {method: "POST", path: "/v1/accounts", header: boss, body: `{"name":"new"}`},
		"update account":     {method: "PATCH", path: "/v1/accounts/" + child.ID, header: boss, body: `{"name":"renamed"}`},
		"limits":             {method: "GET", path: "/v1/limits", header: own},
		"evolution":          {method: "GET", path: "/instance/fetchInstances", header: []string{"apikey", child.Key}},
		"evolution by token": {method: "GET", path: "/instance/fetchInstances", header: []string{"apikey", ownToken}},
		"evolution unknown":  {method: "GET", path: "/instance/fetchInstances", header: []string{"apikey", strings.Repeat("A1B2", 9)}},
		"readyz":             {method: "GET", path: "/readyz"},
	}
}

// instanceToken reads the token of the first instance that a key sees.
func instanceToken(t *testing.T, s *apitest.Server, key string) string {
	t.Helper()
	got := mustSend(t, s.HTTP(t), s.URL, request{method: "GET", path: "/instance/fetchInstances", header: []string{"apikey", key}})
	var list []api.EvolutionInstance
	if err := json.Unmarshal(got.body, &list); err != nil || len(list) == 0 || list[0].APIKey == "" {
		t.Fatalf("no instance token in %s (%v)", got.body, err)
	}
	return list[0].APIKey
}

// checkUnavailable holds what a caller is told when the database cannot be reached.
func checkUnavailable(r request, got reply) error {
	if got.status != http.StatusServiceUnavailable {
		return fmt.Errorf("answered %d: %s", got.status, got.body)
	}
	if seconds, err := strconv.Atoi(got.header.Get("Retry-After")); err != nil || seconds < 1 || seconds > 60 {
		return fmt.Errorf("Retry-After is %q", got.header.Get("Retry-After"))
	}
	if kind := got.header.Get("Content-Type"); !strings.HasPrefix(kind, "application/json") {
		return fmt.Errorf("the body is %s", kind)
	}
	if strings.HasPrefix(r.path, "/instance/") {
		var failure api.EvolutionFailure
		if err := json.Unmarshal(got.body, &failure); err != nil || !failure.Error || failure.Message == "" {
			return fmt.Errorf("the body is %s", got.body)
		}
		return nil
	}
	if code := codeOf(got); code != api.ErrorCodeUnavailable {
		return fmt.Errorf("the code is %q in %s", code, got.body)
	}
	return nil
}

// TestDatabaseDown stops and kills PostgreSQL under a node and starts it again.
func TestDatabaseDown(t *testing.T) {
	t.Parallel()
	pg := testkit.NewPrivatePostgres(t)
	s := apitest.StartOn(t, testkit.Database{URL: pg.URL, Dir: t.TempDir()})
	calls := everyCall(t, s)
	for _, way := range []struct {
		name string
		down func()
	}{{"stopped", pg.Stop}, {"killed", pg.Kill9}} {
		t.Run(way.name, func(t *testing.T) {
			stop := keepCalling(t, s, calls["list"], calls["create"], calls["create once"], calls["evolution"])
			way.down()
			allUnavailable(t, s, calls, 2*time.Second)
			for _, path := range []string{"/livez", "/openapi.json"} {
				if got := mustSend(t, s.HTTP(t), s.URL, request{method: "GET", path: path}); got.status != http.StatusOK {
					t.Errorf("%s answered %d without a database", path, got.status)
				}
			}
			if got := mustSend(t, plainClient(t), s.AdminURL, request{method: "GET", path: "/readyz"}); got.status != http.StatusServiceUnavailable {
				t.Errorf("/readyz on the admin port answered %d without a database", got.status)
			}
			pg.Start()
			allServed(t, s, calls, 10*time.Second)
			stop()
		})
	}
}

// allUnavailable holds that every call is answered in time with 503. For a second, some calls may still be
// answered from memory.
func allUnavailable(t *testing.T, s *apitest.Server, calls map[string]request, within time.Duration) {
	t.Helper()
	client := s.HTTP(t)
	eventually(t, 10*time.Second, func() error {
		for _, name := range []string{"limits", "create token", "delete"} {
			if err := checkUnavailable(calls[name], mustSend(t, client, s.URL, calls[name])); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		return nil
	})
	var all errgroup.Group
	for name, r := range calls {
		all.Go(func() error {
			began := time.Now()
			got, err := send(t.Context(), client, s.URL, r)
			if err == nil {
				err = checkUnavailable(r, got)
			}
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			limit := within
			if name == "delete" { // it may wait for the instance's node as well, see commandPatience
				limit += 5 * time.Second
			}
			if took := time.Since(began); took > limit {
				t.Errorf("%s was answered after %v", name, took)
			}
			return nil
		})
	}
	_ = all.Wait()
}

// allServed waits until every call is answered again, without a restart.
func allServed(t *testing.T, s *apitest.Server, calls map[string]request, within time.Duration) {
	t.Helper()
	client, began := s.HTTP(t), time.Now()
	for _, name := range slices.Sorted(maps.Keys(calls)) {
		eventually(t, within, func() error {
			if got := mustSend(t, client, s.URL, calls[name]); got.status >= 500 {
				return fmt.Errorf("%s is answered %d: %s", name, got.status, got.body)
			}
			return nil
		})
	}
	t.Logf("all calls are served again after %v", time.Since(began).Round(time.Millisecond))
}

// keepCalling sends the requests over and over until stop is called, while the database comes and goes.
// Each must be served, or told to come back.
func keepCalling(t *testing.T, s *apitest.Server, requests ...request) (stop func()) {
	t.Helper()
	client := plainClient(t)
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	statuses := map[int]int{}
	var all errgroup.Group
	for _, r := range requests {
		all.Go(func() error {
			for pace := time.NewTicker(2 * time.Millisecond); ; <-pace.C {
				got, err := send(ctx, client, s.URL, r)
				if ctx.Err() != nil {
					return nil
				}
				if err != nil {
					return err
				}
				mu.Lock()
				statuses[got.status]++
				mu.Unlock()
				if got.status != http.StatusOK && got.status != http.StatusCreated && got.status != http.StatusConflict {
					err = checkUnavailable(r, got)
				}
				if err != nil {
					return fmt.Errorf("%s %s: %w", r.method, r.path, err)
				}
			}
		})
	}
	stop = sync.OnceFunc(func() {
		cancel()
		if err := all.Wait(); err != nil {
			t.Error(err)
		}
		t.Logf("answers while the database came and went: %v", statuses)
	})
	t.Cleanup(stop)
	return stop
}

// TestDatabaseSilent lets the network swallow what node and database say to each other: no connection
// breaks, nothing answers.
func TestDatabaseSilent(t *testing.T) {
	t.Parallel()
	db := apitest.NewDatabase(t, postgres(t))
	patient := apitest.StartOn(t, db) // a busy machine may take longer for a call than the other one has
	calls := everyCall(t, patient)
	patient.Stop()
	network := newLink(t, db.URL)
	s := apitest.StartOn(t, testkit.Database{URL: network.url, Dir: db.Dir}, func(c *app.Config) { c.RequestTimeout = time.Second })
	t.Cleanup(func() { showSessions(t, db.URL) })
	allServed(t, s, calls, 10*time.Second)
	network.freeze()
	allUnavailable(t, s, calls, 4*time.Second)
	if got := mustSend(t, s.HTTP(t), s.URL, request{method: "GET", path: "/livez"}); got.status != http.StatusOK {
		t.Errorf("/livez answered %d", got.status)
	}
	network.thaw()
	allServed(t, s, calls, 10*time.Second)
	network.cut()
	allServed(t, s, calls, 10*time.Second)
}

// showSessions tells of a test that has failed what the sessions of its database are doing, and who holds them up.
func showSessions(t *testing.T, databaseURL string) {
	t.Helper()
	if !t.Failed() {
		return
	}
	ctx := context.WithoutCancel(t.Context())
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		t.Log(err)
		return
	}
	defer func() { _ = conn.Close(ctx) }()
	rows, err := conn.Query(ctx, `SELECT format('%s %s %s:%s, in a transaction for %s, held up by %s: %s', pid, state, wait_event_type, wait_event,
			now() - xact_start, pg_blocking_pids(pid), query)
		FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
	if err != nil {
		t.Log(err)
		return
	}
	sessions, err := pgx.CollectRows(rows, pgx.RowTo[string])
	t.Logf("%d sessions (%v):\n%s", len(sessions), err, strings.Join(sessions, "\n"))
}

// TestSQLiteLockedByAnother has another program keep the database's write lock, as a shell does in which
// somebody forgot a transaction.
func TestSQLiteLockedByAnother(t *testing.T) {
	t.Parallel()
	db := testkit.Database{Dir: t.TempDir()}
	s := apitest.StartOn(t, db)
	tenant, client := s.NewTenant(t), s.HTTP(t)
	other, err := sql.Open("sqlite", "file:"+filepath.Join(db.Dir, "pombal.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	lock, err := other.Conn(t.Context())
	if err == nil {
		_, err = lock.ExecContext(t.Context(), "BEGIN IMMEDIATE")
	}
	if err != nil {
		t.Fatal(err)
	}
	create := request{method: "POST", path: "/v1/instances", body: `{"name":"waits"}`, header: bearer(tenant.Key)}
	if err = checkUnavailable(create, mustSend(t, client, s.URL, create)); err != nil {
		t.Errorf("a create that cannot get the lock: %v", err)
	}
	for _, path := range []string{"/v1/instances", "/readyz"} { // who only reads does not notice
		if got := mustSend(t, client, s.URL, request{method: "GET", path: path, header: bearer(tenant.Key)}); got.status != http.StatusOK {
			t.Errorf("%s answered %d: %s", path, got.status, got.body)
		}
	}
	_, err = lock.ExecContext(t.Context(), "ROLLBACK")
	if err = errors.Join(err, lock.Close()); err != nil {
		t.Fatal(err)
	}
	if got := mustSend(t, client, s.URL, create); got.status != http.StatusCreated {
		t.Errorf("after the lock was released, a create is answered %d: %s", got.status, got.body)
	}
}

// TestLostCommitIsNotRepeated breaks the connection to the database between a commit and its confirmation:
// the caller cannot know, and the Idempotency-Key must make the repetition safe.
func TestLostCommitIsNotRepeated(t *testing.T) {
	t.Parallel()
	db := apitest.NewDatabase(t, postgres(t))
	network := newLink(t, db.URL)
	plain := network.url + "&default_query_exec_mode=cache_describe" // so that each statement is sent in clear
	s := apitest.StartOn(t, testkit.Database{URL: plain, Dir: db.Dir})
	tenant := s.NewTenant(t)
	client := s.HTTP(t)
	for name, c := range map[string]struct{ table, path, body string }{
		"instance":    {"instances", "/v1/instances", `{"name":"once"}`},
		"external id": {"instances", "/v1/instances", `{"name":"once","externalId":"once"}`},
		"key":         {"api_keys", "/v1/api-keys", `{"name":"once","scopes":["instances:read"]}`},
	} {
		t.Run(name, func(t *testing.T) {
			r := request{method: "POST", path: c.path, body: c.body, header: append(bearer(tenant.Key), "Idempotency-Key", rand.Text())}
			before := total(t, client, s, tenant.Key, c.path)
			network.loseCommitOf(`INSERT INTO "` + c.table + `"`)
			if err := checkUnavailable(r, mustSend(t, client, s.URL, r)); err != nil {
				t.Error(err)
			}
			if now := total(t, client, s, tenant.Key, c.path); now != before+1 {
				t.Fatalf("there were %d, now %d: the commit was not lost as it should have been", before, now)
			}
			again := mustSend(t, client, s.URL, r)
			if again.status != http.StatusCreated {
				t.Errorf("repeated, it is answered %d: %s", again.status, again.body)
			}
			if third := mustSend(t, client, s.URL, r); string(third.body) != string(again.body) {
				t.Errorf("repeated again, it is answered %s", third.body)
			}
			if now := total(t, client, s, tenant.Key, c.path); now != before+1 {
				t.Errorf("there were %d, now %d", before, now)
			}
		})
	}
}

// total is how many objects a list has.
func total(t *testing.T, client *http.Client, s *apitest.Server, key, path string) int64 {
	t.Helper()
	got := mustSend(t, client, s.URL, request{method: "GET", path: path, header: bearer(key)})
	var page api.Page[struct{}]
	if err := json.Unmarshal(got.body, &page); err != nil || !page.Success {
		t.Fatalf("%s answered %d: %s", path, got.status, got.body)
	}
	return page.Pagination.Total
}

// TestUnreachableDatabaseEndsTheStart holds that the operator is told, and not the password.
func TestUnreachableDatabaseEndsTheStart(t *testing.T) {
	t.Parallel()
	cfg := apitest.Config(testkit.Database{URL: "postgres://pombal:hunter2hunter2@127.0.0.1:1/pombal", Dir: t.TempDir()})
	node, err := app.Open(t.Context(), cfg, io.Discard)
	if err == nil {
		_ = node.Close()
		t.Fatal("a node started without its database")
	}
	if text := err.Error(); !strings.Contains(text, "127.0.0.1:1") || strings.Contains(text, "hunter2") {
		t.Errorf("the operator is told: %s", text)
	}
}
