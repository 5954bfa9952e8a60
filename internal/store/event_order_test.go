package store_test

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/store"
)

// TestEvents_Entered reads the events of two accounts while SQLite enters them in their order, 128 at a time, and when some of
// either kind are removed.
func TestEvents_Entered(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		random := rand.New(rand.NewPCG(4, 8))
		old := time.Now().Add(-31 * 24 * time.Hour)
		instances := []domain.ID{domain.NewID(at(0)), domain.NewID(at(1)), {}}
		accounts := map[*store.Account][]domain.Event{f.mine: nil, f.other: nil}
		published := 0
		for published < 600 {
			account := f.mine
			if random.IntN(4) == 0 {
				account = f.other
			}
			batch := make([]domain.Event, 1+random.IntN(30))
			for i := range batch {
				batch[i] = domain.Event{InstanceID: instances[random.IntN(3)], Type: 1 << random.IntN(3), Data: []byte("{}")}
				if random.IntN(2) == 0 {
					batch[i].At = old
				}
			}
			accounts[account] = append(accounts[account], publishAll(t, account, batch...)...)
			published += len(batch)
			for account, all := range accounts {
				wantFound(t, random, account, all)
			}
		}
		wantEntered(t, f, published)

		swept := must[int](t)(f.Sweep(t.Context()))
		for account, all := range accounts {
			latest := all[len(all)-1]
			accounts[account] = slices.DeleteFunc(all, func(e domain.Event) bool { return e.ID != latest.ID && e.At.Before(old.Add(time.Minute)) })
			wantFound(t, random, account, accounts[account])
		}
		same(t, "what stays", len(accounts[f.mine])+len(accounts[f.other]), published-swept)
		wantEntered(t, f, published)
	})
}

// wantFound looks for the events of an account, from anywhere and with any filter.
func wantFound(t *testing.T, random *rand.Rand, account *store.Account, all []domain.Event) {
	t.Helper()
	same(t, "all", eventsOf(t, account, 0), append([]domain.Event{}, all...))
	if len(all) == 0 {
		return
	}
	from := random.IntN(len(all))
	filter := domain.EventFilter{Types: domain.EventSet(random.IntN(8))}
	if id := all[random.IntN(len(all))].InstanceID; !id.IsZero() {
		filter.Instances = []domain.ID{id}
	}
	want := slices.DeleteFunc(slices.Clone(all[from:]), func(e domain.Event) bool { return !filter.Matches(&e) })
	limit := 1 + random.IntN(40)
	same(t, "some", append([]domain.Event{}, found(t, account, all[from].Position-1, limit, filter)...), append([]domain.Event{}, want[:min(limit, len(want))]...))
}

// wantEntered holds what SQLite has entered against the events that are there, of as many as were published.
func wantEntered(t *testing.T, f *fixture, published int) {
	t.Helper()
	same(t, "events in order", countRows(t, f, "ordered_events"), countRows(t, f, "events"))
	if f.Dialect() == store.DialectPostgres {
		return
	}
	same(t, "entered", countRows(t, f, "event_order"), countRows(t, f, "events WHERE number <= "+strconv.Itoa(published/128*128)))
}
