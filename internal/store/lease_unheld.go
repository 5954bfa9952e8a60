package store

import (
	"context"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// LoseUnheld writes down that instances are not connected any more which count as such, are to be held by some node,
// are held by none, and have given no sign of life for silentFor: at most limit, in one transaction with the events
// that tell of it. It returns how many there were. Several nodes may do it at once.
func (s *Store) LoseUnheld(ctx context.Context, silentFor time.Duration, limit int) (int, error) {
	found, err := s.unheldButConnected(ctx, silentFor, limit)
	if err != nil || len(found) == 0 {
		return 0, marked(err)
	}
	status, why, at := domain.StatusConnecting, domain.ReasonConnectionLost, now()
	facts := make([]domain.LinkFact, len(found))
	for i := range found {
		facts[i] = domain.LinkFact{Lease: found[i].lease(), State: domain.InstanceState{Status: &status, Reason: &why, At: at}}
	}
	n, err := change(ctx, s, wall{}, func(sc scope) (n int, err error) {
		// As facts of nobody's. Whatever a node has held since has another epoch, and is left to it.
		batch, err := s.recordFacts(sc, domain.ID{}, facts, nil)
		for _, a := range batch {
			n += len(a.changed)
		}
		return n, err
	})
	return n, marked(err)
}

// unheldButConnected finds what LoseUnheld is about. The instance is a scalar, so that no plan reads all instances
// to look for a few.
func (s *Store) unheldButConnected(ctx context.Context, silentFor time.Duration, limit int) ([]linkRow, error) {
	silent := s.before("coalesce(i.last_seen_at, i.connected_at, i.updated_at)", -silentFor)
	isLost := condition{"(SELECT i.status = 'connected' AND " + silent.sql + " FROM instances i " +
		"WHERE i.account_id = instance_links.account_id AND i.id = instance_links.instance_id)", silent.vars}
	return load(ctx, s, wall{pass: passLinks}, func(sc scope) (rows []linkRow, err error) {
		err = sc.all(&linkRow{}).Select("account_id", "instance_id", "epoch").
			Where(condition{"wanted", nil}).Where(eq("node_id", uid{})).Where(isLost).Limit(limit).Find(&rows).Error
		return rows, err
	})
}
