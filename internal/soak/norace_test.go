//go:build !race

package soak

// scale divides how many instances there are.
const scale = 1
