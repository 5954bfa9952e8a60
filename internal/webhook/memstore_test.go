package webhook

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// memStore keeps deliveries in memory, with the promises of the real store.
type memStore struct {
	mu         sync.Mutex
	lanes      map[domain.ID]*memLane
	deliveries map[domain.ID]*domain.Delivery
	byLane     map[domain.ID][]*domain.Delivery
	attempts   map[domain.ID][]domain.Attempt
	settles    []int // how many outcomes each call had
	disabled   []domain.DisableWebhook
	warned     []domain.FailingWebhook
	down       error // what every call is refused with; nil for none
	poison     domain.ID
	delay      time.Duration // of each call
	reads      int           // lanes that were read
}

type memLane struct {
	domain.Lane
	worker domain.ID
	until  time.Time
	paused time.Time
	warned int
}

func newMemStore() *memStore {
	return &memStore{lanes: map[domain.ID]*memLane{}, deliveries: map[domain.ID]*domain.Delivery{}, byLane: map[domain.ID][]*domain.Delivery{}, attempts: map[domain.ID][]domain.Attempt{}}
}

// enter begins a call.
func (s *memStore) enter() error {
	if s.delay > 0 {
		<-time.After(s.delay)
	}
	s.mu.Lock()
	return s.down
}

func (s *memStore) addWebhook(change ...func(*domain.Webhook)) domain.ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := domain.Webhook{
		AccountID: domain.NewID(time.Now()), ID: domain.NewID(time.Now()), URL: "https://example.com/", Timeout: domain.MinWebhookTimeout,
		Status: domain.WebhookActive, Secret: []byte("secret"),
	}
	for _, c := range change {
		c(&w)
	}
	s.lanes[w.ID] = &memLane{Lane: domain.Lane{Webhook: w}}
	return w.ID
}

// publish adds deliveries, with positions that grow within the webhook's account.
func (s *memStore) publish(webhook domain.ID, n int) (ids []domain.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for range n {
		w := &s.lanes[webhook].Webhook
		d := &domain.Delivery{
			AccountID: w.AccountID, ID: domain.NewID(now), WebhookID: webhook, State: domain.DeliveryWaiting, NextAt: now, CreatedAt: now,
			Event: domain.Event{AccountID: w.AccountID, ID: domain.NewID(now), Position: int64(len(s.byLane[webhook]) + 1), Type: domain.EventInstanceConnected, At: now, Data: []byte(`{}`)},
		}
		s.deliveries[d.ID] = d
		s.byLane[webhook] = append(s.byLane[webhook], d)
		ids = append(ids, d.ID)
	}
	return ids
}

// due returns what waits in a lane, sorted.
func (s *memStore) due(webhook domain.ID) (list []*domain.Delivery) {
	now := time.Now()
	for _, d := range s.byLane[webhook] {
		if d.State == domain.DeliveryWaiting && !d.NextAt.After(now) {
			list = append(list, d)
		}
	}
	slices.SortFunc(list, func(a, b *domain.Delivery) int {
		return cmp.Or(a.NextAt.Compare(b.NextAt), bytes.Compare(a.ID[:], b.ID[:]))
	})
	return list
}

func (s *memStore) ClaimLanes(_ context.Context, worker domain.ID, limit int, lease time.Duration) (list []domain.Lane, err error) {
	err = s.enter()
	defer s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	for id, l := range s.lanes {
		if len(list) == limit {
			break
		}
		if l.Webhook.Status == domain.WebhookActive && !l.paused.After(now) && (l.worker.IsZero() || l.until.Before(now)) && len(s.due(id)) > 0 {
			l.worker, l.until = worker, now.Add(lease)
			l.Epoch++
			list = append(list, l.Lane)
		}
	}
	return list, nil
}

func (s *memStore) RenewLanes(_ context.Context, worker domain.ID, lease time.Duration) (list []domain.Lane, err error) {
	err = s.enter()
	defer s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	for _, l := range s.lanes {
		if l.worker == worker {
			l.until = time.Now().Add(lease)
			list = append(list, l.Lane)
		}
	}
	return list, nil
}

