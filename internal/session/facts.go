package session

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

const (
	flushEvery = 100 * time.Millisecond
	flushBatch = 200
	// flushTimeout bounds one batch; the whole store is busy when it takes longer.
	flushTimeout = 5 * time.Second
)

// factWriter records what keepers learn, a batch at a time. Facts about one instance are merged while they
// wait, the later one winning field by field, and wait as long as the database is away.
type factWriter struct {
	m     *Manager
	node  domain.ID
	lost  func(domain.Lease)
	ready chan struct{}
	hurry chan struct{} // something waits that must not be lost, such as a pairing

	writing sync.Mutex // held during a flush

	mu      sync.Mutex
	waiting map[domain.Lease]domain.LinkFact
	busy    map[domain.Lease]bool // being written

	reported reporter
}

func newFactWriter(m *Manager, node domain.ID, lost func(domain.Lease)) *factWriter {
	return &factWriter{
		m: m, node: node, lost: lost, ready: make(chan struct{}, 1), hurry: make(chan struct{}, 1), waiting: map[domain.Lease]domain.LinkFact{},
		reported: reporter{log: m.cfg.Log, lost: "cannot record states; they wait in memory", found: "states are recorded again"},
	}
}

// put records a fact soon. It never blocks on the database.
func (w *factWriter) put(f domain.LinkFact) {
	w.mu.Lock()
	if old, ok := w.waiting[f.Lease]; ok {
		f = overlay(old, f)
	}
	w.waiting[f.Lease] = f
	w.mu.Unlock()
	signal(w.ready)
	if f.JID != nil {
		signal(w.hurry)
	}
}

// signal leaves a mark in a channel of one, unless there is one already.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// pending reports whether something about a lease waits or is being written.
func (w *factWriter) pending(l domain.Lease) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, waits := w.waiting[l]
	return waits || w.busy[l]
}

// run writes until ctx ends.
func (w *factWriter) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.ready:
		}
		// What follows within a moment is written together.
		select {
		case <-time.After(flushEvery):
		case <-w.hurry:
		case <-ctx.Done():
		}
		for ctx.Err() == nil && !w.flush(ctx) {
			w.m.pause(ctx, time.Second)
		}
	}
}

// flush writes everything that waits, and reports whether it could.
func (w *factWriter) flush(ctx context.Context) (done bool) {
	w.writing.Lock()
	defer w.writing.Unlock()
	for {
		batch := w.take()
		if len(batch) == 0 {
			return true
		}
		err := w.save(ctx, batch)
		if err != nil && domain.CodeOf(err) != domain.CodeUnavailable && ctx.Err() == nil && len(batch) > 0 {
			err = w.saveEach(ctx, batch)
		}
		w.reported.report(ctx, err)
		if err != nil {
			w.putBack(batch)
			return false
		}
		w.mu.Lock()
		w.busy = nil
		w.mu.Unlock()
	}
}

// take removes a batch from what waits.
func (w *factWriter) take() []domain.LinkFact {
	w.mu.Lock()
	defer w.mu.Unlock()
	batch := make([]domain.LinkFact, 0, min(len(w.waiting), flushBatch))
	w.busy = make(map[domain.Lease]bool, cap(batch))
	for l, f := range w.waiting {
		if len(batch) == flushBatch {
			break
		}
		batch = append(batch, f)
		w.busy[l] = true
		delete(w.waiting, l)
	}
	return batch
}

// putBack returns a batch to what waits, under what has come since.
func (w *factWriter) putBack(batch []domain.LinkFact) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range batch {
		if newer, ok := w.waiting[f.Lease]; ok {
			f = overlay(f, newer)
		}
		w.waiting[f.Lease] = f
	}
	w.busy = nil
}

func (w *factWriter) save(ctx context.Context, batch []domain.LinkFact) error {
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	lost, err := w.m.store.SaveLinkFacts(ctx, w.node, batch)
	if err != nil {
		return err
	}
	for _, l := range lost {
		w.lost(l)
	}
	return nil
}

// saveEach writes the facts of a batch that was refused one by one, so that one which cannot be stored does
// not keep the others out. That one is dropped: it would be refused again.
func (w *factWriter) saveEach(ctx context.Context, batch []domain.LinkFact) error {
	for _, f := range batch {
		err := w.save(ctx, []domain.LinkFact{f})
		if domain.CodeOf(err) == domain.CodeUnavailable || ctx.Err() != nil {
			return err
		}
		if err != nil {
			w.m.cfg.Log.LogAttrs(ctx, slog.LevelError, "a state cannot be recorded and is dropped",
				slog.String("instance", f.Instance.String()), slog.Any("error", err))
		}
	}
	return nil
}

// overlay returns f with what the later fact says.
func overlay(f, later domain.LinkFact) domain.LinkFact {
	pick(&f.State.Status, later.State.Status)
	pick(&f.State.Reason, later.State.Reason)
	pick(&f.State.Phone, later.State.Phone)
	pick(&f.State.ProfileName, later.State.ProfileName)
	pick(&f.State.ProfilePicURL, later.State.ProfilePicURL)
	pick(&f.State.ProfileStatus, later.State.ProfileStatus)
	pickTime(&f.State.ConnectedAt, later.State.ConnectedAt)
	pickTime(&f.State.LastSeenAt, later.State.LastSeenAt)
	pickTime(&f.State.At, later.State.At)
	pick(&f.Code, later.Code)
	pick(&f.JID, later.JID)
	pick(&f.RetryAt, later.RetryAt)
	if later.Latency != 0 {
		f.Latency = later.Latency
	}
	f.Seq = max(f.Seq, later.Seq)
	f.Ended = f.Ended || later.Ended
	f.Release = f.Release || later.Release
	return f
}

func pick[T any](field **T, value *T) {
	if value != nil {
		*field = value
	}
}

func pickTime(field *time.Time, value time.Time) {
	if !value.IsZero() {
		*field = value
	}
}
