package session

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// What was deleted without being logged out does not stay among the pairings, whether that was before the start or
// later, and whatever is away for a while. When nothing that is paired exists, the database is a wrong one.
func TestManager_ForgetsTheDeleted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		account := domain.ID{1}
		before, later, stays := w.store.add("jid"), w.store.add("jid"), w.store.add("jid")
		for _, id := range []domain.ID{before, later, stays} {
			w.driver.kept = append(w.driver.kept, domain.LinkTarget{Account: account, Instance: id})
		}
		remove := func(id domain.ID) {
			t.Helper()
			if err := w.store.RemoveInstance(t.Context(), account, id); err != nil {
				t.Fatal(err)
			}
		}
		wantKept := func(when string, want ...domain.ID) {
			t.Helper()
			kept, _ := w.driver.Paired(t.Context())
			ok := len(kept) == len(want)
			for i := range min(len(kept), len(want)) {
				ok = ok && kept[i].Instance == want[i]
			}
			if !ok {
				t.Errorf("%s: kept are %+v, want %v", when, kept, want)
			}
		}
		remove(before)
		w.node(Config{})
		time.Sleep(time.Minute)
		wantKept("at the start", later, stays)
		remove(later)
		w.driver.set(func(d *fakeDriver) { d.unforgettable = errors.New("the device store is away") })
		time.Sleep(sweepEvery + 10*time.Minute)
		wantKept("while it is away", later, stays)
		w.driver.set(func(d *fakeDriver) { d.unforgettable = nil })
		time.Sleep(sweepEvery + 10*time.Minute)
		wantKept("in the end", stays)
		remove(stays)
		time.Sleep(2 * sweepEvery)
		wantKept("when there is nothing else", stays)
	})
}
