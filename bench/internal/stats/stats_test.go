package stats_test

import (
	"math"
	"testing"

	"github.com/pombal-api/pombal/bench/internal/stats"
)

func TestQuantileAndMedian(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name             string
		values           []float64
		median, p50, p99 float64
	}{
		{"one", []float64{7}, 7, 7, 7},
		{"even, unsorted", []float64{4, 1, 3, 2}, 2.5, 2, 4},
		{"odd", []float64{5, 1, 3}, 3, 3, 5},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := stats.Median(tc.values); got != tc.median {
				t.Errorf("median is %v, want %v", got, tc.median)
			}
			if got := stats.Quantile(tc.values, 0.5); got != tc.p50 {
				t.Errorf("p50 is %v, want %v", got, tc.p50)
			}
			if got := stats.Quantile(tc.values, 0.99); got != tc.p99 {
				t.Errorf("p99 is %v, want %v", got, tc.p99)
			}
		})
	}
}

func TestNothingMeasuredIsNotANumber(t *testing.T) {
	t.Parallel()
	if !math.IsNaN(stats.Median(nil)) || !math.IsNaN(stats.Quantile(nil, 0.5)) || !math.IsNaN(stats.Bootstrap(nil).Median) {
		t.Error("no values have a number as their median")
	}
}

func TestBootstrap(t *testing.T) {
	t.Parallel()
	narrow := stats.Bootstrap([]float64{1, 1.01, 0.99, 1, 1.02, 0.98, 1, 1.01, 0.99})
	if narrow.Median != 1 || narrow.Low < 0.98 || narrow.High > 1.02 || narrow.Wide(0.1) {
		t.Errorf("nine values within two per cent give %+v", narrow)
	}
	wide := stats.Bootstrap([]float64{0.2, 1, 2})
	if wide.Low != 0.2 || wide.High != 2 || !wide.Wide(0.1) {
		t.Errorf("three values that have little in common give %+v", wide)
	}
	if again := stats.Bootstrap([]float64{0.2, 1, 2}); again != wide {
		t.Errorf("the same values give %+v and then %+v", wide, again)
	}
}
