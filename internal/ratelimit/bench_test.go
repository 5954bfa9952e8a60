package ratelimit_test

import (
	"context"
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/ratelimit"
)

// endless grants everything at once, so that only the path from memory is measured.
type endless struct{}

func (endless) LeaseRate(_ context.Context, leases []domain.RateLease) ([]domain.RateGrant, error) {
	now := time.Now()
	grants := make([]domain.RateGrant, len(leases))
	for i, l := range leases {
		grants[i] = domain.RateGrant{Granted: l.Limit, Used: l.Limit, Window: now.Truncate(time.Minute), Now: now}
	}
	return grants, nil
}

func benchBuckets(caller int) []domain.RateBucket {
	id := strconv.Itoa(caller)
	return []domain.RateBucket{
		{Name: "key", ID: "key:0199f7f0-0000-7000-8000-00000000" + id, Limit: math.MaxInt32},
		{Name: "account", ID: "account:0199f7f0-0000-7000-8000-0000" + id, Limit: math.MaxInt32},
		{Name: "instances", ID: "instances:0199f7f0-0000-7000-8000-00" + id, Limit: math.MaxInt32},
	}
}

// BenchmarkTake measures a request whose three buckets have tokens here.
func BenchmarkTake(b *testing.B) {
	l := ratelimit.New(ratelimit.Config{Source: endless{}})
	buckets := benchBuckets(1)
	b.ReportAllocs()
	for b.Loop() {
		if d, err := l.Take(b.Context(), buckets...); err != nil || !d.Allowed {
			b.Fatal(d, err)
		}
	}
}

// BenchmarkTake_Parallel has every core take from the same three buckets: the worst case.
func BenchmarkTake_Parallel(b *testing.B) {
	l := ratelimit.New(ratelimit.Config{Source: endless{}})
	buckets := benchBuckets(1)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if d, err := l.Take(b.Context(), buckets...); err != nil || !d.Allowed {
				b.Error(d, err)
				return
			}
		}
	})
}

// BenchmarkTake_Refused measures a caller that hammers on after its limit.
func BenchmarkTake_Refused(b *testing.B) {
	l := ratelimit.New(ratelimit.Config{Source: endless{}})
	bucket := domain.RateBucket{Name: "key", ID: "key:1", Limit: 1}
	for b.Loop() {
		if _, err := l.Take(b.Context(), bucket); err != nil {
			b.Fatal(err)
		}
	}
}
