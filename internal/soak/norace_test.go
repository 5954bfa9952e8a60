//go:build !race

package soak

// scale divides how many instances there are, and makes customers patient.
const scale = 1
