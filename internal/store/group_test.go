package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/testkit"
)

// nameInstance renames the first account's instance.
func nameInstance(sc scope, f wallFixture, name string) error {
	return sc.rows(&instanceRow{}).Where(eq("id", f.myRow)).Updates(map[string]any{"name": name}).Error
}

// Of changes that share a transaction, those that fail or panic, or whose callers have gone, leave no trace, and the
// others are made.
func TestGroup_EachForItself(t *testing.T) {
	t.Parallel()
	f := newWallFixture(t, testkit.Engines()[0])
	const n = 60
	begun, queued := make(chan struct{}), make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() { // holds the writer until all the others wait
		err := f.s.write(t.Context(), wall{account: f.mine}, func(sc scope) error {
			close(begun)
			<-queued
			return nameInstance(sc, f, "first")
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-begun
	gone, leave := context.WithCancel(t.Context())
	var made sync.Map
	for i := range n {
		work.Go(func() { made.Store(i, groupedChange(t, f, gone, i)) })
	}
	for waiting := 0; waiting < n; {
		f.s.writes.mu.Lock()
		waiting = len(f.s.writes.waiting)
		f.s.writes.mu.Unlock()
	}
	leave()
	close(queued)
	work.Wait()
	events, _, err := (&Account{f.s, f.mine}).Events(t.Context(), 0, 1000, domain.EventFilter{})
	if err != nil {
		t.Fatal(err)
	}
	want := 0
	for i := range n {
		if ok, _ := made.Load(i); ok == true {
			want++
		}
	}
	if len(events) != want || want != n/4 {
		t.Errorf("%d events of %d callers", len(events), want)
	}
}

// groupedChange publishes an event in one of four ways, and returns whether that was confirmed.
func groupedChange(t *testing.T, f wallFixture, gone context.Context, i int) (ok bool) {
	ctx := t.Context()
	if i%4 == 3 {
		ctx = gone
	}
	failure := errors.New(fmt.Sprint("failure ", i))
	defer func() {
		if p := recover(); p != nil && (i%4 != 2 || p != any(failure)) {
			t.Errorf("%d: panic %v", i, p)
		}
	}()
	err := f.s.write(ctx, wall{account: f.mine}, func(sc scope) error {
		if err := publish(sc, []domain.Event{{Type: 1, InstanceID: domain.ID{15: 1}, Data: []byte("{}")}}); err != nil {
			return err
		}
		switch i % 4 {
		case 1:
			return failure
		case 2:
			panic(failure) //nolint:forbidigo // which is to reach the caller
		}
		return nil
	})
	want := map[int]error{0: nil, 1: failure, 3: context.Canceled}[i%4]
	if !errors.Is(err, want) || want == nil && err != nil {
		t.Errorf("%d: %v", i, err)
	}
	return err == nil
}

// Whoever comes late waits for few: the one who leads does not do the work of others for ever.
func TestTurns_LeadersChange(t *testing.T) {
	t.Parallel()
	var q turns[int]
	var mu sync.Mutex
	var work sync.WaitGroup
	done, led := map[int]int{}, 0
	for i := range 100 {
		work.Go(func() {
			err := q.do(t.Context(), i, func(next func() (int, bool)) {
				mu.Lock()
				defer mu.Unlock()
				led++
				for range 3 {
					if w, ok := next(); ok {
						done[w]++
					}
				}
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
	for i := range 100 {
		if done[i] != 1 {
			t.Errorf("%d was done %d times", i, done[i])
		}
	}
	if led < 100/3 || led > 100 {
		t.Errorf("%d led", led)
	}
}

// A caller whose time is over goes while it waits, unless somebody has begun with its work.
func TestTurns_Leave(t *testing.T) {
	t.Parallel()
	var q turns[int]
	leading, finish := make(chan struct{}), make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() {
		_ = q.do(t.Context(), 0, func(next func() (int, bool)) {
			close(leading)
			<-finish
			for _, ok := next(); ok; _, ok = next() {
			}
		})
	})
	<-leading
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := q.do(over, 1, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("waited: %v", err)
	}
	close(finish)
	work.Wait()
	if len(q.waiting) != 0 || q.led {
		t.Errorf("left behind: %+v", &q)
	}
}

// The one who leads waits for others until enough have come, and not for longer than it likes to.
func TestTurns_Gather(t *testing.T) {
	t.Parallel()
	for others, want := range map[int]time.Duration{0: time.Second, 1: time.Second, 2: 0, 5: 0} {
		synctest.Test(t, func(t *testing.T) {
			var q turns[int]
			var work sync.WaitGroup
			took := 0
			lead := func(next func() (int, bool)) {
				for _, ok := next(); ok; _, ok = next() {
					took++
				}
			}
			begun := time.Now()
			_ = q.do(t.Context(), 0, func(next func() (int, bool)) {
				for range others {
					work.Go(func() { _ = q.do(t.Context(), 1, lead) })
				}
				q.gather(2, time.Second)
				if waited := time.Since(begun); waited != want {
					t.Errorf("waited %v for %d others", waited, others)
				}
				synctest.Wait()
				lead(next)
			})
			work.Wait()
			if took != others+1 || q.enough != nil {
				t.Errorf("%d of %d works are done", took, others+1)
			}
		})
	}
}
