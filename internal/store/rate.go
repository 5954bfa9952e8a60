package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// rateWindow is how long a window of a rate limit lasts.
const rateWindow = time.Minute

// leaseSQL answers a batch of leases in one statement. A bucket's row is made over for each window; the
// server's clock, read once, tells which window it is. A row whose window is later than that clock (the
// statement waited for its lock over the turn of the minute) keeps its window. Rows are locked in the
// order of buckets, so that batches do not wait for each other in a circle.
const leaseSQL = `
WITH clock AS MATERIALIZED (SELECT clock_timestamp() AS at),
leases AS (
    SELECT bucket, capacity, want FROM unnest($1::text[], $2::int[], $3::int[]) AS l (bucket, capacity, want)
)
INSERT INTO rate_windows AS w (bucket, window_start, used, granted, capacity)
SELECT bucket, date_trunc('minute', clock.at), least(want, capacity), least(want, capacity), capacity
FROM leases, clock ORDER BY bucket
ON CONFLICT (bucket) DO UPDATE SET
    granted = CASE WHEN w.window_start >= excluded.window_start
        THEN greatest(0, least(excluded.granted, excluded.capacity - w.used)) ELSE excluded.granted END,
    used = CASE WHEN w.window_start >= excluded.window_start
        THEN w.used + greatest(0, least(excluded.granted, excluded.capacity - w.used)) ELSE excluded.granted END,
    window_start = greatest(w.window_start, excluded.window_start),
    capacity = excluded.capacity
RETURNING bucket, granted, used, window_start, clock_timestamp()`

// LeaseRate answers every lease, in order, from the buckets' current windows. Over all nodes, what is
// granted of a window never exceeds the limit. A lease that wants nothing asks how much is used.
func (s *Store) LeaseRate(ctx context.Context, leases []domain.RateLease) ([]domain.RateGrant, error) {
	if len(leases) == 0 {
		return nil, nil
	}
	if s.pool == nil {
		return s.windows.lease(leases, now()), nil
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	grants, err := s.leasePostgres(ctx, leases)
	return grants, translate(err)
}

func (s *Store) leasePostgres(ctx context.Context, leases []domain.RateLease) ([]domain.RateGrant, error) {
	merged := mergeLeases(leases)
	buckets, capacities, wants := make([]string, len(merged)), make([]int32, len(merged)), make([]int32, len(merged))
	for i, l := range merged {
		buckets[i], capacities[i], wants[i] = l.Bucket, clampInt32(l.Limit), clampInt32(l.Want)
	}
	rows, err := s.pool.Query(ctx, leaseSQL, buckets, capacities, wants)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	byBucket := make(map[string]domain.RateGrant, len(merged))
	for rows.Next() {
		var bucket string
		var g domain.RateGrant
		if err := rows.Scan(&bucket, &g.Granted, &g.Used, &g.Window, &g.Now); err != nil {
			return nil, err
		}
		g.Window, g.Now = g.Window.UTC(), g.Now.UTC()
		byBucket[bucket] = g
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return splitGrants(leases, byBucket)
}

func clampInt32(n int) int32 { return int32(min(max(n, 0), 1<<30)) }

// mergeLeases joins the leases of one bucket, as a statement can change a row only once, and sorts them.
func mergeLeases(leases []domain.RateLease) []domain.RateLease {
	merged := slices.SortedStableFunc(slices.Values(leases), func(a, b domain.RateLease) int {
		return cmp.Compare(a.Bucket, b.Bucket)
	})
	n := 0
	for _, l := range merged {
		if n > 0 && merged[n-1].Bucket == l.Bucket {
			merged[n-1].Want += l.Want
			merged[n-1].Limit = min(merged[n-1].Limit, l.Limit)
			continue
		}
		merged[n] = l
		n++
	}
	return merged[:n]
}

// splitGrants hands what each bucket got to its leases in order.
func splitGrants(leases []domain.RateLease, byBucket map[string]domain.RateGrant) ([]domain.RateGrant, error) {
	grants := make([]domain.RateGrant, len(leases))
	for i, l := range leases {
		got, ok := byBucket[l.Bucket]
		if !ok {
			return nil, fmt.Errorf("no answer about the bucket %q", l.Bucket)
		}
		grants[i] = got
		grants[i].Granted = min(got.Granted, max(l.Want, 0))
		got.Granted -= grants[i].Granted
		byBucket[l.Bucket] = got
	}
	return grants, nil
}
