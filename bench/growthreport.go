package main

import (
	"fmt"
	"slices"

	"github.com/pombal-api/pombal/bench/internal/load"
	"github.com/pombal-api/pombal/bench/internal/stats"
)

// sizes returns the sizes of an engine's accounts, ascending, and that of its partner (0 for none).
func (r *report) sizes(engine string) (accounts []int, partner int) {
	for _, c := range r.Growth {
		switch {
		case c.Engine != engine:
		case c.Partner:
			partner = c.Size
		case !slices.Contains(accounts, c.Size):
			accounts = append(accounts, c.Size)
		}
	}
	slices.Sort(accounts)
	return accounts, partner
}

// cell finds a cell; nil if that was not asked.
func (r *report) cell(engine, name string, size int, partner bool) *cell {
	for _, c := range r.Growth {
		if c.Engine == engine && c.Case == name && c.Size == size && c.Partner == partner {
			return c
		}
	}
	return nil
}

func (r *report) writeGrowth(p *printer, engine string) {
	accounts, partner := r.sizes(engine)
	if len(accounts) == 0 {
		return
	}
	p.f("\n| %s, p50 (p99) ms |", engine)
	for _, size := range accounts {
		p.f(" account of %s |", thousands(size))
	}
	p.f(" all children, %s |\n|---|", thousands(partner))
	for range len(accounts) + 1 {
		p.f("--:|")
	}
	p.f("\n")
	for _, name := range cases() {
		r.writeCase(p, engine, name, accounts, partner)
	}
}

func (r *report) writeCase(p *printer, engine, name string, accounts []int, partner int) {
	if r.cell(engine, name, accounts[len(accounts)-1], false) == nil && r.cell(engine, name, partner, true) == nil {
		return // no account is large enough
	}
	p.f("| %s |", name)
	for _, size := range accounts {
		p.f(" %s |", r.cell(engine, name, size, false))
	}
	p.f(" %s |\n", r.cell(engine, name, partner, true))
}

// String is the content of a cell of the table.
func (c *cell) String() string {
	if c == nil || len(c.Results) == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f (%.2f)", stats.Median(c.values(p50)), stats.Median(c.values(p99)))
}

// growth estimates how much more a cell costs than another, in the median answer of the same round.
func growth(large, small *cell) (stats.Estimate, bool) {
	if large == nil || small == nil {
		return stats.Estimate{}, false
	}
	quotients := ratios(large.Results, small.Results, p50)
	return stats.Bootstrap(quotients), len(quotients) > 0
}

// thousands spells a number with separators.
func thousands(n int) string {
	text := fmt.Sprint(n)
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}

// noise returns how many cores others used while an engine's growth was measured, as the median.
func (r *report) noise(engine string) float64 {
	var results []load.Result
	for _, c := range r.Growth {
		if c.Engine == engine {
			results = append(results, c.Results...)
		}
	}
	return medianOf(results, othersCores)
}
