package store_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/store"
)

// While instances come and go, a walk by cursor sees none twice and misses none that existed throughout.
func TestPages_WalkWhileRowsComeAndGo(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		rapid.Check(t, func(rt *rapid.T) {
			partner, children := f.addPartner(t)
			w := walk{t: t, rt: rt, account: children[0], noise: children[1], pager: children[0]}
			if rapid.Bool().Draw(rt, "as the partner") {
				w.pager = partner
			}
			w.run()
		})
	})
}

// walk is one example: what is there, what happens meanwhile, how large the pages are.
type walk struct {
	t       *testing.T
	rt      *rapid.T
	account *store.Account
	noise   *store.Account // its partner's other child changes too
	pager   pager
}

func (w walk) run() {
	start := rapid.IntRange(0, 25).Draw(w.rt, "instances at first")
	limit := rapid.IntRange(1, 7).Draw(w.rt, "limit")
	steps := rapid.SliceOfN(rapid.IntRange(0, 3), 0, 25).Draw(w.rt, "changes")
	spread := rapid.IntRange(1, 4).Draw(w.rt, "instances per moment")
	filter := domain.InstanceFilter{Search: rapid.SampledFrom([]string{"", "walk"}).Draw(w.rt, "search")}

	stays := map[domain.ID]bool{}
	var goes []domain.ID
	for i := range start {
		id := w.add(i / spread)
		if i%3 == 0 {
			goes = append(goes, id)
		} else {
			stays[id] = true
		}
	}
	var changes sync.WaitGroup
	changes.Go(func() { w.change(steps, start/spread, goes) })
	seen := w.see(filter, limit)
	changes.Wait()
	for id := range stays {
		if seen[id] != 1 {
			w.rt.Errorf("an instance that existed throughout was seen %d times", seen[id])
		}
	}
	for id, n := range seen {
		if n > 1 {
			w.rt.Errorf("instance %v was seen %d times", id, n)
		}
	}
}

func (w walk) add(moment int) domain.ID {
	in := domain.Instance{Name: "walk", CreatedAt: at(moment)}
	if err := w.account.CreateInstance(w.t.Context(), &in, 0); err != nil {
		w.rt.Error(err)
	}
	return in.ID
}

// change adds in front of, among and behind the first instances, and removes some of them.
func (w walk) change(steps []int, last int, goes []domain.ID) {
	for i, step := range steps {
		switch {
		case step == 0 && len(goes) > 0:
			if _, err := w.account.DeleteInstance(w.t.Context(), goes[0], 0); err != nil {
				w.rt.Error(err)
			}
			goes = goes[1:]
		case step == 1:
			w.add(i % (last + 1))
		case step == 2:
			w.add(last + 1 + i)
		default:
			in := domain.Instance{Name: fmt.Sprint("walk noise ", i), CreatedAt: at(i)}
			if err := w.noise.CreateInstance(w.t.Context(), &in, 0); err != nil {
				w.rt.Error(err)
			}
		}
	}
}

// see walks from the beginning to the end and counts how often each instance came.
func (w walk) see(filter domain.InstanceFilter, limit int) map[domain.ID]int {
	seen := map[domain.ID]int{}
	p := domain.PageRequest{Limit: limit, After: &domain.Cursor{CreatedAt: time.Unix(0, 0)}}
	for more := true; more; {
		rows := 0
		info, err := w.pager.EachInstance(w.t.Context(), filter, p, func(v *domain.InstanceView) error {
			rows++
			seen[v.ID]++
			return nil
		})
		if err != nil || rows > limit || info.HasMore && rows < limit || info.Total < int64(rows) {
			w.rt.Fatalf("%d rows of %d, %+v, %v", rows, limit, info, err)
		}
		more = info.HasMore
		p.After = &info.Last
	}
	return seen
}
