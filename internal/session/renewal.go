package session

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// renewal keeps a tenure alive, and knows when it has to end.
type renewal struct {
	t *tenure
	// confirmed is when the last renewal that succeeded was begun: the node is alive for a TTL from then on
	// at least.
	confirmed time.Time
	// downAt is when the database was last known to serve nobody; zero for never since confirmed.
	downAt time.Time
	// orphans are leases without a keeper, as of the last renewal.
	orphans  map[domain.Lease]bool
	reported reporter
}

func newRenewal(t *tenure) *renewal {
	r := &renewal{
		t: t, confirmed: t.began,
		reported: reporter{log: t.m.cfg.Log, lost: "cannot renew the leases; trying again", found: "leases are renewed again"},
	}
	t.setSure(r.sureUntil())
	return r
}

// run renews until ctx ends, or until the node has to stop: then it returns true.
func (r *renewal) run(ctx context.Context) (fenced bool) {
	cfg := &r.t.m.cfg
	every := cfg.LeaseTTL / 3
	for wait := every; ; {
		r.t.m.pause(ctx, min(wait, max(0, r.limit().Sub(cfg.Now()))))
		if ctx.Err() != nil {
			return false
		}
		err := r.renew(ctx)
		if ctx.Err() != nil {
			return false
		}
		r.reported.report(ctx, err)
		if errors.Is(err, domain.ErrLeaseLost) || !cfg.Now().Before(r.limit()) {
			return true
		}
		if wait = every; err != nil {
			wait = cfg.LeaseTTL / 15
		}
	}
}

// sureUntil is how long nobody can take over, whatever else is true: until then, new connections may be opened.
func (r *renewal) sureUntil() time.Time {
	cfg := &r.t.m.cfg
	if cfg.Alone {
		return r.confirmed.Add(365 * 24 * time.Hour)
	}
	// A tenth of the TTL is for closing, and for clocks that run at different speeds.
	return r.confirmed.Add(cfg.LeaseTTL - cfg.LeaseTTL/10)
}

// limit is when the connections must be closed if no renewal succeeds before.
func (r *renewal) limit() time.Time {
	cfg := &r.t.m.cfg
	sure := r.sureUntil()
	if cfg.Alone || r.downAt.IsZero() {
		return sure
	}
	// Nobody can take over while the database is down, nor within half a TTL after, see reap. That is not certain, as
	// this node may be the only one that is refused: good enough to keep what stands, but not to dial.
	limit := later(sure, r.downAt.Add(cfg.LeaseTTL/3))
	if end := r.confirmed.Add(cfg.OutageGrace); limit.After(end) {
		return end
	}
	return limit
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// renew renews once.
func (r *renewal) renew(ctx context.Context) error {
	cfg := &r.t.m.cfg
	began := cfg.Now()
	calling, cancel := context.WithTimeout(ctx, min(r.t.m.callTimeout(), max(time.Millisecond, r.limit().Sub(began))))
	defer cancel()
	node := r.t.node
	node.Held = r.t.held()
	leases, err := r.t.m.store.RenewNode(calling, node, cfg.LeaseTTL)
	switch {
	case err == nil:
		r.confirmed, r.downAt = began, time.Time{}
		r.compare(ctx, began, leases)
	case errors.Is(err, domain.ErrDatabaseDown):
		r.downAt = cfg.Now()
	}
	r.t.setSure(r.sureUntil())
	r.t.reached(began, err == nil)
	return err
}

// compare stops the keepers whose leases are gone, and gives back leases that have no keeper: a claim whose
// answer was lost makes such.
func (r *renewal) compare(ctx context.Context, began time.Time, leases []domain.Lease) {
	ours := make(map[domain.Lease]bool, len(leases))
	orphans := map[domain.Lease]bool{}
	for _, l := range leases {
		ours[l] = true
		if r.t.keeper(l) == nil && !r.t.facts.pending(l) {
			orphans[l] = true
		}
	}
	for _, k := range r.t.all() {
		if !ours[k.lease] && k.started.Before(began) {
			k.cancel()
		}
	}
	for l := range orphans {
		if r.orphans[l] { // twice in a row: no claim is under way
			r.t.m.cfg.Log.WarnContext(ctx, "giving back a lease that nobody looks after", slog.String("instance", l.Instance.String()))
			r.t.facts.put(domain.LinkFact{Lease: l, Release: true})
		}
	}
	r.orphans = orphans
}

// reporter logs the first failure of a row, and the recovery.
type reporter struct {
	log         *slog.Logger
	lost, found string
	failing     bool
}

func (r *reporter) report(ctx context.Context, err error) {
	failing := err != nil
	if failing == r.failing || errors.Is(ctx.Err(), context.Canceled) { // stopping is not failing
		return
	}
	r.failing = failing
	if failing {
		r.log.LogAttrs(ctx, slog.LevelWarn, r.lost, slog.Any("error", err))
		return
	}
	r.log.LogAttrs(ctx, slog.LevelInfo, r.found)
}
