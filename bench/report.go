package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/pombal-api/pombal/bench/internal/load"
	"github.com/pombal-api/pombal/bench/internal/machine"
	"github.com/pombal-api/pombal/bench/internal/stats"
)

// report is all that a run found out.
type report struct {
	Started    time.Time           `json:"started"`
	Took       float64             `json:"tookSeconds"`
	Machine    machine.Description `json:"machine"`
	PostgreSQL string              `json:"postgresql"`
	Buffers    string              `json:"sharedBuffers"`
	Data       string              `json:"data,omitempty"`
	SQLiteData string              `json:"sqliteData,omitempty"`
	List       []slice             `json:"list"`
	Growth     []*cell             `json:"growth"`
	Sessions   []*sessionRun       `json:"sessions"`
	Deliveries []*deliveryRun      `json:"deliveries"`
	Verdicts   []verdict           `json:"verdicts"`

	conns []int
}

func newReport(s *stage, o *options) *report {
	r := &report{
		Started: time.Now().UTC(), Machine: machine.Describe(), PostgreSQL: s.postgres.Version,
		Buffers: o.sharedBuffers, conns: o.conns,
	}
	if s.data != nil {
		r.Data = s.data.Summary()
	}
	if s.sqliteData != nil {
		r.SQLiteData = s.sqliteData.Summary()
	}
	if o.postgres != "" {
		r.Buffers = "as configured there"
	}
	return r
}

// run runs the suites that were asked for.
func (r *report) run(ctx context.Context, s *stage, o *options) error {
	defer func() { r.Took = time.Since(r.Started).Seconds() }()
	if o.suites[suiteList] {
		l := &listSuite{stage: s}
		err := l.run(ctx)
		r.List = l.slices
		if err != nil {
			return fmt.Errorf("list: %w", err)
		}
	}
	if o.suites[suiteGrowth] {
		g := &growthSuite{stage: s}
		err := g.run(ctx)
		r.Growth = g.cells
		if err != nil {
			return fmt.Errorf("growth: %w", err)
		}
	}
	if o.suites[suiteSessions] {
		u := &sessionSuite{stage: s}
		err := u.run(ctx)
		r.Sessions = u.runs
		if err != nil {
			return fmt.Errorf("sessions: %w", err)
		}
	}
	if o.suites[suiteDeliveries] {
		d := &deliverySuite{stage: s}
		err := d.run(ctx)
		r.Deliveries = d.runs
		if err != nil {
			return fmt.Errorf("deliveries: %w", err)
		}
	}
	r.Verdicts = r.judge()
	return nil
}

// save writes everything as JSON.
func (r *report) save(path string) error {
	if path == "" {
		return nil
	}
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(raw, '\n'), 0o644) //nolint:gosec // a report is for everybody
}

// printer writes text and keeps the first error.
type printer struct {
	to  io.Writer
	err error
}

func (p *printer) f(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.to, format, args...)
	}
}

// write writes the report as Markdown.
func (r *report) write(out io.Writer) error {
	p := &printer{to: out}
	p.f("%s. PostgreSQL %s (shared_buffers %s)", r.Machine, r.PostgreSQL, r.Buffers)
	if r.Data != "" {
		p.f(": %s", r.Data)
	}
	p.f(".")
	if r.SQLiteData != "" {
		p.f(" SQLite: %s.", r.SQLiteData)
	}
	p.f(" %s, %.0f s.\n", r.Started.Format(time.DateTime), r.Took)
	for _, conns := range r.conns {
		r.writeList(p, conns)
	}
	for _, engine := range []string{enginePostgres, engineSQLite} {
		r.writeGrowth(p, engine)
	}
	for _, engine := range []string{engineSQLite, enginePostgres} {
		r.writeSessions(p, engine)
	}
	for _, engine := range []string{enginePostgres, engineSQLite} {
		r.writeDeliveries(p, engine)
	}
	if len(r.Verdicts) > 0 {
		p.f("\n| goal | measured | verdict |\n|---|---|---|\n")
	}
	for _, v := range r.Verdicts {
		p.f("| %s | %s | %s |\n", v.Goal, v.Measured, v.Verdict)
	}
	return p.err
}

// of returns the results of one variant, in the order of the rounds.
func (r *report) of(variant string, conns int) []load.Result {
	var results []load.Result
	for _, s := range r.List {
		if s.Variant == variant && s.Conns == conns {
			results = append(results, s.Result)
		}
	}
	return results
}

// ratio estimates a variant's throughput against the floor's in the same round.
func (r *report) ratio(variant string, conns int) stats.Estimate {
	return stats.Bootstrap(ratios(r.of(variant, conns), r.of(variantFloor, conns), perSecond))
}

// work estimates what part of a variant's CPU, PostgreSQL's included, the floor needs for the same: the
// ratio of throughputs as it would be if nothing else used the processors.
func (r *report) work(variant string, conns int) stats.Estimate {
	return stats.Bootstrap(ratios(r.of(variantFloor, conns), r.of(variant, conns), wholeCPU))
}

// ratios returns a figure's ratio in each round.
func ratios(a, b []load.Result, of func(load.Result) float64) []float64 {
	var quotients []float64
	for i := range min(len(a), len(b)) {
		quotients = append(quotients, of(a[i])/of(b[i]))
	}
	return quotients
}

// medianOf returns the median of one figure of the results.
func medianOf(results []load.Result, of func(load.Result) float64) float64 {
	values := make([]float64, len(results))
	for i, r := range results {
		values[i] = of(r)
	}
	return stats.Median(values)
}

// Figures of a result.
func perSecond(r load.Result) float64 { return r.PerSecond() }
func p50(r load.Result) float64       { return r.P50Micros / 1e3 }
func p99(r load.Result) float64       { return r.P99Micros / 1e3 }
func serverCPU(r load.Result) float64 { return r.MicrosPerRequest(r.ServerCPU) }
func databaseCPU(r load.Result) float64 {
	return r.MicrosPerRequest(r.DatabaseCPU)
}
func wholeCPU(r load.Result) float64    { return serverCPU(r) + databaseCPU(r) }
func othersCores(r load.Result) float64 { return (r.OthersCPU + r.StolenCPU) / r.Seconds }

func (r *report) writeList(p *printer, conns int) {
	if len(r.of(variantFloor, conns)) == 0 {
		return
	}
	p.f("\n| list, %d connections | req/s | ratio to floor (95 %%) | same by CPU | p50 ms | p99 ms | server CPU µs | PostgreSQL CPU µs | others' cores |\n", conns)
	p.f("|---|--:|---|--:|--:|--:|--:|--:|--:|\n")
	for _, variant := range []string{variantFloor, variantPombal, variantBaseline, variantSQLite, variantStatic} {
		results := r.of(variant, conns)
		if len(results) == 0 {
			continue
		}
		ratio := r.ratio(variant, conns)
		p.f("| %s | %.0f | %.2f (%.2f–%.2f) | %.2f | %.2f | %.2f | %.0f | %.0f | %.2f |\n", variant, medianOf(results, perSecond),
			ratio.Median, ratio.Low, ratio.High, r.work(variant, conns).Median, medianOf(results, p50), medianOf(results, p99),
			medianOf(results, serverCPU), medianOf(results, databaseCPU), medianOf(results, othersCores))
	}
}
