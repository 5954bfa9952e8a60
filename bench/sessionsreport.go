package main

import (
	"fmt"
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

// figure is one thing that is measured of a run.
type figure struct {
	name   string
	format string
	of     func(*sessionRun) float64
}

// sessionFigures returns the columns of the report.
func sessionFigures() []figure {
	return []figure{
		{"KB each", "%.0f", func(r *sessionRun) float64 { return r.each(rss(r.Ready.Found), rss(r.Base)) }},
		{"… collected", "%.0f", func(r *sessionRun) float64 { return r.each(rss(r.Ready.Collected), rss(r.Base)) }},
		{"goroutines each", "%.1f", goroutinesEach},
		{"cold start s", "%.2f", func(r *sessionRun) float64 { return r.Cold.Seconds }},
		{"… CPU ms each", "%.1f", func(r *sessionRun) float64 { return r.each(1e3 * r.Cold.CPU) }},
		{"… dials/s", "%.0f", func(r *sessionRun) float64 { return float64(r.Cold.Dials.PeakPerSecond) }},
		{"back after the cut s", "%.2f", cutSeconds},
		{"… CPU ms each", "%.1f", func(r *sessionRun) float64 { return r.each(1e3 * r.Cut.CPU) }},
		{"… dials/s", "%.0f", cutDials},
		{"… KB each", "%.0f", settledKB},
		{"… collected", "%.0f", func(r *sessionRun) float64 { return r.each(rss(r.Settled.Collected), rss(r.Base)) }},
		{"others' cores", "%.2f", func(r *sessionRun) float64 { return max(r.Cold.Others, r.Cut.Others) }},
	}
}

// rss returns the resident memory in KB, of 1,024 bytes.
func rss(f sessions.Figures) float64 { return float64(f.RSS) / 1024 }

func goroutinesEach(r *sessionRun) float64 {
	return r.each(float64(r.Ready.Found.Goroutines), float64(r.Base.Goroutines))
}
func cutSeconds(r *sessionRun) float64 { return r.Cut.Seconds }
func cutDials(r *sessionRun) float64   { return float64(r.Cut.Dials.PeakPerSecond) }
func settledKB(r *sessionRun) float64  { return r.each(rss(r.Settled.Found), rss(r.Base)) }

// each spreads what a figure is above its base over the sessions.
func (r *sessionRun) each(value float64, base ...float64) float64 {
	for _, b := range base {
		value -= b
	}
	return value / float64(r.Size)
}

func sessionValues(runs []*sessionRun, of func(*sessionRun) float64) []float64 {
	values := make([]float64, len(runs))
	for i, run := range runs {
		values[i] = of(run)
	}
	return values
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
		r.writeSize(p, engine, size)
	}
	r.writeIdle(p, engine)
}

// writeSize writes a line for each variant, and one with the medians of the ratios of each round.
func (r *report) writeSize(p *printer, engine string, size int) {
	floor, pombal := r.ofSessions(engine, variantFloor, size), r.ofSessions(engine, variantPombal, size)
	for _, v := range []struct {
		name string
		runs []*sessionRun
	}{{variantFloor, floor}, {variantPombal, pombal}} {
		p.f("| %s, %s |", thousands(size), v.name)
		for _, f := range sessionFigures() {
			p.f(" "+f.format+" |", stats.Median(sessionValues(v.runs, f.of)))
		}
		p.f("\n")
	}
	p.f("| … ratio |")
	for i, f := range sessionFigures() {
		if i == len(sessionFigures())-1 {
			p.f(" |\n")
			break
		}
		var quotients []float64
		for round := range min(len(floor), len(pombal)) {
			quotients = append(quotients, f.of(pombal[round])/f.of(floor[round]))
		}
		p.f(" %.2f |", stats.Median(quotients))
	}
}

// writeIdle writes what doing nothing costs.
func (r *report) writeIdle(p *printer, engine string) {
	for _, run := range r.Sessions {
		if run.Idle == nil || run.Engine != engine {
			continue
		}
		p.f("\n%s, %s sessions of %s doing nothing: %.1f %% of a core", engine, thousands(run.Size), run.Variant, run.idlePercent())
		if engine == enginePostgres {
			p.f(", and %.1f %% in PostgreSQL", 100*run.Idle.Database/run.Idle.Seconds)
		}
		p.f(".\n")
	}
}

func (r *sessionRun) idlePercent() float64 { return 100 * r.Idle.CPU / r.Idle.Seconds }

// Goals of the sessions suite.
const (
	goalSessions        = 1_000
	goalSessionKB       = 250.0
	goalBackSeconds     = 10.0
	goalDialsPerSecond  = 150.0 // what the session layer promises
	goalGoroutines      = 6.0
	dialsInTwoHalves    = 1.1 // a second of the wall is not one of the pacer
	sessionsSettledName = "after all are back"
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
			noise float64
		}{
			{"KB above the base, connected", sessionFigures()[0].of, goalSessionKB, 0},
			{"KB above the base, " + sessionsSettledName, settledKB, goalSessionKB, 0},
			{"goroutines", goroutinesEach, goalGoroutines, 0},
			{"s until all are back", cutSeconds, goalBackSeconds, noise},
			{"dials in any second", cutDials, goalDialsPerSecond * dialsInTwoHalves, 0},
		} {
			verdicts = append(verdicts, atMost(fmt.Sprintf("%s, %s sessions: %s", engine, thousands(goalSessions), g.name),
				stats.Bootstrap(sessionValues(runs, g.of)), g.bound, g.noise))
		}
	}
	return verdicts
}
