package session

import (
	"context"
	"time"
)

// sweepEvery is how often a node looks for pairings that nobody needs any more.
const sweepEvery = time.Hour

// sweep forgets the pairings of deleted instances, now and every hour, until ctx ends: an instance that no node logs
// out in time is deleted without.
func (m *Manager) sweep(ctx context.Context) {
	for ctx.Err() == nil {
		if err := m.forgetDeleted(ctx); err != nil && ctx.Err() == nil {
			m.cfg.Log.WarnContext(ctx, "the pairings of deleted instances could not be forgotten; trying again later", "error", err)
		}
		m.pause(ctx, sweepEvery)
	}
}

func (m *Manager) forgetDeleted(ctx context.Context) error {
	// In this order: whoever is paired exists, and what does not exist never will again.
	paired, err := m.driver.Paired(ctx)
	if err != nil || len(paired) == 0 {
		return err
	}
	deleted, err := m.store.Deleted(ctx, paired)
	if err != nil || len(deleted) == 0 {
		return err
	}
	if len(deleted) == len(paired) { // more likely, somebody has put another database beside the pairings
		m.cfg.Log.WarnContext(ctx, "none of the paired instances exists: their pairings are kept", "pairings", len(paired))
		return nil
	}
	for _, t := range deleted {
		if err = m.driver.Forget(ctx, t); err != nil {
			return err
		}
	}
	m.cfg.Log.InfoContext(ctx, "the pairings of deleted instances are forgotten", "pairings", len(deleted))
	return nil
}
