package api

import (
	"iter"
	"net/url"
	"strconv"
)

// pageQuery writes the parameters that all lists share. Zero values are left
// out, so that the server's defaults apply.
func pageQuery(limit int, offset int64, cursor *string) url.Values {
	query := url.Values{}
	if limit != 0 {
		query.Set("limit", strconv.Itoa(limit))
	}
	if offset != 0 {
		query.Set("offset", strconv.FormatInt(offset, 10))
	}
	setText(query, "cursor", cursor)
	return query
}

// setText writes a parameter that is given.
func setText(query url.Values, name string, value *string) {
	if value != nil {
		query.Set(name, *value)
	}
}

// walk yields the objects of all pages. next returns the page after the given
// cursor; nil asks for the first one. After an error there is nothing more.
func walk[T any](next func(cursor *string) (*Page[T], error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var cursor *string
		for {
			page, err := next(cursor)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, object := range page.Data {
				if !yield(object, nil) {
					return
				}
			}
			if cursor = page.Pagination.NextCursor; cursor == nil {
				return
			}
		}
	}
}

// walkCursor is walk for lists without a known end: it stops where there is
// nothing more now.
func walkCursor[T any](next func(cursor *string) (*CursorPage[T], error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var cursor *string
		for {
			page, err := next(cursor)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, object := range page.Data {
				if !yield(object, nil) {
					return
				}
			}
			if cursor = page.Pagination.NextCursor; cursor == nil || !page.Pagination.HasMore {
				return
			}
		}
	}
}
