package main

import (
	"fmt"
	"slices"

	"github.com/pombal-api/pombal/bench/internal/load"
	"github.com/pombal-api/pombal/bench/internal/stats"
)

// verdict says whether a goal was reached.
type verdict struct {
	Goal     string `json:"goal"`
	Measured string `json:"measured"`
	Verdict  string `json:"verdict"`
}

// Verdicts.
const (
	reached      = "reached"
	missed       = "missed"
	inconclusive = "inconclusive"
)

// Beyond these a measurement says nothing about the program.
const (
	tolerableNoise = 0.5 // cores that others used
	tolerableWidth = 0.1 // of the interval, to each side
)

// goalConns is the number of connections that the goals of the list suite are about.
const goalConns = 32

// Goals of the list suite.
const (
	goalRatio       = 0.75
	goalSQLiteRatio = 0.50
	goalExtraMicros = 50.0
)

// Goals of the growth suite.
const (
	goalGrowth  = 1.3
	goalPartner = 2.0
	goalDeep    = 5.0 // ms
)

// judge holds the results against the goals, as far as they were measured.
func (r *report) judge() []verdict {
	return slices.Concat(r.judgeList(), r.judgeGrowth(), r.judgeSessions(), r.judgeDeliveries())
}

func (r *report) judgeList() []verdict {
	floor, pombal := r.of(variantFloor, goalConns), r.of(variantPombal, goalConns)
	if len(floor) == 0 || len(pombal) == 0 {
		return nil
	}
	noise := max(medianOf(floor, othersCores), medianOf(pombal, othersCores))
	sqlite := r.of(variantSQLite, goalConns)
	ratio := r.ratio(variantPombal, goalConns)
	verdicts := []verdict{atLeast("full stack against the floor, 32 connections", ratio, goalRatio, noise)}
	if len(sqlite) > 0 {
		verdicts = append(verdicts, atLeast("SQLite against the PostgreSQL floor, 32 connections",
			r.ratio(variantSQLite, goalConns), goalSQLiteRatio, max(noise, medianOf(sqlite, othersCores))))
	}
	extra := stats.Bootstrap(differences(pombal, floor, serverCPU))
	return append(verdicts, atMost("server CPU above the floor's per call, µs", extra, goalExtraMicros, noise))
}

// differences returns a figure's difference in each round.
func differences(a, b []load.Result, of func(load.Result) float64) []float64 {
	var d []float64
	for i := range min(len(a), len(b)) {
		d = append(d, of(a[i])-of(b[i]))
	}
	return d
}

// atLeast judges an estimate that should be high.
func atLeast(goal string, e stats.Estimate, bound, noise float64) verdict {
	return judge(fmt.Sprintf("%s ≥ %.2f", goal, bound), e, e.Median >= bound, e.Low < bound && e.High >= bound, noise)
}

// atMost judges an estimate that should be low.
func atMost(goal string, e stats.Estimate, bound, noise float64) verdict {
	return judge(fmt.Sprintf("%s ≤ %.1f", goal, bound), e, e.Median <= bound, e.Low <= bound && e.High > bound, noise)
}

// judge decides by the median, unless the bound lies within the interval and the measurement was disturbed,
// or others used so much that the interval itself means little.
func judge(goal string, e stats.Estimate, good, close bool, noise float64) verdict {
	v := verdict{goal, fmt.Sprintf("%.2f (%.2f–%.2f)", e.Median, e.Low, e.High), missed}
	switch {
	case noise > tolerableNoise || close && e.Wide(tolerableWidth):
		v.Verdict = inconclusive
		v.Measured += fmt.Sprintf("; others used %.2f cores", noise)
	case good:
		v.Verdict = reached
	}
	return v
}

func (r *report) judgeGrowth() []verdict {
	var verdicts []verdict
	for _, engine := range []string{enginePostgres, engineSQLite} {
		accounts, partner := r.sizes(engine)
		if len(accounts) < 2 {
			continue
		}
		largest := accounts[len(accounts)-1]
		verdicts = append(verdicts, r.judgeSizes(engine, largest)...)
		verdicts = append(verdicts, r.judgeDeep(engine, largest)...)
		for _, name := range []string{caseFirst, caseFiltered, caseCursor} {
			if e, ok := growth(r.cell(engine, name, partner, true), r.cell(engine, name, largest, false)); ok {
				verdicts = append(verdicts, atMost(fmt.Sprintf("%s, %s: all children against one account", engine, name), e, goalPartner, r.noise(engine)))
			}
		}
	}
	return verdicts
}

// judgeSizes compares the largest account with one of 1,000, and where pages fit with one of 50.
func (r *report) judgeSizes(engine string, largest int) []verdict {
	var verdicts []verdict
	for _, pair := range []struct {
		small int
		cases []string
	}{
		{50, []string{caseFirst20, caseFiltered20, caseCursor20, caseTotal}},
		{1_000, []string{caseFirst, caseFiltered, caseCursor}},
	} {
		for _, name := range pair.cases {
			e, ok := growth(r.cell(engine, name, largest, false), r.cell(engine, name, pair.small, false))
			if ok && largest > pair.small {
				goal := fmt.Sprintf("%s, %s: %s against %s", engine, name, thousands(largest), thousands(pair.small))
				verdicts = append(verdicts, atMost(goal, e, goalGrowth, r.noise(engine)))
			}
		}
	}
	return verdicts
}

func (r *report) judgeDeep(engine string, largest int) []verdict {
	c := r.cell(engine, caseDeep, largest, false)
	if c == nil {
		return nil
	}
	return []verdict{atMost(fmt.Sprintf("%s, %s of %s, p50 ms", engine, caseDeep, thousands(largest)), stats.Bootstrap(c.values(p50)), goalDeep, r.noise(engine))}
}
