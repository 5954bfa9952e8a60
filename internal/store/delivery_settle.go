package store

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/pombal-api/pombal/internal/domain"
)

// Settle records what became of attempts and what is known of lanes, in one transaction, and returns the lanes
// that another claim has taken: of those nothing was recorded. The outcomes of a lane count in their order:
// webhooks fail since the first failure after the last success.
//
// An outcome whose delivery is gone, or has been settled already, changes nothing. One that was replayed while
// it was tried keeps to be tried again unless it was delivered.
//
// Locks are taken kind by kind, each in the order of accounts and webhooks: webhooks that begin or end to fail,
// lanes, deliveries.
func (s *Store) Settle(ctx context.Context, outcomes []domain.Outcome, updates []domain.LaneUpdate) (lost []domain.LaneKey, err error) {
	if len(outcomes) == 0 && len(updates) == 0 {
		return nil, nil
	}
	touches := touchesOf(outcomes, updates)
	run := func(t settling) (err error) {
		lost, err = settle(t, touches, outcomes, updates)
		return err
	}
	if s.pool != nil {
		err = s.writePostgres(ctx, func(tx pgx.Tx) error { return run(postgresSettling{ctx, tx}) })
	} else {
		limited, cancel := bounded(ctx)
		defer cancel()
		err = s.writeGrouped(limited, wall{}, true, func(sc scope) error { return run(sqliteSettling{sc}) })
	}
	if err != nil {
		return nil, err
	}
	return lost, nil
}

// settling is the work of Settle on one engine, within a transaction.
type settling interface {
	// lock locks lanes, and the webhooks that may begin or end to fail. Lanes that are gone are missing.
	lock([]touch) (map[laneID]held, error)
	// apply writes outcomes and returns for each whether it was still to be written.
	apply([]domain.Outcome) ([]bool, error)
	// save writes since when webhooks fail, and lanes.
	save([]failing, []domain.LaneUpdate) error
}

// touch says what a transaction is about to do with a lane.
type touch struct {
	laneID
	update            bool // the lane itself changes
	failed, succeeded bool
}

// held is a locked lane.
type held struct {
	epoch   int64
	webhook bool // it is locked, too
	since   millis
}

// failing says since when a webhook fails; 0 for not at all.
type failing struct {
	laneID
	since millis
}

// touchesOf returns the lanes in the order in which they are locked.
func touchesOf(outcomes []domain.Outcome, updates []domain.LaneUpdate) []touch {
	byLane := map[laneID]touch{}
	for _, o := range outcomes {
		t := byLane[laneOf(o.Lane)]
		t.failed = t.failed || o.Attempt.Failure != ""
		t.succeeded = t.succeeded || o.Attempt.Failure == ""
		byLane[laneOf(o.Lane)] = t
	}
	for _, u := range updates {
		t := byLane[laneOf(u.Lane)]
		t.update = true
		byLane[laneOf(u.Lane)] = t
	}
	list := make([]touch, 0, len(byLane))
	for id, t := range byLane {
		t.laneID = id
		list = append(list, t)
	}
	slices.SortFunc(list, func(a, b touch) int { return a.compare(b.laneID) })
	return list
}

func settle(t settling, touches []touch, outcomes []domain.Outcome, updates []domain.LaneUpdate) ([]domain.LaneKey, error) {
	lanes, err := t.lock(touches)
	if err != nil {
		return nil, err
	}
	var lost []domain.LaneKey
	late := func(k domain.LaneKey) bool {
		lane, ok := lanes[laneOf(k)]
		if ok && lane.epoch == k.Epoch {
			return false
		}
		if !slices.Contains(lost, k) {
			lost = append(lost, k)
		}
		return true
	}
	outcomes = slices.DeleteFunc(slices.Clone(outcomes), func(o domain.Outcome) bool { return late(o.Lane) })
	updates = slices.DeleteFunc(slices.Clone(updates), func(u domain.LaneUpdate) bool { return late(u.Lane) })
	updates = lastOfEach(updates)
	for i := range outcomes {
		response := &outcomes[i].Attempt.Response
		*response = (*response)[:min(len(*response), domain.MaxAttemptResponse)]
	}
	var applied []bool
	if len(outcomes) > 0 {
		if applied, err = t.apply(outcomes); err != nil {
			return nil, err
		}
	}
	changed := judge(lanes, outcomes, applied)
	if len(changed) == 0 && len(updates) == 0 {
		return lost, nil
	}
	return lost, t.save(changed, updates)
}

// lastOfEach keeps the last update of each lane, as a statement can change a row only once.
func lastOfEach(updates []domain.LaneUpdate) []domain.LaneUpdate {
	last := make(map[domain.LaneKey]int, len(updates))
	for i, u := range updates {
		last[u.Lane] = i
	}
	kept := updates[:0]
	for i, u := range updates {
		if last[u.Lane] == i {
			kept = append(kept, u)
		}
	}
	return kept
}

// judge returns the webhooks that begin or end to fail.
func judge(lanes map[laneID]held, outcomes []domain.Outcome, applied []bool) (changed []failing) {
	since := map[laneID]millis{}
	for i, o := range outcomes {
		id := laneOf(o.Lane)
		if !applied[i] || !lanes[id].webhook {
			continue
		}
		before, seen := since[id]
		if !seen {
			before = lanes[id].since
		}
		switch {
		case o.Attempt.Failure == "":
			before = 0
		case before == 0:
			before = millisOf(o.Attempt.At)
		}
		since[id] = before
	}
	for id, at := range since {
		if at != lanes[id].since {
			changed = append(changed, failing{id, at})
		}
	}
	return changed
}

// tookMS is the duration of an attempt as it is stored.
func tookMS(a *domain.Attempt) int32 { return clampInt32(int(a.Took.Milliseconds())) }

// nextOf is when a delivery is tried again; never, unless it waits.
func nextOf(o *domain.Outcome) millis {
	if o.State != domain.DeliveryWaiting {
		return 0
	}
	return millisOf(o.NextAt)
}
