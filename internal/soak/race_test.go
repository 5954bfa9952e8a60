//go:build race

package soak

// scale divides how many instances there are, and makes customers patient: pairing takes seconds under the race
// detector.
const scale = 3
