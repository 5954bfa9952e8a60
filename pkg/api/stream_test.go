package api_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pombal-api/pombal/pkg/api"
)

// message is the n-th event as it goes over the wire.
func message(n int) string {
	return fmt.Sprintf("id: evt_%d\nevent: instance.connected\ndata: {\"id\":\"evt_%d\",\"event\":\"instance.connected\",\"sequence\":%d}\n\n", n, n, n)
}

// behind returns the number of an event by its id; 0 for "".
func behind(t *testing.T, id string) int {
	t.Helper()
	if id == "" {
		return 0
	}
	n, err := strconv.Atoi(strings.TrimPrefix(id, "evt_"))
	if err != nil {
		t.Errorf("the client asks for what is behind %q", id)
	}
	return n
}

// wire answers without a network, one script after the other, the last one for
// ever, so that time can be fake. A script writes a body; where it ends, the
// connection does.
type wire struct {
	mu       sync.Mutex
	scripts  []script
	requests []*http.Request
	times    []time.Time
}

type script func(r *http.Request, w io.Writer)

func (f *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	play := f.scripts[min(len(f.requests), len(f.scripts)-1)]
	f.requests, f.times = append(f.requests, r), append(f.times, time.Now())
	f.mu.Unlock()
	if play == nil {
		return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	}
	body, w := io.Pipe()
	done := context.AfterFunc(r.Context(), func() { _ = w.CloseWithError(r.Context().Err()) })
	go func() { // it ends with the script, which ends when the pipe is closed
		defer done()
		play(r, w)
		_ = w.Close()
	}()
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"text/event-stream; charset=utf-8"}}, Body: body, Request: r}, nil
}

// gaps are the times between the requests.
func (f *wire) gaps() (gaps []time.Duration) {
	for i := 1; i < len(f.times); i++ {
		gaps = append(gaps, f.times[i].Sub(f.times[i-1]))
	}
	return gaps
}

// client returns a client whose calls may take 30 seconds, as they do by default.
func (f *wire) client(t *testing.T) *api.Client {
	t.Helper()
	c, err := api.NewClient("https://pombal.example.com", "pmb_test", api.WithHTTPClient(&http.Client{Transport: f, Timeout: 30 * time.Second}))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// send writes a text.
func send(text string) script {
	return func(_ *http.Request, w io.Writer) { _, _ = io.WriteString(w, text) }
}

// hang writes a text and then nothing until the client goes away.
func hang(text string) script {
	return func(r *http.Request, w io.Writer) {
		_, _ = io.WriteString(w, text)
		<-r.Context().Done()
	}
}

// collect follows a stream until it has n events or an error.
func collect(ctx context.Context, c *api.Client, params api.StreamEventsParams, n int) (ids []string, err error) {
	for event, err := range c.Events.Stream(ctx, params) {
		if err != nil {
			return ids, err
		}
		if ids = append(ids, event.ID); len(ids) == n {
			break
		}
	}
	return ids, nil
}

func wantIDs(t *testing.T, got []string, from, to int) {
	t.Helper()
	var want []string
	for n := from; n <= to; n++ {
		want = append(want, fmt.Sprintf("evt_%d", n))
	}
	if !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
}

// Wherever connections break, each event comes once and in its place.
func TestStream_LosesAndRepeatsNothing(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			f := &wire{scripts: []script{func(r *http.Request, w io.Writer) {
				text := ": connected\n\n"
				for n := behind(t, r.Header.Get("Last-Event-ID")) + 1; n <= 20; n++ {
					text += message(n) + ": alive\n\n"
				}
				_, _ = io.WriteString(w, text[:random.IntN(len(text)+1)])
			}}}
			ids, err := collect(t.Context(), f.client(t), api.StreamEventsParams{}, 20)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			wantIDs(t, ids, 1, 20)
		})
	}
}

func TestStream_AsksForWhatItIsToldTo(t *testing.T) {
	t.Parallel()
	f := &wire{scripts: []script{send(message(8) + message(9)), send(message(10))}}
	params := api.StreamEventsParams{
		After: new("evt_7"), InstanceID: new("inst_1"),
		Types: api.EventTypes(api.EventTypeInstanceConnected, api.EventTypeInstanceDisconnected),
	}
	c := f.client(t).OnAccount("acct_1")
	api.SetSleep(c, func(ctx context.Context, _ time.Duration) error { return ctx.Err() })
	ids, err := collect(t.Context(), c, params, 3)
	if err != nil {
		t.Fatal(err)
	}
	wantIDs(t, ids, 8, 10)
	for i, after := range []string{"evt_7", "evt_9"} {
		r := f.requests[i]
		if got := r.URL.String(); r.Method != http.MethodGet || got != "https://pombal.example.com/v1/events/stream?instanceId=inst_1&types=instance.connected%2Cinstance.disconnected" {
			t.Errorf("request %d: %s %s", i, r.Method, got)
		}
		for name, want := range map[string]string{"Last-Event-Id": after, "Accept": "text/event-stream", "Authorization": "Bearer pmb_test", "X-Account-Id": "acct_1"} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("request %d: %s is %q, want %q", i, name, got, want)
			}
		}
	}
	if api.EventTypes() != nil {
		t.Error("no types at all are a filter")
	}
}

