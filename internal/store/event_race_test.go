package store

import (
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/testkit"
)

// While many publish, some of whose transactions are undone, a reader that goes on after what it has seen misses
// nothing, with a filter neither, and sequences have no gaps.
func TestEvents_ConcurrentWritersAndReaders(t *testing.T) {
	t.Parallel()
	for _, engine := range testkit.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			f := newWallFixture(t, engine)
			const writers, rounds = 8, 40
			var published atomic.Int64
			var done atomic.Bool
			var work, readers sync.WaitGroup
			for i := range writers {
				random := rand.New(rand.NewPCG(1, uint64(i)))
				work.Go(func() {
					for range rounds {
						published.Add(publishSome(t, f, random))
					}
				})
			}
			f.s.eventWindow = 5
			filters := []domain.EventFilter{{}, {Types: 1}, {Types: 1, Instances: []domain.ID{{15: 3}}}, {Instances: []domain.ID{{15: 3}}}}
			read := make([]map[domain.ID]int64, len(filters))
			for i, filter := range filters {
				readers.Go(func() { read[i] = tail(t, f, filter, &done, &published) })
			}
			work.Wait()
			done.Store(true)
			readers.Wait()
			for i := range filters {
				if id := (domain.ID{15: 3}); read[i][id] != read[0][id] || read[i][id] == 0 {
					t.Errorf("reader %d saw %d events of an instance, the first %d", i, read[i][id], read[0][id])
				}
			}
		})
	}
}

var errUndo = errors.New("undo")

// publishSome publishes some events in one or two steps, or undoes that, and returns how many there are.
func publishSome(t *testing.T, f wallFixture, random *rand.Rand) int64 {
	n, undo := int64(0), random.IntN(4) == 0
	instances := []domain.ID{{}, {15: 1}, {15: 2}, {15: 3}, {15: 4}}
	random.Shuffle(len(instances), func(i, j int) { instances[i], instances[j] = instances[j], instances[i] })
	err := f.s.write(t.Context(), wall{account: f.mine}, func(sc scope) error {
		n = 0
		for _, some := range [][]domain.ID{instances[:random.IntN(3)], instances[3:]} {
			var events []domain.Event
			for _, id := range some {
				events = append(events, domain.Event{InstanceID: id, Type: 1, Data: []byte("{}")})
			}
			n += int64(len(events))
			if err := publish(sc, events); err != nil {
				return err
			}
		}
		if undo {
			return errUndo
		}
		return nil
	})
	if err != nil {
		n = 0
		if !undo || !errors.Is(err, errUndo) {
			t.Error(err)
		}
	}
	return n
}

// tail reads to the end, and returns how many events of each instance it saw.
func tail(t *testing.T, f wallFixture, filter domain.EventFilter, done *atomic.Bool, published *atomic.Int64) map[domain.ID]int64 {
	account, err := f.s.Account(f.mine)
	last, sequences, filtered := int64(0), map[domain.ID]int64{}, filter.Instances != nil
	for err == nil && (!done.Load() || last < published.Load()) {
		var events []domain.Event
		var seen domain.EventPlace
		events, seen, err = account.Events(t.Context(), last, 7, filter)
		for i, e := range events {
			if !filtered && e.Position != last+int64(i)+1 {
				t.Errorf("position %d is %d behind %d", e.Position, i+1, last)
				return nil
			}
			if e.InstanceID.IsZero() {
				continue
			}
			if sequences[e.InstanceID]++; e.Sequence != sequences[e.InstanceID] {
				t.Errorf("sequence %d comes after %d", e.Sequence, sequences[e.InstanceID]-1)
			}
		}
		last = max(last, seen.Position)
	}
	if err != nil {
		t.Error(err)
	}
	if last != published.Load() {
		t.Errorf("a reader saw %d events of %d", last, published.Load())
	}
	return sequences
}
