// Package stats summarises measurements: medians, quantiles, and how far a median can be trusted.
package stats

import (
	"math"
	"math/rand/v2"
	"slices"
)

// Quantile returns the value below which the part q (0 to 1) of the values lies, by the nearest rank.
// Without values it is NaN.
func Quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	rank := int(math.Ceil(q * float64(len(sorted))))
	return sorted[max(0, min(len(sorted), rank)-1)]
}

// Median returns the middle value, or the mean of the two middle ones. Without values it is NaN.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	return medianOfSorted(slices.Sorted(slices.Values(values)))
}

func medianOfSorted(sorted []float64) float64 {
	half := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[half]
	}
	return (sorted[half-1] + sorted[half]) / 2
}

// Estimate is a median with the interval that holds it in 95 % of repetitions.
type Estimate struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
}

// resamples is how many times Bootstrap draws.
const resamples = 10_000

// Bootstrap estimates the median of values by drawing from them with replacement. The draws are the
// same each time, so that one set of measurements has one result.
func Bootstrap(values []float64) Estimate {
	if len(values) == 0 {
		return Estimate{Median: math.NaN(), Low: math.NaN(), High: math.NaN()}
	}
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // repeatable on purpose
	medians := make([]float64, resamples)
	draw := make([]float64, len(values))
	for i := range medians {
		for j := range draw {
			draw[j] = values[random.IntN(len(values))]
		}
		slices.Sort(draw)
		medians[i] = medianOfSorted(draw)
	}
	return Estimate{Median: Median(values), Low: Quantile(medians, 0.025), High: Quantile(medians, 0.975)}
}

// Wide reports whether the interval reaches further than the part tolerance from the median.
func (e Estimate) Wide(tolerance float64) bool {
	return math.Max(e.High-e.Median, e.Median-e.Low) > tolerance*e.Median
}
