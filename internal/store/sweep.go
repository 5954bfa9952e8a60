package store

import (
	"context"
	"time"

	"gorm.io/gorm/clause"
)

const (
	sweepBatch = 500
	// keepChanges is how long changes stay on record for nodes that fell behind.
	keepChanges = time.Hour
	// keepWindows is how long the row of a rate limit stays after its window.
	keepWindows = time.Hour
	// keepEvents is how long events stay, unless the configuration says otherwise.
	keepEvents = 30 * 24 * time.Hour
)

// Sweep removes what has expired: idempotency keys, recorded changes, rate windows, events with their
// deliveries. It works in small transactions, returns how many rows went, without deliveries, and may run on
// several nodes at once.
func (s *Store) Sweep(ctx context.Context) (int, error) {
	var removed int64
	at := now()
	for _, batch := range []func(scope) (int64, error){
		func(sc scope) (int64, error) { return sweepIdempotency(sc, millisOf(at)) },
		func(sc scope) (int64, error) { return sweepChanges(sc, millisOf(at.Add(-keepChanges))) },
		func(sc scope) (int64, error) { return sweepWindows(sc, millisOf(at.Add(-keepWindows))) },
	} {
		for {
			n, err := change(ctx, s, wall{pass: passSweep}, batch)
			removed += n
			if err != nil {
				return int(removed), err
			}
			if n == 0 {
				break
			}
		}
	}
	events, err := s.sweepEvents(ctx, millisOf(at.Add(-s.cfg.EventRetention)))
	if err != nil {
		return int(removed) + events, err
	}
	return int(removed) + events, s.sweepDisabled(ctx)
}

// sweepIdempotency removes a batch of keys that have expired.
func sweepIdempotency(sc scope, at millis) (int64, error) {
	var rows []idempotencyRow
	err := sc.all(&idempotencyRow{}).Select("expires_at").Where(lte("expires_at", at)).
		Clauses(ascending("expires_at")).Limit(sweepBatch).Find(&rows).Error
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	gone := sc.all(&idempotencyRow{}).Where(lte("expires_at", rows[len(rows)-1].Expires)).Delete(&idempotencyRow{})
	return gone.RowsAffected, gone.Error
}

// sweepChanges removes a batch of changes that every node has seen.
func sweepChanges(sc scope, before millis) (int64, error) {
	var rows []authChangeRow
	err := sc.all(&authChangeRow{}).Select("version").Where(lte("changed_at", before)).
		Clauses(ascending("version")).Limit(sweepBatch).Find(&rows).Error
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	gone := sc.all(&authChangeRow{}).Where(lte("version", rows[len(rows)-1].Version)).Delete(&authChangeRow{})
	return gone.RowsAffected, gone.Error
}

// sweepWindows removes a batch of windows that nobody has asked for in a while.
func sweepWindows(sc scope, before millis) (int64, error) {
	var rows []rateWindowRow
	err := sc.all(&rateWindowRow{}).Select("bucket").Where(lte("window_start", before)).
		Clauses(ascending("bucket")).Limit(sweepBatch).Find(&rows).Error
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	buckets := make([]any, len(rows))
	for i, r := range rows {
		buckets[i] = r.Bucket
	}
	gone := sc.all(&rateWindowRow{}).Where(in("bucket", buckets)).Where(lte("window_start", before)).Delete(&rateWindowRow{})
	return gone.RowsAffected, gone.Error
}

// lte is the condition that a column is at most a value.
func lte(column string, value any) clause.Lte {
	return clause.Lte{Column: clause.Column{Name: column}, Value: value}
}
