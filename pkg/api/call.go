package api

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"net/url"
	"time"
)

const (
	// maxAnswer is the largest answer that is read, in bytes.
	maxAnswer = 16 << 20

	// The wait before the first retry and the longest one, when the server does
	// not say how long to wait.
	firstWait = 500 * time.Millisecond
	maxWait   = 5 * time.Second

	// maxRetryAfter is the longest wait asked for by the server that is waited
	// for. Rate limits count by the minute; whoever asks for more than that is
	// better reported to the caller.
	maxRetryAfter = 2 * time.Minute
)

// CallOption changes one call.
type CallOption func(*call)

// WithIdempotencyKey sets the Idempotency-Key of a call that creates something,
// in place of a random one. Keep it with what you are about to create, and a
// program that was restarted can repeat the call without creating it twice.
func WithIdempotencyKey(key string) CallOption {
	return func(c *call) { c.idempotencyKey = key }
}

// WithIfMatch makes a change happen only when the object still has this ETag.
// Otherwise the call fails with the code precondition_failed; so it does, too,
// when the answer to a first try that made the change was lost.
func WithIfMatch(etag string) CallOption {
	return func(c *call) { c.ifMatch = etag }
}

// WithHeaderTo stores the header of the last answer in header, such as its ETag or
// what is left of the rate limit.
func WithHeaderTo(header *http.Header) CallOption {
	return func(c *call) { c.headerTo = header }
}

// call is one call of the API: what stays the same over all tries.
type call struct {
	method         string
	path           string
	query          url.Values
	body           any // nil for none
	idempotencyKey string
	ifMatch        string
	accept         string // the type of the answer; "" for JSON
	lastEventID    string // where a stream goes on; "" for none
	headerTo       *http.Header

	payload []byte // body, encoded once
}

// answer is what came back from one try.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// errTooLarge is not worth a retry: the next answer would be as large.
var errTooLarge = fmt.Errorf("api: the answer is larger than %d bytes", maxAnswer)

// do makes the call, with retries, and decodes a success into out.
func (c *Client) do(ctx context.Context, spec call, opts []CallOption, out any) error {
	if err := spec.prepare(opts); err != nil {
		return err
	}
	if !printable(c.account + spec.idempotencyKey + spec.ifMatch) {
		return errors.New("api: an account id, idempotency key or ETag has characters that no header can carry")
	}
	for try := 0; ; try++ {
		a, err := c.try(ctx, &spec)
		if err == nil {
			return decodeAnswer(a, out)
		}
		if try >= c.retries || !spec.repeatable() || !passing(ctx, err) {
			return err
		}
		d := delay(try, err)
		if deadline, ok := ctx.Deadline(); d > maxRetryAfter || (ok && time.Until(deadline) <= d) {
			return err
		}
		if stopped := c.sleep(ctx, d); stopped != nil {
			return fmt.Errorf("%w; gave up trying again: %w", err, stopped)
		}
	}
}

// prepare applies the options, encodes the body and makes a creating call
// repeatable.
func (spec *call) prepare(opts []CallOption) error {
	if spec.method == http.MethodPost {
		spec.idempotencyKey = rand.Text()
	}
	for _, opt := range opts {
		opt(spec)
	}
	if spec.body == nil {
		return nil
	}
	payload, err := json.Marshal(spec.body)
	if err != nil {
		return fmt.Errorf("api: the body cannot be written as JSON: %w", err)
	}
	spec.payload = payload
	return nil
}

// repeatable reports whether a second try cannot do the work twice.
func (spec *call) repeatable() bool {
	return spec.method != http.MethodPost || spec.idempotencyKey != ""
}

// try sends the request once and reads the whole answer. An answer that is not a
// success is an *Error.
func (c *Client) try(ctx context.Context, spec *call) (answer, error) {
	req, err := c.request(ctx, spec)
	if err != nil {
		return answer{}, err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return answer{}, fmt.Errorf("api: %w", err)
	}
	defer func() { _ = res.Body.Close() }() // it was read to its end, or is given up
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return answer{}, fmt.Errorf("api: the answer broke off: %w", err)
	}
	if len(body) > maxAnswer {
		return answer{}, errTooLarge
	}
	if spec.headerTo != nil {
		*spec.headerTo = res.Header
	}
	a := answer{status: res.StatusCode, header: res.Header, body: body}
	if a.status/100 != 2 {
		return answer{}, errorOf(a)
	}
	return a, nil
}

