package webhook

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/testkit"
)

// sluggish is a store that takes too long for more than a few outcomes at a time, as on a machine that has much else
// to do.
type sluggish struct {
	Store
	refused, recorded atomic.Int64
}

func (s *sluggish) Settle(ctx context.Context, outcomes []domain.Outcome, updates []domain.LaneUpdate) ([]domain.LaneKey, error) {
	if len(outcomes) > 5 {
		s.refused.Add(1)
		return nil, domain.Unavailable(fmt.Errorf("settle: %w", context.DeadlineExceeded))
	}
	s.recorded.Add(int64(len(outcomes)))
	return s.Store.Settle(ctx, outcomes, updates)
}

// Outcomes that cannot be recorded in time all at once are recorded in smaller portions.
func TestWorker_SettlesLessAtATimeWhenThatTakesTooLong(t *testing.T) {
	t.Parallel()
	const events = 40
	arrived, answer := make(chan struct{}, events), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		select {
		case <-answer:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(server.Close)
	r := newReal(t, testkit.Engines()[0], events, server.URL)
	for i := range events {
		if _, err := r.publish(t.Context(), i, []byte(`{}`)); err != nil {
			t.Fatal(err)
		}
	}
	store := &sluggish{Store: r.db}
	r.worker(store)
	for range events {
		<-arrived
	}
	close(answer) // all outcomes come at once
	r.await("all outcomes to be recorded", 20*time.Second, func() bool { return store.recorded.Load() == events })
	if store.refused.Load() == 0 {
		t.Error("there were never more than a few outcomes at a time")
	}
}
