package ratelimit

// Chunk is how much of a window a node leases.
func Chunk(limit, left, waiting int) int { return chunk(limit, left, waiting) }

// Size is how many buckets the limiter remembers.
func (l *Limiter) Size() int {
	n := 0
	for i := range l.table.shards {
		s := &l.table.shards[i]
		s.mu.RLock()
		n += len(s.counters)
		s.mu.RUnlock()
	}
	return n
}
