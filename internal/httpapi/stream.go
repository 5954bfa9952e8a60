package httpapi

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/pkg/api"
)

const (
	// heartbeatEvery keeps proxies from closing a silent connection.
	heartbeatEvery = 15 * time.Second
	// writePatience is how long a client may take to read what is sent before it loses its seat.
	writePatience = 10 * time.Second
	// readBatch is how many events a stream that is behind reads at once, and sendBatch about how many bytes it writes at
	// once: thousands of streams may be behind after an outage, with clients that do not read.
	readBatch = 50
	sendBatch = 16 << 10
)

type streamEventsRequest struct {
	After string                 `header:"Last-Event-ID"`
	Query api.StreamEventsParams `in:"query"`
}

// streamEvents sends events until the client, its credential or this server goes away.
func (s *Server) streamEvents() endpoint {
	plan := planOf(reflect.TypeFor[streamEventsRequest]())
	return func(c echo.Context, rt *route) error {
		req := new(streamEventsRequest)
		if _, err := s.bind(c, &plan, req); err != nil {
			return err
		}
		st, err := s.openStream(s.work(c), infoOf(c).principal, req)
		if err != nil {
			return err
		}
		if err = s.hub.join(st.account); err != nil {
			return err
		}
		defer s.hub.leave(st.account)
		h := c.Response().Header()
		h.Set(echo.HeaderContentType, "text/event-stream; charset=utf-8")
		h.Set(echo.HeaderCacheControl, "no-store")
		h.Set("X-Accel-Buffering", "no") // nginx would wait for more
		c.Response().WriteHeader(http.StatusOK)
		if c.Request().Method == http.MethodHead {
			return nil
		}
		st.out = http.NewResponseController(c.Response())
		st.w = c.Response()
		st.valid = func() bool { return s.stillAllowed(c, rt) }
		st.run(c.Request().Context())
		return nil
	}
}

// stillAllowed asks again who is calling: keys are revoked and accounts suspended while streams run. A database that
// is away changes nothing.
func (s *Server) stillAllowed(c echo.Context, rt *route) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Request().Context()), s.cfg.RequestTimeout)
	defer cancel()
	caller, err := s.caller(ctx, c)
	if err == nil {
		_, err = s.onBehalf(ctx, c, rt, caller)
	}
	return err == nil || domain.CodeOf(err) == domain.CodeUnavailable
}

// stream is one client that follows events.
type stream struct {
	s        *Server
	account  domain.ID
	store    EventStore
	filter   domain.EventFilter
	position int64
	last     domain.ID // the last event that the client has seen or did not want; zero for none
	until    time.Time // when the credential ends; zero for never
	valid    func() bool

	out *http.ResponseController
	w   http.ResponseWriter
	buf []byte
}

// openStream finds out what a client wants to follow, and from where.
func (s *Server) openStream(ctx context.Context, p *domain.Principal, req *streamEventsRequest) (*stream, error) {
	account, err := s.deps.Accounts(p.Account.ID)
	if err != nil {
		return nil, err
	}
	st := &stream{s: s, account: p.Account.ID, store: account, until: p.Until}
	if st.filter, err = eventFilter(ctx, account, p, req.Query.Types, req.Query.InstanceID); err != nil {
		return nil, err
	}
	after := req.After
	if after == "" {
		after = deref(req.Query.After)
	}
	if after != "" {
		st.position, err = eventPosition(ctx, account, after)
		st.last, _ = domain.ParsePrefixed(domain.PrefixEvent, after) // found
		return st, err
	}
	st.position, st.last, err = s.latestEvent(ctx, st.account, account)
	return st, err
}

// run sends what there is, and waits for more.
func (st *stream) run(ctx context.Context) {
	_ = st.out.SetReadDeadline(time.Time{}) // the server's own ends requests that take long to arrive
	heartbeat := time.NewTicker(heartbeatEvery)
	defer heartbeat.Stop()
	if !st.until.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, st.until.Sub(st.s.now()))
		defer cancel()
	}
	if !st.send(st.place(": connected\n")) {
		return
	}
	// A stream that is far behind ends, and says that it is alive, like one that waits.
	for ctx.Err() == nil && !st.s.draining.Load() {
		wait, ok := st.forward(ctx)
		if !ok {
			return
		}
		select {
		case <-wait:
		case <-heartbeat.C:
			if !st.valid() || !st.send(st.place(": alive\n")) {
				return
			}
		case <-st.s.drained:
			return
		case <-ctx.Done():
			return
		}
	}
}

