package main

import (
	"fmt"
	"math"
	"slices"

	"github.com/pombal-api/pombal/bench/internal/sessions"
	"github.com/pombal-api/pombal/bench/internal/stats"
)

// ofSessions returns the runs of a variant, in the order of the rounds.
func (r *report) ofSessions(engine, variant string, size int) []*sessionRun {
	var runs []*sessionRun
	for _, run := range r.Sessions {
		if run.Engine == engine && run.Variant == variant && run.Size == size {
			runs = append(runs, run)
		}
	}
	return runs
}

// sessionSizes returns the numbers of instances that were measured, ascending.
func (r *report) sessionSizes() []int {
	var sizes []int
	for _, run := range r.Sessions {
		sizes = append(sizes, run.Size)
	}
	slices.Sort(sizes)
	return slices.Compact(sizes)
}

// figure is a column of the report.
type figure struct {
	name   string
	format string
	of     func(*sessionRun) float64 // NaN when it was not measured
	more   func(*sessionRun) float64 // in brackets; nil for nothing
	ratio  bool                      // whether it makes sense to compare it with the floor's
}

func sessionFigures() []figure {
	return []figure{
		{"KB each (collected)", "%.0f", readyKB, func(r *sessionRun) float64 { return r.each(rss(r.Ready.Collected), rss(r.Base)) }, true},
		{"KB each after the cut (collected)", "%.0f", settledKB, func(r *sessionRun) float64 { return r.each(rss(r.Settled.Collected), rss(r.Base)) }, true},
		{"goroutines each", "%.1f", goroutinesEach, nil, true},
		{"cold start s", "%.2f", func(r *sessionRun) float64 { return r.Cold.Seconds }, nil, true},
		{"CPU ms each", "%.1f", func(r *sessionRun) float64 { return r.each(1e3 * r.Cold.CPU) }, nil, true},
		{"dials/s", "%.0f", func(r *sessionRun) float64 { return float64(r.Cold.Dials.PeakPerSecond) }, nil, true},
		{"back after the cut s", "%.2f", cutSeconds, nil, true},
		{"CPU ms each", "%.1f", func(r *sessionRun) float64 { return r.each(1e3 * r.Cut.CPU) }, nil, true},
		{"dials/s", "%.0f", cutDials, nil, true},
		{"idle, % of a core", "%.1f", idlePercent, nil, true},
		{"PostgreSQL's idle", "%.1f", idleDatabase, nil, false},
		{"others' cores", "%.2f", func(r *sessionRun) float64 { return max(r.Cold.Others, r.Cut.Others) }, nil, false},
	}
}

// rss returns the resident memory in KB, of 1,024 bytes.
func rss(f sessions.Figures) float64 { return float64(f.RSS) / 1024 }

func readyKB(r *sessionRun) float64    { return r.each(rss(r.Ready.Found), rss(r.Base)) }
func settledKB(r *sessionRun) float64  { return r.each(rss(r.Settled.Found), rss(r.Base)) }
func cutSeconds(r *sessionRun) float64 { return r.Cut.Seconds }
func cutDials(r *sessionRun) float64   { return float64(r.Cut.Dials.PeakPerSecond) }

// goroutinesEach is rounded to a tenth: the few of the process itself begin after its base was noted.
func goroutinesEach(r *sessionRun) float64 {
	return math.Round(10*r.each(float64(r.Ready.Found.Goroutines), float64(r.Base.Goroutines))) / 10
}

func idlePercent(r *sessionRun) float64 {
	if r.Idle == nil {
		return math.NaN()
	}
	return 100 * r.Idle.CPU / r.Idle.Seconds
}

func idleDatabase(r *sessionRun) float64 {
	if r.Idle == nil || r.Engine != enginePostgres {
		return math.NaN()
	}
	return 100 * r.Idle.Database / r.Idle.Seconds
}

