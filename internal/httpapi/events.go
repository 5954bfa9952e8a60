package httpapi

import (
	"context"
	"slices"
	"strings"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/pkg/api"
)

// EventStore is what has happened in an account.
type EventStore interface {
	// Events returns at most limit events behind a position, in their order.
	Events(ctx context.Context, after int64, limit int, f domain.EventFilter) ([]domain.Event, error)
	// EventPosition finds an event. CodeEventNotFound when the account has none with the id (any more).
	EventPosition(ctx context.Context, id domain.ID) (int64, error)
}

type listEventsRequest struct {
	Query api.ListEventsParams `in:"query"`
}

func (s *Server) listEvents(ctx context.Context, p *domain.Principal, req *listEventsRequest) (api.EventPage, error) {
	q := req.Query
	account, err := s.deps.Accounts(p.Account.ID)
	if err != nil {
		return api.EventPage{}, err
	}
	filter, err := eventFilter(ctx, account, p, q.Types, q.InstanceID)
	if err != nil {
		return api.EventPage{}, err
	}
	after, err := eventPosition(ctx, account, deref(q.After))
	if err != nil {
		return api.EventPage{}, err
	}
	var latest int64
	var latestID domain.ID
	if filter.Types != 0 || filter.Instances != nil {
		if latest, latestID, err = s.latestEvent(ctx, p.Account.ID, account); err != nil {
			return api.EventPage{}, err
		}
	}
	events, err := account.Events(ctx, after, q.Limit+1, filter)
	if err != nil {
		return api.EventPage{}, err
	}
	out := api.EventPage{Success: true, Pagination: api.CursorPagination{HasMore: len(events) > q.Limit, NextCursor: q.After}}
	events = events[:min(len(events), q.Limit)]
	out.Data = make([]api.Event, len(events))
	for i := range events {
		out.Data[i] = presentEvent(&events[i])
	}
	seen := after
	if n := len(events); n > 0 {
		seen, out.Pagination.NextCursor = events[n-1].Position, &out.Data[n-1].ID
	}
	// Who reads what a filter leaves goes on behind the latest event, rather than to look through the same ones again.
	if !out.Pagination.HasMore && latest > seen && !latestID.IsZero() {
		out.Pagination.NextCursor = new(latestID.Prefixed(domain.PrefixEvent))
	}
	return out, nil
}

// latestEvent returns the place and the id of the latest event of an account; 0 for none.
func (s *Server) latestEvent(ctx context.Context, id domain.ID, account EventStore) (position int64, event domain.ID, err error) {
	heads, err := s.deps.EventHeads(ctx, []domain.ID{id})
	if position = heads[id]; err != nil || position == 0 {
		return position, event, err
	}
	last, err := account.Events(ctx, position-1, 1, domain.EventFilter{})
	if len(last) > 0 {
		event = last[0].ID
	}
	return position, event, err
}

// eventPosition finds the event that a caller has seen last; "" is the beginning.
func eventPosition(ctx context.Context, account EventStore, text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	id, err := domain.ParsePrefixed(domain.PrefixEvent, text)
	if err != nil {
		return 0, domain.EventNotFound()
	}
	if id.IsZero() { // what a stream calls the place before the first event
		return 0, nil
	}
	return account.EventPosition(ctx, id)
}

// eventFilter reads what a caller wants to see, and narrows it to what it may see.
func eventFilter(ctx context.Context, account AccountStore, p *domain.Principal, types *string, instance *api.InstanceID) (f domain.EventFilter, err error) {
	if types != nil {
		names := strings.Split(*types, ",")
		var unknown string
		if f.Types, unknown = domain.ParseEvents(names); unknown != "" || f.Types == 0 {
			return f, domain.Invalid(domain.Detail{Field: "types", Code: "not_allowed",
				Message: printable(unknown) + " is not an event. Send some of: " + strings.Join(domain.EveryEvent.Names(), ",") + "."})
		}
	}
	f.Instances = slices.Clone(p.Instances)
	if instance == nil {
		return f, nil
	}
	id, err := domain.ParsePrefixed(domain.PrefixInstance, *instance)
	if err != nil || !p.MaySee(id) {
		return f, domain.InstanceNotFound()
	}
	if _, err := account.Instance(ctx, id); err != nil {
		return f, err
	}
	f.Instances = []domain.ID{id}
	return f, nil
}
