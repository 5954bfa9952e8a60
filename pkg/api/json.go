package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// Envelope is the answer that carries one object.
type Envelope[T any] struct {
	// Success is always true.
	Success bool `json:"success"`

	// Data is the object.
	Data T `json:"data"`
}

// Page is the answer that carries a part of a list.
type Page[T any] struct {
	// Success is always true.
	Success bool `json:"success"`

	// Data holds the objects of this page. The server never leaves it nil.
	Data []T `json:"data"`

	// Pagination says where the page is in the list.
	Pagination Pagination `json:"pagination"`
}

// CursorPage is the answer that carries a part of a list without a known end.
type CursorPage[T any] struct {
	// Success is always true.
	Success bool `json:"success"`

	// Data holds the objects of this page. The server never leaves it nil.
	Data []T `json:"data"`

	// Pagination says how to go on.
	Pagination CursorPagination `json:"pagination"`
}

// timeLayout is how the API writes a time: UTC, always three decimals.
const timeLayout = "2006-01-02T15:04:05.000Z"

// Time is a moment as the API writes it: 2026-02-03T12:00:00.000Z, in UTC and
// with millisecond precision. It reads any RFC 3339 time.
type Time struct{ time.Time }

// NewTime returns t in UTC, cut to the millisecond, so that a value survives
// the trip over the wire unchanged.
func NewTime(t time.Time) Time {
	return Time{t.UTC().Truncate(time.Millisecond)}
}

// String returns the time as the API writes it.
func (t Time) String() string {
	return t.UTC().Format(timeLayout)
}

// MarshalJSON returns the time as a JSON string in the API's form. It fails for
// years that RFC 3339 cannot express.
func (t Time) MarshalJSON() ([]byte, error) {
	utc := t.UTC()
	if year := utc.Year(); year < 0 || year > 9999 {
		return nil, fmt.Errorf("api: the year %d is not in 0..9999", year)
	}
	buf := make([]byte, 0, len(timeLayout)+2)
	buf = append(buf, '"')
	buf = utc.AppendFormat(buf, timeLayout)
	return append(buf, '"'), nil
}

// UnmarshalJSON reads an RFC 3339 time from a JSON string and cuts it to the
// millisecond. As is the custom, null changes nothing.
func (t *Time) UnmarshalJSON(data []byte) error {
	var parsed time.Time
	if isNull(data) {
		return nil
	}
	if err := parsed.UnmarshalJSON(data); err != nil {
		return fmt.Errorf("api: a time must look like %s: %w", timeLayout, err)
	}
	*t = NewTime(parsed)
	return nil
}

// Patch is a field of a PATCH body that can be left as it is, cleared or set.
// The zero Patch leaves it: the field is absent from the JSON, provided that
// it is tagged omitzero, as all generated fields are.
type Patch[T any] struct {
	value T
	state patchState
}

// patchState tells what a Patch does. Absent comes first, to be the zero value.
type patchState uint8

const (
	patchAbsent patchState = iota
	patchNull
	patchSet
)

// Set returns a Patch that sets the field to value.
func Set[T any](value T) Patch[T] {
	return Patch[T]{value: value, state: patchSet}
}

// Null returns a Patch that clears the field.
func Null[T any]() Patch[T] {
	return Patch[T]{state: patchNull}
}

// IsZero reports whether the field is left as it is. The tag omitzero asks it.
func (p Patch[T]) IsZero() bool { return p.state == patchAbsent }

// IsNull reports whether the field is cleared.
func (p Patch[T]) IsNull() bool { return p.state == patchNull }

// Get returns the value to set, and whether there is one. It is false both for
// a field that is left and for one that is cleared.
func (p Patch[T]) Get() (value T, ok bool) { return p.value, p.state == patchSet }

// Ptr returns a pointer to a copy of the value to set, or nil when there is none.
func (p Patch[T]) Ptr() *T {
	if p.state != patchSet {
		return nil
	}
	return &p.value
}

// MarshalJSON returns the value to set, or null.
func (p Patch[T]) MarshalJSON() ([]byte, error) {
	if p.state != patchSet {
		return []byte("null"), nil
	}
	return json.Marshal(p.value)
}

// UnmarshalJSON is called only when the field is present: null clears it, all
// else sets it.
func (p *Patch[T]) UnmarshalJSON(data []byte) error {
	if isNull(data) {
		*p = Null[T]()
		return nil
	}
	var value T
	if err := json.Unmarshal(data, &value); err != nil {
		return err
	}
	*p = Set(value)
	return nil
}

// isNull reports whether data is the JSON value null.
func isNull(data []byte) bool {
	return bytes.Equal(bytes.TrimSpace(data), []byte("null"))
}
