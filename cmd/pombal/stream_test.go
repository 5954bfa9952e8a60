package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pombal-api/pombal/pkg/api"
)

// stream creates instances without end, while servers come and go under it. Each has an external id and
// an Idempotency-Key of its own, by which it is repeated until its fate is known. Every fifth one is
// deleted again.
type stream struct {
	tb   testing.TB
	http *http.Client
	key  string

	url  atomic.Pointer[string] // of the server of the moment
	next atomic.Int64
	stop atomic.Bool
	all  errgroup.Group

	mu      sync.Mutex
	made    map[int64]string // the ids of what was answered with 201, by number
	deleted map[int64]bool
	odd     map[string]int // answers other than success
}

// startStream begins to create from n callers.
func startStream(tb testing.TB, p *process, key string, n int) *stream {
	tb.Helper()
	s := &stream{tb: tb, http: client(tb), key: key, made: map[int64]string{}, deleted: map[int64]bool{}, odd: map[string]int{}}
	s.url.Store(&p.url)
	for range n {
		s.all.Go(func() error {
			for !s.stop.Load() {
				if err := s.createNext(s.next.Add(1)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return s
}

// finish ends the stream.
func (s *stream) finish() {
	s.tb.Helper()
	s.stop.Store(true)
	if err := s.all.Wait(); err != nil {
		s.tb.Error(err)
	}
	s.http.CloseIdleConnections()
	s.tb.Logf("%d creates were begun, %d confirmed; other answers: %v", s.next.Load(), s.confirmed(), s.others())
}

// confirmed counts what was answered with 201.
func (s *stream) confirmed() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.made)
}

// others counts the answers that were no success.
func (s *stream) others() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.odd)
}

// grow waits until n more creates have been confirmed.
func (s *stream) grow(n int) {
	s.tb.Helper()
	target := s.confirmed() + n
	eventually(s.tb, 60*time.Second, func() error {
		if got := s.confirmed(); got < target {
			return fmt.Errorf("%d of %d creates are confirmed; other answers: %v", got, target, s.others())
		}
		return nil
	})
}

// errPassing is an answer, or the lack of one, after which a client tries again.
var errPassing = errors.New("try again")

// createNext creates number n, and deletes it if its turn is that. A create that its server took to the
// grave stays claimed for a while: check comes back to it.
func (s *stream) createNext(n int64) error {
	inProgress := false
	err := retry(s.tb.Context(), time.Minute, func() (err error) {
		_, inProgress, err = s.create(n)
		if !errors.Is(err, errPassing) || s.stop.Load() {
			return nil
		}
		return err
	})
	if err != nil || inProgress || n%5 != 0 || s.stop.Load() {
		return err
	}
	return retry(s.tb.Context(), time.Minute, func() error { return s.remove(n) })
}

// create sends create number n once. The error is errPassing when its fate is not known.
func (s *stream) create(n int64) (id string, inProgress bool, err error) {
	body := fmt.Sprintf(`{"name":"instance %d","externalId":"external-%d"}`, n, n)
	status, answer, err := call(s.tb, s.http, http.MethodPost, *s.url.Load()+"/v1/instances", body,
		"Authorization", "Bearer "+s.key, "Idempotency-Key", fmt.Sprintf("create-%d", n))
	if err != nil {
		s.note("no answer")
		return "", false, errPassing
	}
	if status != http.StatusCreated {
		code := s.note(answer)
		switch {
		case status == http.StatusServiceUnavailable:
			return "", false, errPassing
		case code == api.ErrorCodeIdempotencyInProgress:
			return "", true, nil
		}
		return "", false, fmt.Errorf("create %d was answered %d: %s", n, status, answer)
	}
	var made api.InstanceEnvelope
	if err := json.Unmarshal([]byte(answer), &made); err != nil {
		return "", false, err
	}
	return made.Data.ID, false, s.confirm(n, made.Data.ID)
}

// confirm keeps the id of number n. It must never be another one than before.
func (s *stream) confirm(n int64, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if before := s.made[n]; before != "" && before != id {
		return fmt.Errorf("create %d made %s and then %s", n, before, id)
	}
	s.made[n] = id
	return nil
}

// note counts an answer that is no success, and returns its code.
func (s *stream) note(answer string) api.ErrorCode {
	var failure api.ErrorEnvelope
	name := answer
	if json.Unmarshal([]byte(answer), &failure) == nil {
		name = string(failure.Error.Code)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.odd[name]++
	return failure.Error.Code
}

// remove deletes number n once.
func (s *stream) remove(n int64) error {
	s.mu.Lock()
	id := s.made[n]
	s.mu.Unlock()
	if id == "" {
		return nil
	}
	status, answer, err := call(s.tb, s.http, http.MethodDelete, *s.url.Load()+"/v1/instances/"+id, "", "Authorization", "Bearer "+s.key)
	switch {
	case err != nil || status == http.StatusServiceUnavailable:
		return errPassing
	case status == http.StatusOK, status == http.StatusNotFound: // an earlier try was carried out
		s.mu.Lock()
		s.deleted[n] = true
		s.mu.Unlock()
		return nil
	}
	return fmt.Errorf("delete %s was answered %d: %s", id, status, answer)
}

// repeat sends all creates again, as clients do that come back from a crash of their own, except of what
// they had then deleted.
func (s *stream) repeat() {
	s.tb.Helper()
	var all errgroup.Group
	all.SetLimit(16)
	for n := int64(1); n <= s.next.Load(); n++ {
		if s.deleted[n] {
			continue
		}
		all.Go(func() error {
			_, inProgress, err := s.create(n)
			if inProgress {
				err = fmt.Errorf("create %d is still in progress", n)
			}
			return err
		})
	}
	if err := all.Wait(); err != nil {
		s.tb.Error(err)
	}
}

// check holds that exactly what was confirmed is there, and is counted right: as the account's key sees
// it, as its partner's does, and as the database has it.
func (s *stream) check(site *site, p *process, partnerKey string) {
	s.tb.Helper()
	ctx := s.tb.Context()
	c := sdk(s.tb, p, s.key)
	there, statuses := map[string]bool{}, map[api.InstanceStatus]int64{}
	for instance, err := range c.Instances.All(ctx, api.ListInstancesParams{Limit: 100}) {
		if err != nil {
			s.tb.Fatal(err)
		}
		if there[instance.ID] {
			s.tb.Errorf("%s is listed twice", instance.ID)
		}
		there[instance.ID] = true
		statuses[instance.Status]++
	}
	for n, id := range s.made {
		s.checkOne(ctx, c, n, id, there[id])
	}
	want := int64(len(s.made) - len(s.deleted))
	if int64(len(there)) != want {
		s.tb.Errorf("%d instances are listed, %d were made and not deleted", len(there), want)
	}
	partner := sdk(s.tb, p, partnerKey).OnAccount("*")
	for _, status := range []api.InstanceStatus{api.InstanceStatusConnected, api.InstanceStatusConnecting, api.InstanceStatusDisconnected} {
		for whose, c := range map[string]*api.Client{"the account": c, "the partner": partner} {
			page, err := c.Instances.List(ctx, api.ListInstancesParams{Status: api.InstanceStatusFilter(status), Limit: 1})
			if err != nil || page.Pagination.Total != statuses[status] {
				s.tb.Errorf("%s has %d instances that are %s, listed are %d (%v)", whose, page.Pagination.Total, status, statuses[status], err)
			}
		}
	}
	for _, query := range []string{
		"SELECT count(*) FROM instances", "SELECT COALESCE(sum(n), 0) FROM instance_counts", "SELECT COALESCE(sum(n), 0) FROM partner_counts",
	} {
		if got := site.count(s.tb, query); got != want {
			s.tb.Errorf("%s: %d, want %d", query, got, want)
		}
	}
}

// checkOne holds that instance n is whole, or gone.
func (s *stream) checkOne(ctx context.Context, c *api.Client, n int64, id string, listed bool) {
	s.tb.Helper()
	if listed == s.deleted[n] {
		s.tb.Errorf("instance %d, %s: deleted %v, listed %v", n, id, s.deleted[n], listed)
	}
	instance, err := c.Instances.Get(ctx, id)
	switch {
	case s.deleted[n]:
		if api.CodeOf(err) != api.ErrorCodeInstanceNotFound {
			s.tb.Errorf("the deleted instance %s: %v", id, err)
		}
	case err != nil:
		s.tb.Errorf("instance %d, %s, was confirmed: %v", n, id, err)
	case instance.Name != fmt.Sprintf("instance %d", n) || instance.ExternalID == nil || *instance.ExternalID != fmt.Sprintf("external-%d", n):
		s.tb.Errorf("instance %d, %s, is %+v", n, id, instance)
	}
}
