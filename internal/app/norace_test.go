//go:build !race

package app_test

// slowness is how many times longer things take under the race detector: this is without.
const slowness = 1
