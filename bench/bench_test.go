package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pombal-api/pombal/bench/internal/deliveries"
	"github.com/pombal-api/pombal/bench/internal/sessions"
	"github.com/pombal-api/pombal/internal/app"
	"github.com/pombal-api/pombal/internal/testkit"
	"github.com/pombal-api/pombal/internal/testkit/apitest"
)

// TestMain lets the test binary play the roles of the benchmark.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-") {
		if err := run(context.Background(), os.Args[1:], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// TestEverything runs the whole benchmark with next to nothing: that answers are equal and totals right is
// checked by the benchmark itself, the numbers are worth nothing.
func TestEverything(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the binary and starts a PostgreSQL server")
	}
	postgres := testkit.NewPostgres(t) // skips where there is none
	report := filepath.Join(t.TempDir(), "report.json")
	args := []string{
		"-postgres", postgres, "-suites", "list,growth", "-rows", "60000", "-sqlite-rows", "3000", "-conns", "1,32", "-rounds", "1", "-slice", "20ms",
		"-growth-rounds", "1", "-growth-slice", "10ms", "-json", report,
	}
	var out bytes.Buffer
	if err := run(t.Context(), args, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| pombal-sqlite |", "| offset 10,000 |", "all children against one account"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report has no %q:\n%s", want, &out)
		}
	}
	var saved struct {
		List   []json.RawMessage `json:"list"`
		Growth []json.RawMessage `json:"growth"`
	}
	raw, err := os.ReadFile(report)
	if err == nil {
		err = json.Unmarshal(raw, &saved)
	}
	if err != nil || len(saved.List) != 2*4 || len(saved.Growth) == 0 {
		t.Errorf("the saved report has %d slices and %d cells: %v", len(saved.List), len(saved.Growth), err)
	}
}

// TestSessions keeps a few sessions: that all come, and come back, is checked by the benchmark itself.
func TestSessions(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a PostgreSQL server and some processes")
	}
	postgres := testkit.NewPostgres(t) // skips where there is none
	report := filepath.Join(t.TempDir(), "report.json")
	args := []string{
		"-postgres", postgres, "-suites", "sessions", "-sessions", "8", "-session-rounds", "1", "-session-idle", "10ms",
		"-session-calm", "10ms", "-json", report,
	}
	var out bytes.Buffer
	if err := run(t.Context(), args, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| sessions, SQLite |", "| sessions, PostgreSQL |", "| 8, pombal |"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report has no %q:\n%s", want, &out)
		}
	}
	var saved struct {
		Sessions []*sessionRun `json:"sessions"`
	}
	raw, err := os.ReadFile(report)
	if err == nil {
		err = json.Unmarshal(raw, &saved)
	}
	if err != nil || len(saved.Sessions) != 2*2 {
		t.Fatalf("the saved report has %d runs: %v", len(saved.Sessions), err)
	}
	for _, r := range saved.Sessions {
		if r.Cold.Dials.Total < r.Size || r.Cut.Dials.Total < r.Size || r.Ready.Collected.RSS <= r.Base.RSS || goroutinesEach(r) < 3 {
			t.Errorf("%s on %s: %+v", r.Variant, r.Engine, r)
		}
	}
}

// TestDeliveries delivers a few events: that every one arrives is checked by the benchmark itself.
func TestDeliveries(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a PostgreSQL server and some processes")
	}
	postgres := testkit.NewPostgres(t) // skips where there is none
	report := filepath.Join(t.TempDir(), "report.json")
	args := []string{
		"-postgres", postgres, "-suites", "deliveries", "-delivery-rounds", "1", "-delivery-slice", "100ms", "-delivery-calm", "500ms", "-json", report,
	}
	var out bytes.Buffer
	if err := run(t.Context(), args, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| deliveries, SQLite |", "| deliveries, PostgreSQL |", "| pombal, " + caseHot, "none was lost"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report has no %q:\n%s", want, &out)
		}
	}
	var saved struct {
		Deliveries []*deliveryRun `json:"deliveries"`
	}
	raw, err := os.ReadFile(report)
	if err == nil {
		err = json.Unmarshal(raw, &saved)
	}
	if err != nil || len(saved.Deliveries) != 2*6 {
		t.Fatalf("the saved report has %d runs: %v", len(saved.Deliveries), err)
	}
	for _, r := range saved.Deliveries {
		got := r.Result
		if got.Events == 0 || got.Seconds < got.Publishing || got.Delivery.P50 <= 0 || got.Delivery.P99 < got.Delivery.P50 || got.Publish.P50 <= 0 {
			t.Errorf("%s, %s on %s: %+v", r.Variant, r.Case, r.Engine, got)
		}
	}
}

