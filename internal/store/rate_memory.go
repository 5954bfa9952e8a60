package store

import (
	"sync"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// rateWindows keeps the windows in memory, by the same rules as leaseSQL: on SQLite one process serves.
type rateWindows struct {
	mu    sync.Mutex
	start time.Time // of the current window, which all buckets share
	used  map[string]int
}

func (w *rateWindows) lease(leases []domain.RateLease, at time.Time) []domain.RateGrant {
	w.mu.Lock()
	defer w.mu.Unlock()
	if start := at.Truncate(rateWindow); start.After(w.start) || w.used == nil {
		w.start, w.used = start, make(map[string]int)
	}
	grants := make([]domain.RateGrant, len(leases))
	for i, l := range leases {
		granted := min(max(l.Want, 0), max(l.Limit-w.used[l.Bucket], 0))
		w.used[l.Bucket] += granted
		grants[i] = domain.RateGrant{Granted: granted, Used: w.used[l.Bucket], Window: w.start, Now: at}
	}
	return grants
}
