package auth

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// noteEvery is how often the use of one key is recorded at most: "last used" is for people, and a write
// per call is not worth its precision.
const noteEvery = time.Minute

// usage collects which keys were used until they are recorded in one batch.
type usage struct {
	mu      sync.Mutex
	pending map[domain.ID]domain.KeyUse
	recent  map[domain.ID]time.Time // when a key was last noted: records come and go, the minute stays
}

// note is called for every use of a key and is almost always done after one comparison.
func (u *usage) note(r *keyRecord, now time.Time) {
	ms, last := now.UnixMilli(), r.noted.Load()
	if ms-last < noteEvery.Milliseconds() || !r.noted.CompareAndSwap(last, ms) {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if last, ok := u.recent[r.key.ID]; ok && now.Sub(last) < noteEvery {
		return
	}
	if u.pending == nil {
		u.pending, u.recent = map[domain.ID]domain.KeyUse{}, map[domain.ID]time.Time{}
	}
	u.pending[r.key.ID] = domain.KeyUse{AccountID: r.key.AccountID, At: now.UTC().Truncate(time.Millisecond)}
	u.recent[r.key.ID] = now
}

// flush records the pending uses; on failure they stay pending.
func (u *usage) flush(ctx context.Context, store Store, now time.Time) error {
	u.mu.Lock()
	uses := maps.Clone(u.pending)
	maps.DeleteFunc(u.recent, func(_ domain.ID, at time.Time) bool { return now.Sub(at) >= noteEvery })
	u.mu.Unlock()
	if len(uses) == 0 {
		return nil
	}
	if err := store.TouchKeys(ctx, uses); err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	maps.DeleteFunc(u.pending, func(id domain.ID, use domain.KeyUse) bool { return uses[id] == use })
	return nil
}
