package httpapi

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/pkg/api"
)

// EventStore is what has happened in an account.
type EventStore interface {
	// Events returns at most limit events behind a position, in their order, and the last event that it has looked at,
	// the zero place for none. With a filter there may be more behind that though there are fewer than limit.
	Events(ctx context.Context, after int64, limit int, f domain.EventFilter) (found []domain.Event, seen domain.EventPlace, err error)
	// EventPosition finds an event. CodeEventNotFound when the account has none with the id (any more).
	EventPosition(ctx context.Context, id domain.ID) (int64, error)
}

// listPatience is how long a page looks for what its filter lets through: the next one goes on, so that a client gets on
// in an account of any size.
const listPatience = 2 * time.Second

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
	events, seen, more, err := s.findEvents(ctx, p.Account.ID, account, after, q.Limit+1, filter)
	if err != nil {
		return api.EventPage{}, err
	}
	out := api.EventPage{Success: true, Pagination: api.CursorPagination{HasMore: more, NextCursor: q.After}}
	if len(events) > q.Limit {
		events = events[:q.Limit]
		out.Pagination.HasMore, seen.ID = true, events[q.Limit-1].ID
	}
	out.Data = make([]api.Event, len(events))
	for i := range events {
		out.Data[i] = presentEvent(&events[i])
	}
	// Who reads what a filter leaves goes on behind what was looked at, rather than to look through the same ones again.
	if !seen.ID.IsZero() {
		out.Pagination.NextCursor = new(seen.ID.Prefixed(domain.PrefixEvent))
	}
	return out, nil
}

// findEvents looks for events behind a position, until there are limit or it has taken long enough. seen is the last one
// that it has looked at; more is whether it has left any.
func (s *Server) findEvents(ctx context.Context, id domain.ID, account EventStore, after int64, limit int, f domain.EventFilter) (
	found []domain.Event, seen domain.EventPlace, more bool, err error,
) {
	var latest int64 // of now, so that it comes to an end where events come faster than it looks at them
	if f.Types != 0 || f.Instances != nil {
		heads, err := s.deps.EventHeads(ctx, []domain.ID{id})
		if err != nil {
			return nil, seen, false, err
		}
		latest = heads[id]
	}
	for until := s.now().Add(listPatience); ; {
		some, last, err := account.Events(ctx, after, limit-len(found), f)
		if err != nil || last.Position == 0 {
			return found, seen, false, err
		}
		found, seen, after = append(found, some...), last, last.Position
		if more = after < latest; !more || len(found) == limit || !s.now().Before(until) {
			return found, seen, more, nil
		}
	}
}

// latestEvent returns the place and the id of the latest event of an account; 0 for none.
func (s *Server) latestEvent(ctx context.Context, id domain.ID, account EventStore) (position int64, event domain.ID, err error) {
	heads, err := s.deps.EventHeads(ctx, []domain.ID{id})
	if position = heads[id]; err != nil || position == 0 {
		return position, event, err
	}
	last, _, err := account.Events(ctx, position-1, 1, domain.EventFilter{})
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
