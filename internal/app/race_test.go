//go:build race

package app_test

// slowness is how many times longer things take under the race detector, on a machine that is busy with it.
const slowness = 5
