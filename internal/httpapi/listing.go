package httpapi

import (
	"context"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/pkg/api"
)

// listing is a request for a page of anything but instances.
type listing struct {
	limit  int
	offset int64
	cursor string
	scope  []byte
}

// listed is a page, which its ETag is made of.
type listed[A any] struct{ page api.Page[A] }

func (l listed[A]) content() any { return l.page }

func (l listed[A]) headers(encoded []byte) map[string]string {
	return map[string]string{headerETag: contentTag(encoded)}
}

// page reads and presents a page.
func page[D, A any](ctx context.Context, s *Server, l listing,
	read func(context.Context, domain.PageRequest) ([]D, domain.PageInfo, error), present func(*D) A,
) (listed[A], error) {
	request := domain.PageRequest{Limit: l.limit, Offset: l.offset}
	if err := s.applyCursor(&request, l.scope, l.cursor); err != nil {
		return listed[A]{}, err
	}
	items, info, err := read(ctx, request)
	if err != nil {
		return listed[A]{}, err
	}
	out := api.Page[A]{Success: true, Data: make([]A, len(items))}
	for i := range items {
		out.Data[i] = present(&items[i])
	}
	out.Pagination = api.Pagination{Total: info.Total, Limit: l.limit, Offset: l.offset, HasMore: info.HasMore}
	if info.HasMore {
		out.Pagination.NextCursor = optional(s.encodeCursor(l.scope, info.Last))
	}
	return listed[A]{out}, nil
}
