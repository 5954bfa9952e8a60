package domain

import (
	"math/bits"
	"slices"
)

// parseBits reads names of a set whose bits have these names, lowest first. The second result is the first
// name that is none of them.
func parseBits[Set ~uint32](table, names []string) (set Set, unknown string) {
	for _, name := range names {
		i := slices.Index(table, name)
		if i < 0 {
			return 0, name
		}
		set |= 1 << i
	}
	return set, ""
}

// bitNames lists the names of the bits in set, lowest first; never nil.
func bitNames[Set ~uint32](table []string, set Set) []string {
	names := make([]string, 0, bits.OnesCount32(uint32(set)))
	for i, name := range table {
		if set&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names
}
