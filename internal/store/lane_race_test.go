package store_test

import (
	"database/sql"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/store"
)

// Events are published while workers settle and give back: no delivery is left waiting in a lane that nobody
// is going to look at.
func TestLane_NoWakeIsLost(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		const publishers, each = 4, 60
		lanes := []domain.ID{f.addWebhook(t, f.account.ID), f.addWebhook(t, f.account.ID)}
		var publishing, working sync.WaitGroup
		for p := range publishers {
			db := openSQL(t, f.Dialect(), f.place)
			publishing.Go(func() {
				for i := range each {
					if err := f.publishInOne(t, db, lanes[i%len(lanes)], int64(1+p*each+i)); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		published := make(chan struct{})
		var mu sync.Mutex
		settled := 0
		for range 3 {
			worker := domain.NewID(at(0))
			working.Go(func() {
				for {
					last := alreadyClosed(published) // before looking
					claimed, err := f.ClaimLanes(t.Context(), worker, 2, time.Minute)
					if err != nil {
						t.Error(err)
						return
					}
					for _, l := range claimed {
						n := f.deliverOne(t, l.Key(), func() {})
						mu.Lock()
						settled += n
						mu.Unlock()
					}
					mu.Lock()
					done := settled == publishers*each
					mu.Unlock()
					if done || t.Failed() || last && len(claimed) == 0 && f.nothingHeld(t) {
						return
					}
				}
			})
		}
		publishing.Wait()
		close(published)
		working.Wait()
		if settled != publishers*each {
			t.Errorf("settled %d of %d", settled, publishers*each)
		}
	})
}

func alreadyClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// nothingHeld reports whether no lane is held, so that what cannot be claimed now never will be.
func (f *fixture) nothingHeld(t testing.TB) bool {
	var n int
	row := openSQL(t, f.Dialect(), f.place).QueryRowContext(t.Context(), `SELECT count(*) FROM webhook_lanes WHERE worker_id IS NOT NULL OR due_at IS NOT NULL`)
	if err := row.Scan(&n); err != nil {
		t.Error(err)
	}
	return n == 0
}

// Who gives a lane back waits for the event that is being published into it, and then sees it.
func TestLane_GivenBackDuringAnEvent(t *testing.T) {
	t.Parallel()
	f := newFixture(t, store.DialectPostgres)
	webhook := f.addWebhook(t, f.account.ID)
	f.publish(t, f.account.ID, webhook, 1, past(1)...)
	lane := claimLanes(t, f, domain.NewID(at(0)), 1)[0].Key()
	outcomes := []domain.Outcome{delivered(lane, due(t, f, lane, 1)[0])}
	db := openSQL(t, f.Dialect(), f.place)
	tx := must[*sql.Tx](t)(db.BeginTx(t.Context(), nil))
	defer func() { _ = tx.Rollback() }()
	if err := f.publishIn(t, tx, webhook, 2); err != nil {
		t.Fatal(err)
	}
	var settling sync.WaitGroup
	settling.Go(func() { settle(t, f, outcomes, domain.LaneUpdate{Lane: lane, Release: true}) })
	for waiting := 0; waiting == 0; {
		row := db.QueryRowContext(t.Context(), `SELECT count(*) FROM pg_locks WHERE NOT granted AND pid IN
			(SELECT pid FROM pg_stat_activity WHERE datname = current_database())`)
		if err := row.Scan(&waiting); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	settling.Wait()
	if lanes := claimLanes(t, f, domain.NewID(at(0)), 1); len(lanes) != 1 {
		t.Error("the event is left behind")
	}
}

// publishInOne publishes in a transaction of its own.
func (f *fixture) publishInOne(t testing.TB, db *sql.DB, webhook domain.ID, position int64) error {
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if err := f.publishIn(t, tx, webhook, position); err != nil {
		return err
	}
	return tx.Commit()
}

// publishIn does what publishing does: the account's head first, then the delivery, then the lane. The event gets the
// position, or the one after the last.
func (f *fixture) publishIn(t testing.TB, tx *sql.Tx, webhook domain.ID, position int64) error {
	a, w, now := f.sqlID(f.account.ID), f.sqlID(webhook), f.sqlTime(time.Now().Add(-time.Second))
	head := fmt.Sprintf(`INSERT INTO event_heads AS h (account_id, instance_id, last) VALUES (%s, %s, %d)
		ON CONFLICT (account_id, instance_id) DO UPDATE SET last = h.last + 1 RETURNING last`, a, a, position)
	if err := tx.QueryRowContext(t.Context(), head).Scan(&position); err != nil {
		return err
	}
	for _, s := range []string{
		fmt.Sprintf("INSERT INTO events (account_id, position, id, sequence, at, type, data) VALUES (%s, %d, %s, 0, %s, 1, %s)",
			a, position, f.sqlID(domain.NewID(at(0))), now, f.sqlBytes("{}")),
		fmt.Sprintf(`INSERT INTO deliveries (%s, account_id, webhook_id, position, created_at, took_ms, status_code, attempts, step, manual, state)
			SELECT %s, account_id, %s, position, %s, 0, 0, 0, 0, false, 'waiting' FROM events AS e WHERE account_id = %s AND position = %d`,
			f.eventColumns(), f.ofEvent(), w, now, a, position),
		fmt.Sprintf(`UPDATE webhook_lanes SET due_at = CASE WHEN due_at < %s THEN due_at ELSE %s END WHERE account_id = %s AND webhook_id = %s`, now, now, a, w),
	} {
		if _, err := tx.ExecContext(t.Context(), s); err != nil {
			return err
		}
	}
	return nil
}