// TestDeliveryGoals judges made-up runs.
func TestDeliveryGoals(t *testing.T) {
	t.Parallel()
	made := func(engine string, perSecond int, p95, noisy float64) (runs []*deliveryRun) {
		at := func(ms float64) deliveries.Result {
			return deliveries.Result{Events: 100, Seconds: 1, Delivery: deliveries.Quantiles{P95: ms}}
		}
		return append(runs,
			&deliveryRun{engine, caseSaturated, variantFloor, 0, deliveries.Result{Events: 1_000, Seconds: 1}},
			&deliveryRun{engine, caseSaturated, variantPombal, 0, deliveries.Result{Events: perSecond, Seconds: 1}},
			&deliveryRun{engine, caseCalm, variantPombal, 0, at(p95)}, &deliveryRun{engine, caseNoisy, variantPombal, 0, at(noisy)})
	}
	r := &report{Deliveries: append(made(engineSQLite, 510, 249, 290), made(enginePostgres, 490, 251, 310)...)}
	verdicts := r.judge()
	if len(verdicts) != 2*3 {
		t.Fatalf("%d verdicts", len(verdicts))
	}
	for _, v := range verdicts {
		want := reached
		if strings.HasPrefix(v.Goal, enginePostgres) {
			want = missed
		}
		if v.Verdict != want {
			t.Errorf("%s: measured %s, %s", v.Goal, v.Measured, v.Verdict)
		}
	}
}

// TestSessionGoals judges made-up runs.
func TestSessionGoals(t *testing.T) {
	t.Parallel()
	at := func(kilobytes int64) sessions.Figures {
		return sessions.Figures{RSS: kilobytes << 10, Goroutines: 6_004}
	}
	good := &sessionRun{
		Engine: engineSQLite, Variant: variantPombal, Size: goalSessions,
		Ready: memory{Found: at(200_000)}, Settled: memory{Found: at(240_000)},
		Cut: rush{Seconds: 8, Dials: sessions.Dials{PeakPerSecond: 155}},
	}
	bad := &sessionRun{
		Engine: enginePostgres, Variant: variantPombal, Size: goalSessions,
		Ready: memory{Found: at(260_000)}, Settled: memory{Found: at(260_000)},
		Cut: rush{Seconds: 11, Dials: sessions.Dials{PeakPerSecond: 1_000}},
	}
	bad.Ready.Found.Goroutines = 7_000
	for _, v := range (&report{Sessions: []*sessionRun{good, bad}}).judge() {
		want := reached
		if strings.HasPrefix(v.Goal, enginePostgres) {
			want = missed
		}
		if v.Verdict != want {
			t.Errorf("%s: measured %s, %s", v.Goal, v.Measured, v.Verdict)
		}
	}
}

func TestFlags(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"-suites nothing": "no suite", "-conns 0": "between 1 and 1000", "-rounds 0": "at least one round",
		"-rows -1": "-rows must be", "-sessions 1501": "between 1 and 1500", "-session-rounds 0": "at least one round",
		"-delivery-rounds 0": "at least one round", "more": "unknown argument",
	} {
		if _, err := parseOptions(strings.Fields(args), &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: the error is %v, not one with %q", args, err, want)
		}
	}
	o, err := parseOptions([]string{"-full"}, &bytes.Buffer{})
	if err != nil || o.rows != fullRows || o.sqliteRows != fullSQLiteRows || len(o.conns) != 3 {
		t.Errorf("-full gives %+v, %v", o, err)
	}
}

// TestListAllocations holds what a page of 50 takes from the heap, which does not depend on how busy the
// machine is. One allocation for each row or column more would show here long before it shows in seconds.
func TestListAllocations(t *testing.T) {
	limits := map[string]float64{"postgres": 150, "sqlite": 1_000} // SQLite's driver makes a string of each text
	for _, engine := range testkit.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			node := apitest.Start(t, engine, func(cfg *app.Config) { cfg.Sandbox = sessions.Nowhere() })
			tenant := node.NewTenant(t)
			for i := range 60 {
				tenant.NewInstance(t, fmt.Sprintf("Instance %d", i))
			}
			request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, listPath, nil)
			request.Header.Set("Authorization", "Bearer "+tenant.Key)
			answer := &discard{header: http.Header{}}
			got := testing.AllocsPerRun(200, func() {
				clear(answer.header)
				tenant.Server.App.Handler().ServeHTTP(answer, request)
			})
			if answer.status != http.StatusOK || answer.bytes < 10_000 {
				t.Fatalf("answered %d with %d bytes", answer.status, answer.bytes)
			}
			t.Logf("%.0f allocations", got)
			if got > limits[engine.Name] {
				t.Errorf("a page takes %.0f allocations, more than %.0f", got, limits[engine.Name])
			}
		})
	}
}

// discard is an answer that nobody reads.
type discard struct {
	header        http.Header
	status, bytes int
}

func (d *discard) Header() http.Header { return d.header }

func (d *discard) Write(b []byte) (int, error) {
	d.bytes += len(b)
	return len(b), nil
}

func (d *discard) WriteHeader(status int) { d.status = status }