func (s *memStore) DueDeliveries(_ context.Context, demands []domain.LaneDemand) (list []domain.Delivery, err error) {
	err = s.enter()
	defer s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	s.reads += len(demands)
	for _, demand := range demands {
		n := 0
		for _, d := range s.due(demand.Lane.Webhook) {
			if n < demand.Limit && !slices.Contains(demand.Except, d.ID) {
				list = append(list, *d)
				n++
			}
		}
	}
	return list, nil
}

func (s *memStore) Settle(_ context.Context, outcomes []domain.Outcome, updates []domain.LaneUpdate) (lost []domain.LaneKey, err error) {
	err = s.enter()
	defer s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	for _, o := range outcomes {
		if o.Delivery == s.poison {
			return nil, errors.New("this one cannot be recorded")
		}
	}
	s.settles = append(s.settles, len(outcomes))
	late := func(k domain.LaneKey) bool {
		if l := s.lanes[k.Webhook]; l != nil && l.Epoch == k.Epoch {
			return false
		}
		lost = append(lost, k)
		return true
	}
	for _, o := range outcomes {
		d := s.deliveries[o.Delivery]
		if late(o.Lane) || d.State != domain.DeliveryWaiting || d.Attempts != o.Attempt.Number-1 {
			continue
		}
		d.Attempts, d.State, d.Step, d.NextAt, d.Last = o.Attempt.Number, o.State, o.Step, o.NextAt, o.Attempt
		s.attempts[d.ID] = append(s.attempts[d.ID], o.Attempt)
		w := &s.lanes[o.Lane.Webhook].Webhook
		if o.Attempt.Failure == "" {
			w.FailingSince = time.Time{}
		} else if w.FailingSince.IsZero() {
			w.FailingSince = o.Attempt.At
		}
	}
	for _, u := range updates {
		if l := s.lanes[u.Lane.Webhook]; !late(u.Lane) {
			l.Failures, l.paused = u.Failures, u.PausedUntil
			if u.Release {
				l.worker = domain.ID{}
			}
		}
	}
	return lost, nil
}

func (s *memStore) DisableWebhook(_ context.Context, d domain.DisableWebhook) error {
	err := s.enter()
	defer s.mu.Unlock()
	if err != nil {
		return err
	}
	l := s.lanes[d.Lane.Webhook]
	if l.Epoch != d.Lane.Epoch {
		return domain.ErrLeaseLost
	}
	l.Webhook.Status, l.Webhook.DisabledReason = domain.WebhookDisabled, d.Reason
	s.disabled = append(s.disabled, d)
	for _, x := range s.deliveries {
		if x.WebhookID == d.Lane.Webhook && x.State == domain.DeliveryWaiting {
			x.State, x.Last.Failure = domain.DeliveryExhausted, domain.FailureDisabled
		}
	}
	return nil
}

func (s *memStore) FailingWebhooks(_ context.Context, before time.Time, warnings, limit int) (list []domain.FailingWebhook, err error) {
	err = s.enter()
	defer s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	for _, l := range s.lanes {
		w := &l.Webhook
		if len(list) < limit && w.Status == domain.WebhookActive && !w.FailingSince.IsZero() && w.FailingSince.Before(before) && l.warned < warnings {
			list = append(list, domain.FailingWebhook{AccountID: w.AccountID, ID: w.ID, Since: w.FailingSince, Warnings: l.warned})
		}
	}
	return list, nil
}

func (s *memStore) WarnWebhook(_ context.Context, w domain.FailingWebhook, _ time.Time) error {
	err := s.enter()
	defer s.mu.Unlock()
	if err != nil {
		return err
	}
	if l := s.lanes[w.ID]; l.warned == w.Warnings {
		l.warned++
		s.warned = append(s.warned, w)
	}
	return nil
}

// count returns how many deliveries are in a state.
func (s *memStore) count(state domain.DeliveryState) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.deliveries {
		if d.State == state {
			n++
		}
	}
	return n
}

// told returns the warnings, and what was disabled.
func (s *memStore) told() ([]domain.FailingWebhook, []domain.DisableWebhook) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.warned), slices.Clone(s.disabled)
}

// setPoison names a delivery whose outcomes cannot be recorded.
func (s *memStore) setPoison(delivery domain.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.poison = delivery
}
