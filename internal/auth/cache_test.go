package auth

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pombal-api/pombal/internal/domain"
)

// numbered returns an id that is different for each n.
func numbered(n int) (id domain.ID) {
	binary.BigEndian.PutUint64(id[8:], uint64(n)+1)
	return id
}

// loads is a load function that counts, and fails where there is nothing.
type loads struct {
	mu    sync.Mutex
	n     map[int]int
	owner func(key int) owners
	wait  func(key int)
	value func(key int) (int, error)
}

func (l *loads) load(ctx context.Context, key int) (int, owners, error) {
	l.mu.Lock()
	if l.n == nil {
		l.n = map[int]int{}
	}
	l.n[key]++
	l.mu.Unlock()
	value, err := key, error(nil)
	if l.value != nil {
		value, err = l.value(key)
	}
	if l.wait != nil {
		l.wait(key)
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	o := owners{numbered(key)}
	if l.owner != nil {
		o = l.owner(key)
	}
	return value, o, err
}

func (l *loads) count(key int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n[key]
}

func get(t *testing.T, c *cache[int, int], key int) int {
	t.Helper()
	v, err := c.get(t.Context(), key, time.Now(), true)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestCacheKeepsForAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &loads{}
		c := newCache(l.load)
		for range 3 {
			get(t, c, 1)
		}
		time.Sleep(foundFor - time.Nanosecond)
		get(t, c, 1)
		if n := l.count(1); n != 1 {
			t.Fatalf("%d loads within the time to live, want 1", n)
		}
		time.Sleep(time.Nanosecond)
		get(t, c, 1)
		if n := l.count(1); n != 2 {
			t.Fatalf("%d loads after the time to live, want 2", n)
		}
		if _, err := c.get(t.Context(), 1, time.Now(), false); err != nil || l.count(1) != 3 {
			t.Fatalf("%d loads, %v: an untrusted cache served from memory", l.count(1), err)
		}
	})
}

func TestCacheRemembersWhatIsMissingBriefly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fails := domain.AccountNotFound()
		l := &loads{value: func(int) (int, error) { return 0, fails }}
		c := newCache(l.load)
		for range 3 {
			if _, err := c.get(t.Context(), 1, time.Now(), true); !isNotFound(err) {
				t.Fatal(err)
			}
		}
		time.Sleep(missingFor)
		_, _ = c.get(t.Context(), 1, time.Now(), true)
		if n := l.count(1); n != 2 {
			t.Fatalf("%d loads, want 2", n)
		}
		c.evict([]domain.ID{numbered(7)}) // something changed: what was missing may exist now
		_, _ = c.get(t.Context(), 1, time.Now(), true)
		if n := l.count(1); n != 3 {
			t.Fatalf("%d loads, want 3", n)
		}
	})
}

func TestCacheDoesNotKeepFailures(t *testing.T) {
	t.Parallel()
	cause := errors.New("no route to host")
	l := &loads{value: func(int) (int, error) { return 0, domain.Unavailable(cause) }}
	c := newCache(l.load)
	for range 3 {
		if _, err := c.get(t.Context(), 1, time.Now(), true); !errors.Is(err, cause) {
			t.Fatal(err)
		}
	}
	if n := l.count(1); n != 3 {
		t.Fatalf("%d loads, want 3", n)
	}
}

func TestCacheEvictsByEveryOwner(t *testing.T) {
	t.Parallel()
	l := &loads{owner: func(key int) owners { return owners{numbered(key), numbered(key % 2)} }}
	c := newCache(l.load)
	for key := range 10 {
		get(t, c, key)
	}
	c.evict([]domain.ID{numbered(1)})
	for key := range 10 {
		get(t, c, key)
		want := 1 + key%2 // 1 itself and all that depend on it were loaded again
		if n := l.count(key); n != want {
			t.Errorf("key %d: %d loads, want %d", key, n, want)
		}
	}
	c.reset()
	if len(c.found)+len(c.owned)+len(c.missing)+len(c.flights) != 0 {
		t.Error("something is left after reset")
	}
}