// request makes the HTTP request of one try.
func (c *Client) request(ctx context.Context, spec *call) (*http.Request, error) {
	var body io.Reader
	if spec.payload != nil {
		body = bytes.NewReader(spec.payload)
	}
	req, err := http.NewRequestWithContext(ctx, spec.method, c.endpoint(spec.path, spec.query), body)
	if err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	set := func(name, value string) {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	set("Authorization", "Bearer "+c.key)
	set("Accept", cmp.Or(spec.accept, "application/json"))
	set("Last-Event-ID", spec.lastEventID)
	set("User-Agent", c.userAgent)
	set("X-Account-Id", c.account)
	set("Idempotency-Key", spec.idempotencyKey)
	set("If-Match", spec.ifMatch)
	if spec.payload != nil {
		set("Content-Type", "application/json")
	}
	return req, nil
}

// passing reports whether a failure may pass by itself: no answer at all, too many
// requests, the server in trouble, or the first try of this very call still
// running.
func passing(ctx context.Context, err error) bool {
	failure, answered := errors.AsType[*Error](err)
	if !answered {
		return ctx.Err() == nil && !errors.Is(err, errTooLarge)
	}
	switch failure.Status {
	case http.StatusTooManyRequests,
		http.StatusInternalServerError,
		http.StatusBadGateway,
		http.StatusServiceUnavailable,
		http.StatusGatewayTimeout:
		return true
	}
	return failure.Code == ErrorCodeIdempotencyInProgress
}

// delay returns how long to wait before the next try: as long as the server asked
// for, or else as long as backoff says.
func delay(try int, err error) time.Duration {
	if failure, ok := errors.AsType[*Error](err); ok && failure.RetryAfter > 0 {
		return failure.RetryAfter
	}
	return backoff(try)
}

// backoff returns how long to wait before the next try: doubled each time, and
// spread, so that clients that failed together do not come back together.
func backoff(try int) time.Duration {
	d := min(firstWait<<min(try, 10), maxWait)
	return min(d+mathrand.N(d/2), maxWait) //nolint:gosec // spreading load needs no secrecy
}

// decodeAnswer reads the JSON of a success into out.
func decodeAnswer(a answer, out any) error {
	if err := json.Unmarshal(a.body, out); err != nil {
		return fmt.Errorf("api: the answer with status %d is not what the API document says: %w", a.status, err)
	}
	return nil
}

// fetch makes a call that is answered with one object.
func fetch[T any](ctx context.Context, c *Client, spec call, opts []CallOption) (*T, error) {
	var envelope Envelope[T]
	if err := c.do(ctx, spec, opts, &envelope); err != nil {
		return nil, err
	}
	return &envelope.Data, nil
}

// fetchPage makes a call that is answered with a page.
func fetchPage[T any](ctx context.Context, c *Client, path string, query url.Values, opts []CallOption) (*Page[T], error) {
	page := new(Page[T])
	if err := c.do(ctx, call{method: http.MethodGet, path: path, query: query}, opts, page); err != nil {
		return nil, err
	}
	return page, nil
}

// fetchCursorPage makes a call that is answered with a page of a list without a
// known end.
func fetchCursorPage[T any](ctx context.Context, c *Client, path string, query url.Values, opts []CallOption) (*CursorPage[T], error) {
	page := new(CursorPage[T])
	if err := c.do(ctx, call{method: http.MethodGet, path: path, query: query}, opts, page); err != nil {
		return nil, err
	}
	return page, nil
}

// objectPath returns the path of one object. It refuses what is no id, since
// that would name the whole list or something else.
func objectPath(list, id string) (string, error) {
	if id == "" || id == "." || id == ".." {
		return "", fmt.Errorf("api: %q is not an id", id)
	}
	return list + "/" + url.PathEscape(id), nil
}