// place is a block without an event. It holds the id behind which a client that loses the connection has to go on:
// events that it did not want move that too, so that it names an event that is there for as long as possible.
func (st *stream) place(comment string) []byte {
	b := append([]byte(comment), "id: "...)
	return append(st.last.AppendPrefixed(b, domain.PrefixEvent), "\n\n"...)
}

// atOnce is closed: it is what to wait for where there is more already.
var atOnce = func() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// forward sends some of the events that are there, and returns what to wait for.
func (st *stream) forward(ctx context.Context) (<-chan struct{}, bool) {
	events, wait, behind := st.s.hub.next(st.account, st.position)
	if wait != nil {
		return wait, true
	}
	if behind > 0 {
		return st.catchUp(ctx, behind)
	}
	return atOnce, st.valid() && st.sendEvents(events)
}

// catchUp is forward where the events have to be read.
func (st *stream) catchUp(ctx context.Context, behind int64) (<-chan struct{}, bool) {
	events, seen, err := st.read(ctx)
	if errors.Is(err, errNoTurn) {
		return nil, true // a heartbeat is due, or the end; then it waits again
	}
	if err != nil || !st.valid() || !st.sendEvents(events) {
		return nil, false // the client comes back with the id of its last event
	}
	switch {
	case seen.Position == 0: // the retention has taken all of them
		st.position = behind
	case seen.Position > st.position: // the filter leaves out the others
		st.position, st.last = seen.Position, seen.ID
	}
	return atOnce, true
}

// errNoTurn says that others have read all the time.
var errNoTurn = errors.New("no turn to read")

// read catches up from the database when it is this stream's turn. The filter is the database's to apply: of many events
// that nobody wants it looks through thousands at once.
func (st *stream) read(ctx context.Context) ([]domain.Event, domain.EventPlace, error) {
	wait, stop := context.WithTimeout(ctx, heartbeatEvery)
	defer stop()
	end, err := st.s.hub.turn(wait, st.account)
	if err != nil {
		return nil, domain.EventPlace{}, errNoTurn
	}
	defer end()
	if st.s.draining.Load() { // the others in the line need not wait for this one
		return nil, domain.EventPlace{}, errNoTurn
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), st.s.cfg.RequestTimeout)
	defer cancel()
	return st.store.Events(ctx, st.position, readBatch, st.filter)
}

// sendEvents sends those events that the client wants.
func (st *stream) sendEvents(events []domain.Event) bool {
	st.buf = st.buf[:0]
	for i := range events {
		e := &events[i]
		st.position, st.last = e.Position, e.ID
		if st.filter.Matches(e) {
			st.buf = appendServerSentEvent(st.buf, e)
		}
		if len(st.buf) >= sendBatch {
			if !st.send(st.buf) {
				return false
			}
			st.buf = st.buf[:0]
		}
	}
	ok := len(st.buf) == 0 || st.send(st.buf)
	if cap(st.buf) > 64<<10 {
		st.buf = nil // thousands of streams wait with what they have
	}
	return ok
}

func appendServerSentEvent(b []byte, e *domain.Event) []byte {
	b = append(b, "id: "...)
	b = e.ID.AppendPrefixed(b, domain.PrefixEvent)
	b = append(b, "\nevent: "...)
	b = append(b, e.Type.Name()...)
	b = append(b, "\ndata: "...)
	b = domain.AppendEnvelope(b, e) // JSON, so without line breaks
	return append(b, "\n\n"...)
}

// send writes at once. A client that does not read loses its seat.
func (st *stream) send(b []byte) bool {
	if err := st.out.SetWriteDeadline(time.Now().Add(writePatience)); err != nil {
		return false
	}
	if _, err := st.w.Write(b); err != nil {
		return false
	}
	return st.out.Flush() == nil
}
