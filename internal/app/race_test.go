//go:build race

package app_test

// slowness is how many times longer things may take under the race detector, on a machine that is busy with
// it. A request that waits for a connection that never comes back fails after 10 s in any case.
const slowness = 20