// each spreads what a figure is above its base over the sessions.
func (r *sessionRun) each(value float64, base ...float64) float64 {
	for _, b := range base {
		value -= b
	}
	return value / float64(r.Size)
}

// sessionValues returns what was measured of a figure.
func sessionValues(runs []*sessionRun, of func(*sessionRun) float64) []float64 {
	var values []float64
	for _, run := range runs {
		if value := of(run); !math.IsNaN(value) {
			values = append(values, value)
		}
	}
	return values
}

// cell is the median of a figure, as the table has it.
func (f figure) cell(runs []*sessionRun) string {
	values := sessionValues(runs, f.of)
	if len(values) == 0 {
		return "–"
	}
	text := fmt.Sprintf(f.format, stats.Median(values))
	if f.more != nil {
		text += fmt.Sprintf(" ("+f.format+")", stats.Median(sessionValues(runs, f.more)))
	}
	return text
}

// against is the median of the figure's ratios in each round.
func (f figure) against(floor, pombal []*sessionRun) string {
	var quotients []float64
	for round := range min(len(floor), len(pombal)) {
		if q := f.of(pombal[round]) / f.of(floor[round]); !math.IsNaN(q) && !math.IsInf(q, 0) {
			quotients = append(quotients, q)
		}
	}
	if !f.ratio || len(quotients) == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", stats.Median(quotients))
}

func (r *report) writeSessions(p *printer, engine string) {
	sizes := r.sessionSizes()
	if len(sizes) == 0 {
		return
	}
	p.f("\n| sessions, %s |", engine)
	for _, f := range sessionFigures() {
		p.f(" %s |", f.name)
	}
	p.f("\n|---|")
	for range sessionFigures() {
		p.f("--:|")
	}
	p.f("\n")
	for _, size := range sizes {
		floor, pombal := r.ofSessions(engine, variantFloor, size), r.ofSessions(engine, variantPombal, size)
		p.row(thousands(size)+", "+variantFloor, func(f figure) string { return f.cell(floor) })
		p.row(thousands(size)+", "+variantPombal, func(f figure) string { return f.cell(pombal) })
		p.row("… ratio", func(f figure) string { return f.against(floor, pombal) })
	}
}

// row writes a line of the table.
func (p *printer) row(name string, cell func(figure) string) {
	p.f("| %s |", name)
	for _, f := range sessionFigures() {
		p.f(" %s |", cell(f))
	}
	p.f("\n")
}

// Goals of the sessions suite, for goalSessions instances.
const (
	goalSessions    = 1_000
	goalSessionKB   = 250.0
	goalBackSeconds = 10.0
	goalDials       = 165.0 // the session layer's 150, and a tenth for those that were late
	goalGoroutines  = 6.0
)

func (r *report) judgeSessions() []verdict {
	var verdicts []verdict
	for _, engine := range []string{engineSQLite, enginePostgres} {
		runs := r.ofSessions(engine, variantPombal, goalSessions)
		if len(runs) == 0 {
			continue
		}
		noise := stats.Median(sessionValues(runs, func(r *sessionRun) float64 { return r.Cut.Others }))
		for _, g := range []struct {
			name  string
			of    func(*sessionRun) float64
			bound float64
		}{
			{"KB above the base each", readyKB, goalSessionKB},
			{"KB each after the cut", settledKB, goalSessionKB},
			{"goroutines each", goroutinesEach, goalGoroutines},
			{"back after the cut, s", cutSeconds, goalBackSeconds},
			{"dials in any second after the cut", cutDials, goalDials},
		} {
			e, others := stats.Bootstrap(sessionValues(runs, g.of)), noise
			if e.Median <= g.bound {
				others = 0 // they can only have made it worse
			}
			goal := fmt.Sprintf("%s, %s sessions: %s", engine, thousands(goalSessions), g.name)
			verdicts = append(verdicts, atMost(goal, e, g.bound, others))
		}
	}
	return verdicts
}
