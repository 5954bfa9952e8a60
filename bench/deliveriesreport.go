package main

import (
	"fmt"

	"github.com/pombal-api/pombal/bench/internal/deliveries"
	"github.com/pombal-api/pombal/bench/internal/stats"
)

// ofDeliveries returns the results of a case, in the order of the rounds.
func (r *report) ofDeliveries(engine, name, variant string) []deliveries.Result {
	var results []deliveries.Result
	for _, run := range r.Deliveries {
		if run.Engine == engine && run.Case == name && run.Variant == variant {
			results = append(results, run.Result)
		}
	}
	return results
}

// deliveryRatios returns a figure's ratio in each round.
func deliveryRatios(a, b []deliveries.Result, of func(deliveries.Result) float64) []float64 {
	var quotients []float64
	for i := range min(len(a), len(b)) {
		quotients = append(quotients, of(a[i])/of(b[i]))
	}
	return quotients
}

// medianDelivery returns the median of one figure of the results.
func medianDelivery(results []deliveries.Result, of func(deliveries.Result) float64) float64 {
	values := make([]float64, len(results))
	for i, r := range results {
		values[i] = of(r)
	}
	return stats.Median(values)
}

// Figures of a result. CPU times are in microseconds for each event.
func delivered(r deliveries.Result) float64   { return r.PerSecond() }
func deliveryP50(r deliveries.Result) float64 { return r.Delivery.P50 }
func deliveryP95(r deliveries.Result) float64 { return r.Delivery.P95 }
func deliveryP99(r deliveries.Result) float64 { return r.Delivery.P99 }
func deliveryCPU(r deliveries.Result) float64 { return 1e6 * r.OwnCPU / float64(r.Events) }
func deliveryDatabase(r deliveries.Result) float64 {
	return 1e6 * r.DatabaseCPU / float64(r.Events)
}

// deliveryWork is the CPU of all that takes part.
func deliveryWork(r deliveries.Result) float64 {
	return 1e6 * (r.OwnCPU + r.DatabaseCPU + r.SinkCPU) / float64(r.Events)
}
func deliveryOthers(r deliveries.Result) float64 { return r.Others }

func (r *report) writeDeliveries(p *printer, engine string) {
	floor := r.ofDeliveries(engine, caseSaturated, variantFloor)
	if len(floor) == 0 {
		return
	}
	p.f("\n| deliveries, %s | published/s | delivered/s | ratio to floor (95 %%) | same by CPU | p50 ms | p95 ms | p99 ms "+
		"| … from the commit | CPU µs | PostgreSQL CPU µs | others' cores |\n", engine)
	p.f("|---|--:|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, line := range []struct{ name, variant string }{
		{caseSaturated, variantFloor}, {caseSaturated, variantPombal}, {caseHot, variantPombal},
		{caseCalm, variantFloor}, {caseCalm, variantPombal}, {caseNoisy, variantPombal},
	} {
		got := r.ofDeliveries(engine, line.name, line.variant)
		ratio, work := "", ""
		if line.name == caseSaturated || line.name == caseHot {
			e := stats.Bootstrap(deliveryRatios(got, floor, delivered))
			ratio = fmt.Sprintf("%.2f (%.2f–%.2f)", e.Median, e.Low, e.High)
			work = fmt.Sprintf("%.2f", stats.Median(deliveryRatios(floor, got, deliveryWork)))
		}
		m := func(of func(deliveries.Result) float64) float64 { return medianDelivery(got, of) }
		p.f("| %s, %s | %.0f | %.0f | %s | %s | %.1f | %.1f | %.1f | %.1f, %.1f, %.1f | %.0f | %.0f | %.2f |\n", line.variant, line.name,
			m(func(r deliveries.Result) float64 { return float64(r.Events) / r.Publishing }), m(delivered), ratio, work,
			m(deliveryP50), m(deliveryP95), m(deliveryP99), m(func(r deliveries.Result) float64 { return r.Committed.P50 }),
			m(func(r deliveries.Result) float64 { return r.Committed.P95 }), m(func(r deliveries.Result) float64 { return r.Committed.P99 }),
			m(deliveryCPU), m(deliveryDatabase), m(deliveryOthers))
	}
	events, duplicates := 0, 0
	for _, run := range r.Deliveries {
		if run.Engine == engine {
			events, duplicates = events+run.Result.Events, duplicates+run.Result.Duplicates
		}
	}
	p.f("\nOf %s events on %s none was lost and %s came twice.\n", thousands(events), engine, thousands(duplicates))
}

// Goals of the deliveries suite.
const (
	goalDeliveries  = 0.5   // of the floor's throughput
	goalDeliveryP95 = 250.0 // ms
	goalNoisy       = 1.2   // times the p95 without receivers that hang
)

func (r *report) judgeDeliveries() []verdict {
	var verdicts []verdict
	for _, engine := range []string{enginePostgres, engineSQLite} {
		floor, pombal := r.ofDeliveries(engine, caseSaturated, variantFloor), r.ofDeliveries(engine, caseSaturated, variantPombal)
		calm, noisy := r.ofDeliveries(engine, caseCalm, variantPombal), r.ofDeliveries(engine, caseNoisy, variantPombal)
		if len(floor) == 0 {
			continue
		}
		noise := max(medianDelivery(floor, deliveryOthers), medianDelivery(pombal, deliveryOthers))
		verdicts = append(verdicts, atLeast(engine+", deliveries at saturation against the floor",
			stats.Bootstrap(deliveryRatios(pombal, floor, delivered)), goalDeliveries, noise))
		p95 := make([]float64, len(calm))
		for i, c := range calm {
			p95[i] = deliveryP95(c)
		}
		e, noise := stats.Bootstrap(p95), medianDelivery(calm, deliveryOthers)
		if e.Median <= goalDeliveryP95 {
			noise = 0 // others can only have made it worse
		}
		verdicts = append(verdicts, atMost(engine+", deliveries at 100/s, p95 ms", e, goalDeliveryP95, noise),
			atMost(engine+", the same with a tenth of receivers that hang, others' p95 against without",
				stats.Bootstrap(deliveryRatios(noisy, calm, deliveryP95)), goalNoisy,
				max(medianDelivery(calm, deliveryOthers), medianDelivery(noisy, deliveryOthers))))
	}
	return verdicts
}
