package session

import (
	"cmp"
	"slices"

	"github.com/pombal-api/pombal/internal/domain"
)

// shares divides what is wanted evenly among the nodes, rounded up, none above its capacity. Together they
// have room for everything, unless the capacities do not.
func shares(f domain.Fleet) map[domain.ID]int {
	nodes := slices.SortedFunc(slices.Values(f.Nodes), func(a, b domain.Node) int { return cmp.Compare(a.Capacity, b.Capacity) })
	share := make(map[domain.ID]int, len(nodes))
	left := f.Wanted
	for i, n := range nodes {
		others := len(nodes) - i
		share[n.ID] = min(n.Capacity, (left+others-1)/others)
		left -= share[n.ID]
		if left < 0 {
			left = 0
		}
	}
	return roundedUp(share, nodes, f.Wanted)
}

// roundedUp gives every node that is not full the largest share that another one got by rounding.
func roundedUp(share map[domain.ID]int, nodes []domain.Node, wanted int) map[domain.ID]int {
	most := 0
	for _, n := range share {
		most = max(most, n)
	}
	for _, n := range nodes {
		share[n.ID] = min(n.Capacity, most, wanted)
	}
	return share
}

// withoutLate is the fleet without the other nodes that are late, and without what they hold: nothing that is free
// waits for a node that does not take it.
func withoutLate(f domain.Fleet, self domain.ID) domain.Fleet {
	rest := domain.Fleet{Wanted: f.Wanted}
	for _, n := range f.Nodes {
		if n.Late && n.ID != self {
			rest.Wanted = max(0, rest.Wanted-n.Held)
		} else {
			rest.Nodes = append(rest.Nodes, n)
		}
	}
	return rest
}

// unheld is how many instances no node holds. A node knows better than the fleet what it holds itself.
func unheld(f domain.Fleet, self domain.ID, held int) int {
	for _, n := range f.Nodes {
		if n.ID != self {
			held += n.Held
		}
	}
	return max(0, f.Wanted-held)
}

// surplus is how many instances a node should hand over now: what exceeds its share by more than a tenth,
// as far as others have room.
func surplus(f domain.Fleet, node domain.ID, held int) int {
	share := shares(f)
	mine := share[node]
	if held <= mine+(mine+9)/10 {
		return 0
	}
	room := 0
	for _, n := range f.Nodes {
		if n.ID != node {
			room += max(0, share[n.ID]-n.Held)
		}
	}
	return min(held-mine, room)
}
