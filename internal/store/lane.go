package store

import (
	"bytes"
	"cmp"
	"context"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// A lane is a webhook as workers see it. A worker claims lanes, reads what is due in them, tries it, settles
// what came of it, and gives the lanes back. Its lease is for the case that it dies; what keeps two workers
// apart is the epoch, which grows with every claim.
//
// Who makes something due locks the lane after the deliveries are written; who gives a lane back locks it
// before it looks for deliveries. So nothing is left behind in a lane that nobody is going to look at.

// ClaimLanes takes at most limit lanes for a worker, until the lease is over: those of active webhooks where
// something is due and that nobody holds, those first that wait longest.
func (s *Store) ClaimLanes(ctx context.Context, worker domain.ID, limit int, lease time.Duration) ([]domain.Lane, error) {
	if limit <= 0 {
		return nil, nil
	}
	if s.pool != nil {
		return s.lanesPostgres(ctx, claimLanesPostgres, uid(worker), limit, lease.Seconds())
	}
	return s.claimLanesSQLite(ctx, worker, limit, lease)
}

// RenewLanes prolongs the leases of all lanes that a worker holds, and returns them with their webhooks as
// they are now: they may have been changed, or disabled. What is missing has been lost.
func (s *Store) RenewLanes(ctx context.Context, worker domain.ID, lease time.Duration) ([]domain.Lane, error) {
	if s.pool != nil {
		return s.lanesPostgres(ctx, renewLanesPostgres, uid(worker), lease.Seconds())
	}
	return s.renewLanesSQLite(ctx, worker, lease)
}

// NextDue returns how long it takes until there may be a lane to claim, at most atMost. It does not foresee
// new events.
func (s *Store) NextDue(ctx context.Context, atMost time.Duration) (time.Duration, error) {
	wait := atMost
	var args []any
	if s.pool == nil {
		args = []any{int64(millisOf(now()))}
	}
	err := s.each(ctx, nextDue, func() {}, func(row scanned) error {
		var ms *int64
		err := row.Scan(&ms)
		if ms != nil {
			wait = min(max(ofMillis(*ms), 0), atMost)
		}
		return err
	}, args...)
	return wait, err
}

// FailingWebhooks returns at most limit active webhooks that have accepted nothing since before, and for which
// fewer than warnings warnings were sent: those first that fail longest.
func (s *Store) FailingWebhooks(ctx context.Context, before time.Time, warnings, limit int) ([]domain.FailingWebhook, error) {
	var list []domain.FailingWebhook
	add := func(row scanned) error {
		var account, id uid
		var since millis
		f := domain.FailingWebhook{}
		err := row.Scan(&account, &id, &since, &f.Warnings)
		f.AccountID, f.ID, f.Since = domain.ID(account), domain.ID(id), since.time()
		list = append(list, f)
		return err
	}
	err := s.each(ctx, failingWebhooks, func() { list = nil }, add, millisOf(before), warnings, limit)
	return list, err
}

// laneColumns are what scanLane reads, of a lane l and its webhook w.
const laneColumns = `l.epoch, l.failures, w.account_id, w.id, w.instance_id, w.of_instance, w.name, w.url, w.events, w.timeout_ms,
    w.status, w.disabled_reason, w.secret_sealed, w.previous_secret_sealed, w.previous_secret_expires_at,
    w.failing_since, w.created_at, w.updated_at, w.version`

// scanned is a row of either engine.
type scanned interface{ Scan(dest ...any) error }

func scanLane(row scanned) (lane domain.Lane, err error) {
	var account, id, instance uid
	var timeout int64
	var reason optional
	var secret, previous blob
	var previousExpires, failing, created, updated millis
	w := &lane.Webhook
	err = row.Scan(&lane.Epoch, &lane.Failures, &account, &id, &instance, &w.OfInstance, &w.Name, &w.URL, &w.Events, &timeout,
		&w.Status, &reason, &secret, &previous, &previousExpires, &failing, &created, &updated, &w.Version)
	w.AccountID, w.ID, w.InstanceID = domain.ID(account), domain.ID(id), domain.ID(instance)
	w.Timeout, w.DisabledReason = ofMillis(timeout), domain.DisableReason(reason)
	w.Secret, w.PreviousSecret, w.PreviousSecretExpiresAt = secret, previous, previousExpires.time()
	w.FailingSince, w.CreatedAt, w.UpdatedAt = failing.time(), created.time(), updated.time()
	return lane, err
}

// collectLanes returns what appends the lanes in rows to a list.
func collectLanes(list *[]domain.Lane) func(scanned) error {
	return func(row scanned) error {
		lane, err := scanLane(row)
		*list = append(*list, lane)
		return err
	}
}

// laneID names a lane, whoever holds it.
type laneID struct{ account, webhook domain.ID }

func laneOf(k domain.LaneKey) laneID { return laneID{k.Account, k.Webhook} }

// compare is the order in which lanes are locked.
func (l laneID) compare(other laneID) int {
	return cmp.Or(bytes.Compare(l.account[:], other.account[:]), bytes.Compare(l.webhook[:], other.webhook[:]))
}
