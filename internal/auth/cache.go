package auth

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

const (
	foundFor    = 30 * time.Second       // how long what was loaded is kept
	missingFor  = 2 * time.Second        // how long "there is no such thing" is kept
	maxFound    = 65_536                 // entries per cache
	maxMissing  = 4_096                  // apart from the found, so that guessing cannot push those out
	joinWindow  = 250 * time.Millisecond // a call joins a load that began at most this long ago
	loadTimeout = 5 * time.Second
)

var errLoadAborted = errors.New("the load ended without a result")

// cache keeps values loaded from the store under K, and forgets them by the accounts they depend on.
//
// A load that overlaps a call of evict may have read what the eviction was about, so it is neither kept
// nor joined by later calls: generation counts evictions, and evict forgets the loads under way.
type cache[K comparable, V any] struct {
	load func(context.Context, K) (V, owners, error)

	mu         sync.RWMutex
	found      map[K]*cached[V]
	missing    map[K]*cached[V]
	owned      map[domain.ID]map[K]struct{} // the keys of found by owner
	flights    map[K]*flight[V]
	generation uint64
}

// owners are the accounts whose change outdates a value; zero ids own nothing.
type owners [2]domain.ID

type cached[V any] struct {
	value   V
	err     error // set in missing
	owners  owners
	expires time.Time
}

// flight is one load under way and, once done is closed, its result.
type flight[V any] struct {
	done       chan struct{}
	started    time.Time
	generation uint64
	cached[V]
}

func newCache[K comparable, V any](load func(context.Context, K) (V, owners, error)) *cache[K, V] {
	c := &cache[K, V]{load: load}
	c.reset()
	return c
}

// get returns the value under key, loading it unless a kept one may be used: trusted says that every
// change that matters has been seen. The error may be one kept from an earlier load.
func (c *cache[K, V]) get(ctx context.Context, key K, now time.Time, trusted bool) (V, error) {
	if trusted {
		c.mu.RLock()
		e := c.found[key]
		c.mu.RUnlock()
		if e != nil && now.Before(e.expires) {
			return e.value, nil
		}
	}
	return c.miss(ctx, key, now, trusted)
}

func (c *cache[K, V]) miss(ctx context.Context, key K, now time.Time, trusted bool) (V, error) {
	c.mu.Lock()
	if e := c.kept(key, now); e != nil && trusted {
		c.mu.Unlock()
		return e.value, e.err
	}
	if f := c.flights[key]; f != nil && now.Sub(f.started) <= joinWindow {
		c.mu.Unlock()
		return f.wait(ctx)
	}
	f := &flight[V]{done: make(chan struct{}), started: now, generation: c.generation}
	c.flights[key] = f
	c.mu.Unlock()
	return c.lead(ctx, key, f)
}

// kept looks again under the lock: another call may have loaded in between.
func (c *cache[K, V]) kept(key K, now time.Time) *cached[V] {
	e := c.found[key]
	if e == nil {
		e = c.missing[key]
	}
	if e == nil || !now.Before(e.expires) {
		return nil
	}
	return e
}

// lead loads for all who wait on f. A caller that hangs up does not take the others' load with it.
func (c *cache[K, V]) lead(ctx context.Context, key K, f *flight[V]) (V, error) {
	patience := loadTimeout
	if deadline, ok := ctx.Deadline(); ok {
		patience = min(patience, time.Until(deadline)) // the caller's own answer is due then
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	f.err = errLoadAborted // for those who wait, should load panic
	defer close(f.done)
	defer c.settle(key, f)
	f.value, f.owners, f.err = c.load(ctx, key)
	if errors.Is(f.err, context.DeadlineExceeded) && domain.CodeOf(f.err) == domain.CodeInternal {
		f.err = domain.Unavailable(f.err)
	}
	return f.value, f.err
}

func (f *flight[V]) wait(ctx context.Context) (V, error) {
	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		var none V
		return none, domain.Unavailable(context.Cause(ctx))
	}
}

// settle keeps what f found, unless something was evicted since f began.
func (c *cache[K, V]) settle(key K, f *flight[V]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.flights[key] == f {
		delete(c.flights, key)
	}
	if f.generation != c.generation {
		return
	}
	switch {
	case f.err == nil:
		f.expires = f.started.Add(foundFor)
		c.keep(key, &f.cached)
	case isNotFound(f.err):
		f.expires = f.started.Add(missingFor)
		c.drop(key)
		makeRoom(c.missing, maxMissing, func(k K) { delete(c.missing, k) })
		c.missing[key] = &f.cached
	}
}

func (c *cache[K, V]) keep(key K, e *cached[V]) {
	c.drop(key)
	delete(c.missing, key)
	makeRoom(c.found, maxFound, c.drop)
	c.found[key] = e
	for _, owner := range e.owners {
		if owner.IsZero() {
			continue
		}
		if c.owned[owner] == nil {
			c.owned[owner] = map[K]struct{}{}
		}
		c.owned[owner][key] = struct{}{}
	}
}

func (c *cache[K, V]) drop(key K) {
	e := c.found[key]
	if e == nil {
		return
	}
	delete(c.found, key)
	for _, owner := range e.owners {
		delete(c.owned[owner], key)
		if len(c.owned[owner]) == 0 {
			delete(c.owned, owner)
		}
	}
}

// makeRoom drops the entry that ends soonest among a few when entries is full. Go's maps are walked
// from a random place, which is as good a choice of the few as any.
func makeRoom[K comparable, V any](entries map[K]*cached[V], limit int, drop func(K)) {
	if len(entries) < limit {
		return
	}
	const few = 8
	var victim K
	var soonest *cached[V]
	seen := 0
	for key, e := range entries {
		if soonest == nil || e.expires.Before(soonest.expires) {
			victim, soonest = key, e
		}
		if seen++; seen == few {
			break
		}
	}
	drop(victim)
}

// evict forgets everything that depends on the accounts, all that is missing (it may exist now), and
// the loads under way.
func (c *cache[K, V]) evict(accounts []domain.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.generation++
	clear(c.flights)
	clear(c.missing)
	for _, account := range accounts {
		for key := range c.owned[account] {
			c.drop(key)
		}
	}
}

// reset forgets everything.
func (c *cache[K, V]) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.generation++
	c.found = map[K]*cached[V]{}
	c.missing = map[K]*cached[V]{}
	c.owned = map[domain.ID]map[K]struct{}{}
	c.flights = map[K]*flight[V]{}
}

// sweep drops what has expired, so that memory follows use.
func (c *cache[K, V]) sweep(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, e := range c.found {
		if !now.Before(e.expires) {
			c.drop(key)
		}
	}
	for key, e := range c.missing {
		if !now.Before(e.expires) {
			delete(c.missing, key)
		}
	}
}
