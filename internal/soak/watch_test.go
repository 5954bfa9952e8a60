package soak

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pombal-api/pombal/internal/domain"
)

// watch looks at every instance all the time: at the fake WhatsApp, who is logged in, and in the database, who
// holds what.
type watch struct {
	site     *site
	subjects []*subject
	running  sync.WaitGroup
	stop     context.CancelFunc

	mu    sync.Mutex
	seen  map[string]*sight // by phone
	worst map[string]spell  // by what is measured
}

// sight is what is known of an instance. Zero times are never.
type sight struct {
	online time.Time // when it was last seen logged in
	owned  time.Time // when it was last seen held by a process that runs, or not wanted
	asleep time.Time // when it was last seen logged in, or not held by a process that runs
	twice  time.Time // since when two processes are logged in
}

// spell is how long something lasted.
type spell struct {
	d     time.Duration
	of    string
	until time.Time
}

// What is measured, at the longest.
const (
	twice   = "logged in from two nodes"
	unowned = "wanted, and held by no running node"
	idle    = "held by a running node, and not logged in"
	away    = "not logged in, for whatever reason"
)

func (s *site) watch(tb testing.TB, subjects []*subject) *watch {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w := &watch{site: s, subjects: subjects, stop: cancel, seen: map[string]*sight{}, worst: map[string]spell{}}
	for _, x := range subjects {
		now := time.Now()
		w.seen[x.number] = &sight{online: now, owned: now, asleep: now}
	}
	conn, err := pgx.Connect(tb.Context(), s.url)
	if err != nil {
		tb.Fatal(err)
	}
	w.running.Go(func() { w.repeat(ctx, 50*time.Millisecond, w.lookAtWhatsApp) })
	w.running.Go(func() {
		defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // the test is over
		w.repeat(ctx, 100*time.Millisecond, func() {
			if err := w.lookAtDatabase(ctx, conn); err != nil && ctx.Err() == nil {
				tb.Errorf("look at the database: %v", err)
				cancel()
			}
		})
	})
	tb.Cleanup(w.end)
	return w
}

func (w *watch) repeat(ctx context.Context, every time.Duration, look func()) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		look()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// end stops looking. It may be called twice.
func (w *watch) end() {
	w.stop()
	w.running.Wait()
}

func (w *watch) lookAtWhatsApp() {
	from := map[string]map[string]bool{}
	for _, o := range w.site.online() {
		if from[o.phone] == nil {
			from[o.phone] = map[string]bool{}
		}
		from[o.phone][o.process] = true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	for _, x := range w.subjects {
		s := w.seen[x.number]
		linked, since := x.state()
		if len(from[x.number]) > 0 || !linked {
			s.online, s.asleep = now, now
		}
		w.note(away, x, later(s.online, since), now)
		w.note(idle, x, later(s.asleep, since), now)
		switch {
		case len(from[x.number]) < 2:
			s.twice = time.Time{}
		case s.twice.IsZero():
			s.twice = now
		default:
			w.note(twice, x, s.twice, now)
		}
	}
}

// lookAtDatabase asks who holds what.
func (w *watch) lookAtDatabase(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, `SELECT l.instance_id::text, l.wanted, coalesce(n.soak_process, '')
		FROM instance_links l LEFT JOIN nodes n ON n.id = l.node_id`)
	if err != nil {
		return err
	}
	held := map[string]bool{}
	wanted := map[string]bool{}
	var id, process string
	var isWanted bool
	_, err = pgx.ForEachRow(rows, []any{&id, &isWanted, &process}, func() error {
		parsed, bad := domain.ParseUUID(id)
		name := parsed.Prefixed(domain.PrefixInstance)
		wanted[name], held[name] = isWanted, w.site.isLive(process)
		return bad
	})
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	for _, x := range w.subjects {
		s := w.seen[x.number]
		if held[x.id] || !wanted[x.id] {
			s.owned = now
		}
		if !held[x.id] {
			s.asleep = now
		}
		w.note(unowned, x, s.owned, now)
	}
	return nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// note keeps the longest spell of a kind.
func (w *watch) note(what string, x *subject, from, until time.Time) {
	if d := until.Sub(from); d > w.worst[what].d {
		w.worst[what] = spell{d, x.id, until}
	}
}

// check ends the watch, and reports what was longer than the bounds.
func (w *watch) check(tb testing.TB, bounds map[string]time.Duration) {
	tb.Helper()
	w.end()
	for _, what := range []string{twice, unowned, idle, away} {
		worst, bound := w.worst[what], bounds[what]
		tb.Logf("longest time %s: %v (bound %v)", what, worst.d.Round(10*time.Millisecond), bound)
		if worst.d > bound {
			tb.Errorf("%s was %s for %v at %s, more than %v", worst.of, what, worst.d, worst.until.Format(time.TimeOnly), bound)
		}
	}
}