// A server that says where the stream begins is believed: without an event so far,
// the next connection goes on there.
func TestStream_BeginsWhereTheServerSays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &wire{scripts: []script{send(": connected\nid: evt_4\n\n"), send(message(5))}}
		ids, err := collect(t.Context(), f.client(t), api.StreamEventsParams{}, 1)
		if err != nil || f.requests[1].Header.Get("Last-Event-ID") != "evt_4" {
			t.Errorf("error %v, asked for what is behind %q", err, f.requests[1].Header.Get("Last-Event-ID"))
		}
		wantIDs(t, ids, 5, 5)
	})
}

func TestStream_Silence(t *testing.T) {
	t.Parallel()
	beating := func(r *http.Request, w io.Writer) {
		tick := time.NewTicker(15 * time.Second)
		defer tick.Stop()
		for range 1000 {
			select {
			case <-tick.C:
				_, _ = io.WriteString(w, ": alive\n\n")
			case <-r.Context().Done():
				return
			}
		}
		_, _ = io.WriteString(w, message(1))
		<-r.Context().Done()
	}
	unanswered := func(r *http.Request, _ io.Writer) { <-r.Context().Done() }
	synctest.Test(t, func(t *testing.T) {
		f := &wire{scripts: []script{beating, unanswered, hang(message(2))}}
		ids, err := collect(t.Context(), f.client(t), api.StreamEventsParams{}, 2)
		if err != nil {
			t.Fatal(err)
		}
		wantIDs(t, ids, 1, 2)
		alive, dead := 15_000*time.Second+45*time.Second, 45*time.Second
		for i, want := range []time.Duration{alive, dead} {
			if got := f.gaps()[i]; got < want || got > want+5*time.Second {
				t.Errorf("connection %d lasted %v, want %v and a short wait", i+1, got, want)
			}
		}
	})
}

// Whoever takes long over an event keeps the connection.
func TestStream_SlowLoop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &wire{scripts: []script{hang(message(1) + message(2) + message(3))}}
		var ids []string
		for event, err := range f.client(t).Events.Stream(t.Context(), api.StreamEventsParams{}) {
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour) // fake
			if ids = append(ids, event.ID); len(ids) == 3 {
				break
			}
		}
		wantIDs(t, ids, 1, 3)
		if len(f.requests) != 1 {
			t.Errorf("%d connections, want 1", len(f.requests))
		}
	})
}

func TestStream_FinalErrors(t *testing.T) {
	t.Parallel()
	stream := reply{status: 200, header: map[string]string{"Content-Type": "text/event-stream"}, body: message(1)}
	final := map[string]reply{
		"invalid_parameters":       failing(400, "invalid_parameters"),
		"expired_api_key":          failing(401, "expired_api_key"),
		"insufficient_permissions": failing(403, "insufficient_permissions"),
		"event_not_found":          failing(404, "event_not_found"),
		"rate_limit_exceeded":      failing(429, "rate_limit_exceeded", "Retry-After", "3600"),
	}
	for code, last := range final {
		for _, replies := range [][]reply{{last}, {stream, last}} {
			s := newServer(t, replies...)
			ids, err := collect(t.Context(), s.client(t), api.StreamEventsParams{}, 0)
			if string(api.CodeOf(err)) != code || len(s.requests) != len(replies) {
				t.Errorf("%s: error %v after %d requests", code, err, len(s.requests))
			}
			wantIDs(t, ids, 1, len(replies)-1)
		}
	}
}

func TestStream_NotTheAPI(t *testing.T) {
	t.Parallel()
	kind := map[string]string{"Content-Type": "text/event-stream"}
	for name, r := range map[string]reply{
		"another page":   {status: 200, header: map[string]string{"Content-Type": "text/html"}, body: "<html>"},
		"not an event":   {status: 200, header: kind, body: "data: hello\n\n"},
		"endless line":   {status: 200, header: kind, body: strings.Repeat("x", 17<<20)},
		"other messages": {status: 200, header: kind, body: "id: 1\ndata: []\n\n"},
	} {
		s := newServer(t, r)
		if _, err := collect(t.Context(), s.client(t), api.StreamEventsParams{}, 0); !errors.Is(err, api.ErrNoStream) || len(s.requests) != 1 {
			t.Errorf("%s: error %v after %d requests", name, err, len(s.requests))
		}
	}
	s := newServer(t, reply{status: 302, header: map[string]string{"Location": "https://elsewhere.example.com"}})
	if _, err := collect(t.Context(), s.client(t), api.StreamEventsParams{}, 0); err == nil || len(s.requests) != 1 {
		t.Errorf("a redirect: error %v after %d requests", err, len(s.requests))
	}
	if _, err := collect(t.Context(), s.client(t), api.StreamEventsParams{After: new("a\nb")}, 0); err == nil || len(s.requests) != 1 {
		t.Errorf("a bad id: error %v after %d requests", err, len(s.requests))
	}
}

