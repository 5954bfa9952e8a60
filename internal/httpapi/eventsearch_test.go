package httpapi

import (
	"context"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/pkg/api"
)

// bigAccount has so many events that each look goes through ten of them, and takes a while.
type bigAccount struct {
	AccountStore
	latest int64
	match  int64 // the only one that the filter lets through
	look   func()
	looks  int
}

func (a *bigAccount) Events(_ context.Context, after int64, _ int, _ domain.EventFilter) (found []domain.Event, seen domain.EventPlace, err error) {
	a.looks++
	a.look()
	seen.Position = min(after+10, a.latest)
	if seen.Position <= after {
		return nil, domain.EventPlace{}, nil
	}
	seen.ID = placedID(seen.Position)
	if after < a.match && a.match <= seen.Position {
		found = []domain.Event{{Position: a.match, ID: placedID(a.match), Type: domain.EventMessageSent, Data: []byte("{}")}}
	}
	return found, seen, nil
}

func (a *bigAccount) EventPosition(_ context.Context, id domain.ID) (int64, error) {
	for at := range a.latest + 1 {
		if placedID(at) == id {
			return at, nil
		}
	}
	return 0, domain.EventNotFound()
}

// placedID is the id of the event at a position.
func placedID(position int64) domain.ID {
	return domain.ID{0: 1, 14: byte(position >> 8), 15: byte(position)}
}

// A page looks for what its filter lets through for so long, and then says from where to go on, with what there is. So
// who follows the cursor comes to the end.
func TestEvents_PagesOfRareOnes(t *testing.T) {
	t.Parallel()
	now := time.Now()
	account := &bigAccount{latest: 1000, match: 725, look: func() { now = now.Add(100 * time.Millisecond) }}
	id := domain.NewID(now)
	s := &Server{now: func() time.Time { return now }, deps: Deps{
		Accounts: func(domain.ID) (AccountStore, error) { return account, nil },
		EventHeads: func(context.Context, []domain.ID) (map[domain.ID]int64, error) {
			return map[domain.ID]int64{id: account.latest}, nil
		},
	}}
	req := &listEventsRequest{Query: api.ListEventsParams{Types: new("message.sent"), Limit: 1}}
	for i, want := range []struct {
		found, next int64
		more        bool
	}{{0, 200, true}, {0, 400, true}, {0, 600, true}, {725, 800, true}, {0, 1000, false}, {0, 1000, false}} {
		account.looks = 0
		page, err := s.listEvents(t.Context(), &domain.Principal{Account: domain.Account{ID: id}}, req)
		if err != nil {
			t.Fatal(err)
		}
		if next := placedID(want.next).Prefixed(domain.PrefixEvent); page.Pagination.HasMore != want.more || *page.Pagination.NextCursor != next {
			t.Errorf("page %d: %+v, goes on behind %s, want %d", i, page.Pagination, *page.Pagination.NextCursor, want.next)
		}
		if n := len(page.Data); n != int(min(want.found, 1)) || n > 0 && page.Data[0].ID != placedID(want.found).Prefixed(domain.PrefixEvent) {
			t.Errorf("page %d has %v, want %d", i, page.Data, want.found)
		}
		if account.looks > 20 {
			t.Errorf("page %d takes %d looks", i, account.looks)
		}
		req.Query.After = page.Pagination.NextCursor
	}
}

// Where events come faster than they are looked at, a page ends at what was the latest one when it began.
func TestEvents_PageOfABusyAccount(t *testing.T) {
	t.Parallel()
	id, account := domain.NewID(time.Now()), &bigAccount{latest: 95}
	account.look = func() { account.latest += 20 }
	s := &Server{now: time.Now, deps: Deps{EventHeads: func(context.Context, []domain.ID) (map[domain.ID]int64, error) {
		return map[domain.ID]int64{id: account.latest}, nil
	}}}
	found, seen, more, err := s.findEvents(t.Context(), id, account, 0, 10, domain.EventFilter{Types: domain.EventMessageSent})
	if len(found) > 0 || seen.Position != 100 || more || err != nil {
		t.Errorf("found %v up to %+v, more %v: %v", found, seen, more, err)
	}
}
