package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Error is an answer of the server that says that a call failed. Find it with
// errors.As, or ask CodeOf.
type Error struct {
	// Status is the HTTP status.
	Status int
	// Code says what went wrong. It is "" when the answer did not come from the
	// API itself but from a proxy before it.
	Code ErrorCode
	// Message says it for people.
	Message string
	// RequestID is the server's name for the request. Quote it to support.
	RequestID string
	// RetryAfter is how long to wait before trying again, 0 if the server did not say.
	RetryAfter time.Duration
	// Details names each part of the request that was wrong.
	Details []ErrorDetail
}

// Error returns the message with the code, the status and the request id.
func (e *Error) Error() string {
	parts := make([]string, 0, 3)
	if e.Code != "" {
		parts = append(parts, string(e.Code))
	}
	parts = append(parts, "status "+strconv.Itoa(e.Status))
	if e.RequestID != "" {
		parts = append(parts, e.RequestID)
	}
	text := fmt.Sprintf("%s (%s)", e.Message, strings.Join(parts, ", "))
	for _, d := range e.Details {
		text += "; " + d.Field + ": " + d.Message
	}
	return text
}

// CodeOf returns the code of the Error in err, or "" if there is none.
func CodeOf(err error) ErrorCode {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}

// errorOf makes an Error of an answer that is not a success.
func errorOf(a answer) *Error {
	e := &Error{
		Status:     a.status,
		RequestID:  a.header.Get("X-Request-Id"),
		RetryAfter: parseRetryAfter(a.header.Get("Retry-After")),
	}
	if !e.explained(a.body) {
		e.Message = unexplained(a)
	}
	return e
}

// explained fills e from the API's error body. It reports false when body is
// something else, such as the page of a proxy.
func (e *Error) explained(body []byte) bool {
	var envelope ErrorEnvelope
	if err := json.Unmarshal(body, &envelope); err != nil || envelope.Error.Code == "" {
		return false
	}
	e.Code, e.Message, e.Details = envelope.Error.Code, envelope.Error.Message, envelope.Error.Details
	if e.RequestID == "" {
		e.RequestID = envelope.Error.RequestID
	}
	if e.RetryAfter == 0 {
		e.RetryAfter = inSeconds(int64(envelope.Error.RetryAfter))
	}
	return true
}

// unexplained says what little there is to say about an answer without the
// API's error body.
func unexplained(a answer) string {
	if location := a.header.Get("Location"); location != "" && a.status/100 == 3 {
		return "The server points to " + location + ". Use the right base URL; redirects are not followed."
	}
	status := strings.TrimSpace(strconv.Itoa(a.status) + " " + http.StatusText(a.status))
	return "The server answered " + status + " without an explanation."
}

// inSeconds returns n seconds, at least none and at most 68 years, which keeps a
// time.Duration from overflowing.
func inSeconds(n int64) time.Duration {
	return time.Duration(min(max(n, 0), 1<<31-1)) * time.Second
}

// parseRetryAfter reads a Retry-After header: seconds or an HTTP date. What it
// cannot read, and what is over, is 0.
func parseRetryAfter(value string) time.Duration {
	if seconds, err := strconv.ParseInt(value, 10, 64); err == nil {
		return inSeconds(seconds)
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}