func TestStream_WaitsBetweenConnections(t *testing.T) {
	t.Parallel()
	stream := reply{status: 200, header: map[string]string{"Content-Type": "text/event-stream"}, body: message(1)}
	empty := reply{status: 200, header: stream.header, body: ": connected\n\n"}
	busy := failing(503, "unavailable", "Retry-After", "42")
	end := failing(401, "expired_api_key")
	tests := []struct {
		name    string
		replies []reply
		waits   []time.Duration // -1 for any backoff of that many tries in a row
	}{
		{"as long as the server asks for", []reply{stream, busy, {}, end}, []time.Duration{-1, 42 * time.Second, -3}},
		{"from the beginning after each event", []reply{stream, {}, {}, {status: 200, header: stream.header, body: message(2)}, end}, []time.Duration{-1, -2, -3, -1}},
		{"longer when connections bring nothing", []reply{empty, empty, empty, empty, end}, []time.Duration{-1, -2, -3, -4}},
	}
	for _, tt := range tests {
		s := newServer(t, tt.replies...)
		// Without kept connections net/http itself repeats nothing.
		hc := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		if _, err := collect(t.Context(), s.client(t, api.WithHTTPClient(hc)), api.StreamEventsParams{}, 0); api.CodeOf(err) != "expired_api_key" {
			t.Errorf("%s: error %v", tt.name, err)
		}
		if len(s.waits) != len(tt.waits) {
			t.Errorf("%s: waits %v, want %v", tt.name, s.waits, tt.waits)
			continue
		}
		for i, want := range tt.waits {
			low, high := want, want
			if want < 0 {
				low = 500 * time.Millisecond << (-want - 1)
				high = low * 3 / 2
			}
			if s.waits[i] < low || s.waits[i] > high {
				t.Errorf("%s: wait %d is %v, want %v to %v", tt.name, i, s.waits[i], low, high)
			}
		}
	}
}

// A server that was never there is reported; one that goes away is waited for.
func TestStream_Patience(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		never := &wire{scripts: []script{nil}}
		var refused *net.OpError
		if _, err := collect(t.Context(), never.client(t), api.StreamEventsParams{}, 0); !errors.As(err, &refused) || len(never.requests) != 3 {
			t.Errorf("error %v after %d requests, want the refusal after 3", err, len(never.requests))
		}
		scripts := []script{send(message(1))}
		scripts = append(append(scripts, make([]script, 5000)...), send(message(2)))
		away := &wire{scripts: scripts}
		ids, err := collect(t.Context(), away.client(t), api.StreamEventsParams{}, 2)
		if err != nil {
			t.Error(err)
		}
		wantIDs(t, ids, 1, 2)
	})
}

func TestStream_EndsWithItsContext(t *testing.T) {
	t.Parallel()
	for name, scripts := range map[string][]script{
		"while it waits for events":      {hang(message(1))},
		"while it waits for an answer":   {send(message(1)), hang("")},
		"while it waits for a next time": {send(message(1)), nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second+time.Millisecond)
			defer cancel()
			began := time.Now()
			ids, err := collect(ctx, (&wire{scripts: scripts}).client(t), api.StreamEventsParams{}, 0)
			if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 20*time.Second+time.Millisecond {
				t.Errorf("%s: error %v after %v", name, err, time.Since(began))
			}
			wantIDs(t, ids, 1, 1)
		})
	}
}

// Over a real connection, which the server cuts in the middle of an event.
func TestStream_OverTheNetwork(t *testing.T) {
	t.Parallel()
	left := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		n := behind(t, r.Header.Get("Last-Event-ID")) + 1
		half := message(n + 1)
		_, _ = io.WriteString(w, message(n)+half[:len(half)-1])
		_ = http.NewResponseController(w).Flush()
		if n < 5 {
			panic(http.ErrAbortHandler) //nolint:forbidigo // net/http documents it as the way to cut a connection
		}
		<-r.Context().Done()
		close(left)
	}))
	defer s.Close()
	c, err := api.NewClient(s.URL, "pmb_test")
	if err != nil {
		t.Fatal(err)
	}
	api.SetSleep(c, func(ctx context.Context, _ time.Duration) error { return ctx.Err() })
	ids, err := collect(t.Context(), c, api.StreamEventsParams{}, 5)
	if err != nil {
		t.Fatal(err)
	}
	wantIDs(t, ids, 1, 5)
	<-left // the connection is not left behind
}
