//go:build race

package soak

// scale divides how many instances there are: pairing one takes a second under the race detector.
const scale = 3
