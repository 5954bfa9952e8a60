package fakewa

// maxHistory is how many entries of each list a person keeps. A server that runs for long forgets the older.
const maxHistory = 10_000

// history is the newest part of a list that only grows.
type history[T any] struct {
	forgotten int // how many entries came before items
	items     []T
}

func (h *history[T]) add(entry T) {
	h.items = append(h.items, entry)
	if len(h.items) >= 2*maxHistory { // in bulk, which is cheaper
		h.forgotten += maxHistory
		h.items = append([]T(nil), h.items[maxHistory:]...)
	}
}

// after returns the entries without the first n of all that there ever were.
func (h *history[T]) after(n int) []T {
	n = min(max(n-h.forgotten, 0), len(h.items))
	return append([]T{}, h.items[n:]...)
}

// memo remembers values by id, the newest of them.
type memo[V any] struct {
	values map[string]V
	order  []string
}

func (m *memo[V]) put(id string, v V) {
	if m.values == nil {
		m.values = make(map[string]V)
	}
	if _, known := m.values[id]; !known {
		m.order = append(m.order, id)
	}
	m.values[id] = v
	if len(m.order) > maxHistory {
		delete(m.values, m.order[0])
		m.order = m.order[1:]
	}
}

func (m *memo[V]) get(id string) (V, bool) {
	v, ok := m.values[id]
	return v, ok
}
