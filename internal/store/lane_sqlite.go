package store

import (
	"context"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// freeLanes is what can be claimed at ?1.
const freeLanes = `
FROM webhook_lanes AS l JOIN webhooks AS w ON w.account_id = l.account_id AND w.id = l.webhook_id
WHERE l.due_at <= CAST(?1 AS integer) AND (l.paused_until IS NULL OR l.paused_until <= CAST(?1 AS integer))
    AND (l.worker_id IS NULL OR l.lease_until < CAST(?1 AS integer)) AND w.status = 'active'
ORDER BY l.due_at LIMIT ?2 + 0`

const (
	anyLaneSQLite   crossing = `SELECT 1` + freeLanes
	freeLanesSQLite crossing = `SELECT ` + laneColumns + freeLanes
	heldLanesSQLite crossing = `
SELECT ` + laneColumns + `
FROM webhook_lanes AS l JOIN webhooks AS w ON w.account_id = l.account_id AND w.id = l.webhook_id
WHERE l.worker_id = ?1`
	takeLaneSQLite crossing = `
UPDATE webhook_lanes SET worker_id = ?1, epoch = epoch + 1, lease_until = ?2 WHERE account_id = CAST(?3 AS blob) AND webhook_id = CAST(?4 AS blob)`
	renewLanesSQLite crossing = `UPDATE webhook_lanes SET lease_until = ?2 WHERE worker_id = ?1`
)

func (s *Store) claimLanesSQLite(ctx context.Context, worker domain.ID, limit int, lease time.Duration) ([]domain.Lane, error) {
	// Whoever only looks does not keep others from writing.
	found := false
	err := s.each(ctx, everywhere{sqlite: anyLaneSQLite}, func() {}, func(scanned) error { found = true; return nil }, millisOf(now()), 1)
	if err != nil || !found {
		return nil, err
	}
	return change(ctx, s, wall{}, func(sc scope) ([]domain.Lane, error) {
		at := now()
		ctx, tx := sc.db.Statement.Context, sc.db.Statement.ConnPool
		var lanes []domain.Lane
		err := eachInTx(ctx, tx, freeLanesSQLite, collectLanes(&lanes), millisOf(at), limit)
		if err != nil || len(lanes) == 0 {
			return nil, err
		}
		take, err := prepareSQLite(ctx, tx, takeLaneSQLite)
		if err != nil {
			return nil, err
		}
		defer func() { _ = take.Close() }()
		for i := range lanes {
			lanes[i].Epoch++
			w := &lanes[i].Webhook
			if _, err := take.ExecContext(ctx, uid(worker), millisOf(at.Add(lease)), uid(w.AccountID), uid(w.ID)); err != nil {
				return nil, err
			}
		}
		return lanes, nil
	})
}

func (s *Store) renewLanesSQLite(ctx context.Context, worker domain.ID, lease time.Duration) ([]domain.Lane, error) {
	return change(ctx, s, wall{}, func(sc scope) (lanes []domain.Lane, err error) {
		ctx, tx := sc.db.Statement.Context, sc.db.Statement.ConnPool
		if err = execInTx(ctx, tx, renewLanesSQLite, uid(worker), millisOf(now().Add(lease))); err != nil {
			return nil, err
		}
		err = eachInTx(ctx, tx, heldLanesSQLite, collectLanes(&lanes), uid(worker))
		return lanes, err
	})
}
