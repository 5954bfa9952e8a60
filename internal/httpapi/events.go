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
	latest, err := s.latestEvent(ctx, p.Account.ID, account, filter)
	if err != nil {
		return api.EventPage{}, err
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
	switch n := len(out.Data); {
	case !out.Pagination.HasMore && latest != nil && latest.Position > after && (n == 0 || latest.Position > events[n-1].Position):
		out.Pagination.NextCursor = new(latest.ID.Prefixed(domain.PrefixEvent))
	case n > 0:
		out.Pagination.NextCursor = &out.Data[n-1].ID
	}
	return out, nil
}

// latestEvent returns the latest event of an account; nil when there is none, or when all events are wanted. Who reads
// what a filter leaves goes on behind that one, rather than to look through the same events again each time.
func (s *Server) latestEvent(ctx context.Context, id domain.ID, account EventStore, f domain.EventFilter) (*domain.Event, error) {
	if f.Types == 0 && f.Instances == nil {
		return nil, nil
	}
	heads, err := s.deps.EventHeads(ctx, []domain.ID{id})
	if err != nil || heads[id] == 0 {
		return nil, err
	}
	events, err := account.Events(ctx, heads[id]-1, 1, domain.EventFilter{})
	if err != nil || len(events) == 0 {
		return nil, err
	}
	return &events[0], nil
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
