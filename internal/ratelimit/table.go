package ratelimit

import (
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/pombal-api/pombal/internal/domain"
)

// shards spreads the locks around the counters; a power of two.
const shards = 64

// table finds counters by the id of their bucket.
type table struct {
	seed   maphash.Seed
	seq    atomic.Uint64
	shards [shards]shard
}

type shard struct {
	mu       sync.RWMutex
	counters map[string]*counter
	_        [32]byte // keeps the next shard's lock out of this one's cache line
}

func (t *table) init() {
	t.seed = maphash.MakeSeed()
	for i := range t.shards {
		t.shards[i].counters = map[string]*counter{}
	}
}

// counter returns the counter of a bucket, a new one when there is none.
func (t *table) counter(id string) *counter {
	s := &t.shards[maphash.String(t.seed, id)%shards]
	s.mu.RLock()
	c := s.counters[id]
	s.mu.RUnlock()
	if c != nil {
		return c
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c = s.counters[id]; c == nil {
		c = &counter{id: id, seq: t.seq.Add(1)}
		s.counters[id] = c
	}
	return c
}

// claims appends a claim for every limited bucket to dst, in locking order. A bucket that is given
// twice counts once.
func (t *table) claims(dst []claim, buckets []domain.RateBucket) []claim {
	for i := range buckets {
		b := &buckets[i]
		if b.Limit <= 0 {
			continue
		}
		c := t.counter(b.ID)
		at := len(dst)
		for at > 0 && dst[at-1].seq > c.seq {
			at--
		}
		if at > 0 && dst[at-1].counter == c {
			continue
		}
		dst = append(dst, claim{})
		copy(dst[at+1:], dst[at:])
		dst[at] = claim{counter: c, name: b.Name, limit: b.Limit, order: i}
	}
	return dst
}

// prune forgets idle counters. A call that found one just before keeps using it for its one request,
// beside its successor: both spend only what the Source grants them, so nothing is counted twice.
func (t *table) prune(now int64) {
	for i := range t.shards {
		t.shards[i].prune(now)
	}
}

func (s *shard) prune(now int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.counters)
	for id, c := range s.counters {
		if c.idle(now) {
			delete(s.counters, id)
		}
	}
	if len(s.counters) < before/2 { // a map never shrinks by itself
		kept := make(map[string]*counter, len(s.counters))
		for id, c := range s.counters {
			kept[id] = c
		}
		s.counters = kept
	}
}