// TestCacheStaleLoadIsNotKept is the race of a load that read before a change and ends after the
// eviction for it.
func TestCacheStaleLoadIsNotKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		current := 1
		release := make(chan struct{})
		l := &loads{value: func(int) (int, error) { return current, nil }}
		l.wait = func(int) {
			if current == 1 {
				<-release
			}
		}
		c := newCache(l.load)
		stale := make(chan int)
		go func() {
			v, _ := c.get(t.Context(), 1, time.Now(), true)
			stale <- v
		}()
		synctest.Wait() // it has read 1 and has not returned
		current = 2
		c.evict([]domain.ID{numbered(1)})
		if v := get(t, c, 1); v != 2 {
			t.Errorf("a call after the eviction joined the load before it: got %d, want 2", v)
		}
		close(release)
		if v := <-stale; v != 1 {
			t.Errorf("the early call got %d, want what it read, 1", v)
		}
		synctest.Wait()
		if v := get(t, c, 1); v != 2 {
			t.Errorf("the stale value was kept: got %d, want 2", v)
		}
	})
}

func TestCacheLoadsOnceForAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		l := &loads{wait: func(int) { <-release }}
		c := newCache(l.load)
		leader, hangUp := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for i := range 100 {
			ctx := t.Context()
			if i == 0 {
				ctx = leader
			}
			wg.Go(func() {
				if v, err := c.get(ctx, 1, time.Now(), true); v != 1 || err != nil {
					t.Errorf("get = %d, %v", v, err)
				}
			})
			if i == 0 {
				synctest.Wait()
			}
		}
		synctest.Wait()
		hangUp() // the leader's client is gone; the others still get their answer

		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := c.get(impatient, 1, time.Now(), true)
		wantCode(t, err, domain.CodeUnavailable)

		close(release)
		wg.Wait()
		if n := l.count(1); n != 1 {
			t.Errorf("%d loads, want 1", n)
		}
	})
}

func TestCacheDoesNotJoinAnOldLoad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		l := &loads{}
		l.wait = func(int) {
			if l.count(1) == 1 {
				<-release
			}
		}
		c := newCache(l.load)
		go func() { _, _ = c.get(context.Background(), 1, time.Now(), true) }()
		time.Sleep(joinWindow + time.Nanosecond)
		get(t, c, 1)
		if n := l.count(1); n != 2 {
			t.Errorf("%d loads, want 2: the call waited for a load that hangs", n)
		}
		close(release)
	})
}

func TestCachePanicDoesNotHang(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		l := &loads{wait: func(int) {
			<-release
			panic("load") //nolint:forbidigo // the test is about a load that panics
		}}
		c := newCache(l.load)
		go func() {
			defer func() { _ = recover() }()
			_, _ = c.get(context.Background(), 1, time.Now(), true)
		}()
		synctest.Wait()
		joined := make(chan error)
		go func() {
			_, err := c.get(context.Background(), 1, time.Now(), true)
			joined <- err
		}()
		synctest.Wait()
		close(release)
		if err := <-joined; !errors.Is(err, errLoadAborted) {
			t.Errorf("error = %v, want errLoadAborted", err)
		}
	})
}

func TestCacheIsBoundedAndSwept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &loads{owner: func(key int) owners { return owners{numbered(key % 100)} }}
		l.value = func(key int) (int, error) {
			if key < 0 {
				return 0, domain.APIKeyNotFound()
			}
			return key, nil
		}
		c := newCache(l.load)
		for key := range maxFound + 1000 {
			get(t, c, key)
		}
		for key := range maxMissing + 1000 {
			_, _ = c.get(t.Context(), -1-key, time.Now(), true)
		}
		owned := 0
		for _, keys := range c.owned {
			owned += len(keys)
		}
		want := map[string]int{"found": maxFound, "missing": maxMissing, "owned": maxFound, "flights": 0}
		got := map[string]int{"found": len(c.found), "missing": len(c.missing), "owned": owned, "flights": len(c.flights)}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("sizes (-want +got):\n%s", diff)
		}
		time.Sleep(foundFor)
		c.sweep(time.Now())
		if len(c.found)+len(c.missing)+len(c.owned) != 0 {
			t.Errorf("%d found, %d missing, %d owners are left after the sweep", len(c.found), len(c.missing), len(c.owned))
		}
	})
}

func BenchmarkCacheHit(b *testing.B) {
	c := newCache((&loads{}).load)
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.get(b.Context(), 1, now, true); err != nil {
			b.Fatal(err)
		}
	}
}
