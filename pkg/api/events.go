package api

import (
	"context"
	"iter"
	"net/url"
	"strings"
)

const eventsPath = "/v1/events"

// EventService holds the calls about events. Reach it as Client.Events.
type EventService struct{ client *Client }

// List returns one page of events, oldest first. With filters it may hold few
// events, or none, though its Pagination.HasMore says that there are more.
func (s *EventService) List(ctx context.Context, params ListEventsParams, opts ...CallOption) (*CursorPage[Event], error) {
	return fetchCursorPage[Event](ctx, s.client, eventsPath, params.values(), opts)
}

// All yields the events of all pages, oldest first, from the one behind
// params.After up to what has happened until now. To go on another time, keep
// the id of the last event and give it as After. An error ends the walk.
func (s *EventService) All(ctx context.Context, params ListEventsParams, opts ...CallOption) iter.Seq2[Event, error] {
	return walkCursor(func(cursor *string) (*CursorPage[Event], error) {
		page := params
		if cursor != nil {
			page.After = cursor
		}
		return s.List(ctx, page, opts...)
	})
}

// EventTypes writes event types the way that ListEventsParams and
// StreamEventsParams want them. None means all.
func EventTypes(types ...EventType) *string {
	if len(types) == 0 {
		return nil
	}
	names := make([]string, len(types))
	for i, t := range types {
		names[i] = string(t)
	}
	return new(strings.Join(names, ","))
}

// values writes the parameters as a query.
func (p ListEventsParams) values() url.Values {
	query := pageQuery(p.Limit, 0, nil)
	setText(query, "after", p.After)
	setText(query, "types", p.Types)
	setText(query, "instanceId", p.InstanceID)
	return query
}

// values writes the parameters as a query, but for After: that is a header.
func (p StreamEventsParams) values() url.Values {
	query := url.Values{}
	setText(query, "types", p.Types)
	setText(query, "instanceId", p.InstanceID)
	return query
}
