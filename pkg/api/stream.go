package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"net/http"
	"time"
)

const (
	// streamType is the media type of Server-Sent Events.
	streamType = "text/event-stream"

	// maxSilence is how long a stream may send nothing. The server sends a comment
	// every 15 seconds, so after three missing ones the connection is dead.
	maxSilence = 45 * time.Second
)

var (
	// errSilent ends a connection that is dead.
	errSilent = fmt.Errorf("api: the stream sent nothing for %v", maxSilence)

	// errStreamEnded is how each connection ends that does not break.
	errStreamEnded = errors.New("api: the server ended the stream")

	// errNoStream is not worth a retry: whatever answers is not the API.
	errNoStream = errors.New("api: the server did not send a stream of events")

	// errLoopDone says that the caller wants no more.
	errLoopDone = errors.New("api: the loop is over")
)

// Stream yields events as they happen, until ctx ends or the loop is left. It
// begins behind the event params.After, or else with what happens from now on.
//
// When the connection breaks, stays silent for 45 seconds or is ended by the
// server, Stream connects again by itself, as often as it takes, and goes on
// behind the last event: none is left out and none comes twice. An error ends the
// stream. It is one that would not pass: a credential that has ended, an event or
// instance that does not exist (any more), a request that is refused; or, before
// the first connection stands, a server that cannot be reached after as many
// retries as any call makes (WithMaxRetries). When ctx ends, the error is its.
//
// To go on after a restart of the program, keep the id of each event that has
// been dealt with, and give the last one as After.
//
// Between two events nothing is read while the loop's body runs. A server drops
// clients that do not read for long; that costs a new connection, but no event.
func (s *EventService) Stream(ctx context.Context, params StreamEventsParams, opts ...CallOption) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		f := follower{client: s.client, http: *s.client.http, yield: yield}
		f.http.Timeout = 0 // of a whole answer; this one has no end
		f.spec = call{method: http.MethodGet, path: eventsPath + "/stream", query: params.values(), accept: streamType}
		if params.After != nil {
			f.spec.lastEventID = *params.After
		}
		if err := f.run(ctx, opts); !errors.Is(err, errLoopDone) {
			yield(Event{}, err)
		}
	}
}

// follower follows events over one connection after the other.
type follower struct {
	client *Client
	http   http.Client
	spec   call // its lastEventID moves on
	yield  func(Event, error) bool
	stood  bool // a connection was once accepted
}

// run connects again and again. It returns why it does not any more.
func (f *follower) run(ctx context.Context, opts []CallOption) error {
	if err := f.spec.prepare(opts); err != nil {
		return err
	}
	if !printable(f.client.account + f.spec.lastEventID) {
		return errors.New("api: an account id or event id has characters that no header can carry")
	}
	for try := 0; ; try++ {
		began, from := time.Now(), f.spec.lastEventID
		err := f.connect(ctx)
		switch {
		case errors.Is(err, errLoopDone):
			return errLoopDone
		case ctx.Err() != nil:
			return ctx.Err()
		case f.spec.lastEventID != from || time.Since(began) >= maxWait:
			try = 0 // it worked for a while
		}
		wait := delay(try, err)
		if !passing(ctx, err) || errors.Is(err, errNoStream) || wait > maxRetryAfter || (!f.stood && try >= f.client.retries) {
			return err
		}
		if stopped := f.client.sleep(ctx, wait); stopped != nil {
			return fmt.Errorf("%w; gave up connecting again: %w", stopped, err)
		}
	}
}

// connect follows events over one connection. It returns why that ended.
func (f *follower) connect(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(maxSilence, func() { cancel(errSilent) })
	defer watch.Stop()
	res, err := f.open(ctx)
	if err == nil {
		err = f.read(&watchedReader{res.Body, watch})
		_ = res.Body.Close() // what is left of it is of no use
	}
	if errors.Is(context.Cause(ctx), errSilent) && !errors.Is(err, errLoopDone) {
		return errSilent
	}
	return err
}

// open asks for the stream. An answer that is none is an error.
func (f *follower) open(ctx context.Context) (*http.Response, error) {
	req, err := f.client.request(ctx, &f.spec)
	if err != nil {
		return nil, err
	}
	res, err := f.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	if f.spec.headerTo != nil {
		*f.spec.headerTo = res.Header
	}
	if res.StatusCode != http.StatusOK {
		defer func() { _ = res.Body.Close() }()
		body, _ := io.ReadAll(io.LimitReader(res.Body, maxAnswer)) // the status tells enough
		return nil, errorOf(answer{status: res.StatusCode, header: res.Header, body: body})
	}
	if kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")); kind != streamType {
		_ = res.Body.Close()
		return nil, fmt.Errorf("%w, but %q; is the base URL right?", errNoStream, kind)
	}
	f.stood = true
	return res, nil
}

// read yields the events of one connection until it ends.
func (f *follower) read(body io.Reader) error {
	messages := newMessageReader(body, f.spec.lastEventID)
	for {
		data, err := messages.next()
		f.spec.lastEventID = messages.id
		if err != nil {
			return err
		}
		var event Event
		if err = json.Unmarshal(data, &event); err != nil {
			return fmt.Errorf("%w: one cannot be read: %w", errNoStream, err)
		}
		if !f.yield(event, nil) {
			return errLoopDone
		}
	}
}

// watchedReader counts the time that is spent waiting for bytes, and only that:
// what the caller does between two reads may take as long as it likes.
type watchedReader struct {
	r     io.Reader
	watch *time.Timer
}

func (w *watchedReader) Read(p []byte) (int, error) {
	w.watch.Reset(maxSilence)
	defer w.watch.Stop()
	return w.r.Read(p)
}
