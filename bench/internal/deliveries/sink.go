package deliveries

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/pombal-api/pombal/bench/internal/child"
)

const (
	pathOK   = "/ok/"   // answers 200
	pathHang = "/hang/" // never answers
)

// headerID names the event of a request.
const headerID = "Webhook-Id"

// Arrival is what the sink knows of an event.
type Arrival struct {
	At    int64 `json:"at"`    // when it came first, in nanoseconds since 1970
	Count int   `json:"count"` // how often it came
}

// sink accepts events and remembers when each came.
type sink struct {
	mu       sync.Mutex
	arrivals map[string]Arrival
	await    int
	reached  chan struct{} // closed when await have come
}

// Sink is the process that receives events, until ctx ends.
//
//	POST /ok/…          an event; answers 200
//	POST /hang/…        an event; does not answer
//	POST /clear         forget what has come
//	GET  /await?n=1000  answers when so many different events have come
//	GET  /arrivals      what has come, by webhook-id
func Sink(ctx context.Context) error { return child.Serve(ctx, newSink().handler()) }

func newSink() *sink { return &sink{arrivals: map[string]Arrival{}} }

func (s *sink) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+pathOK, s.accept)
	mux.HandleFunc("POST "+pathHang, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // or else nobody would notice that the client goes
		<-r.Context().Done()
	})
	mux.HandleFunc("POST /clear", func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.arrivals = map[string]Arrival{}
		child.Answer(w, nil)
	})
	mux.HandleFunc("GET /await", func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(r.FormValue("n"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		select {
		case <-s.when(n):
			child.Answer(w, n)
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("GET /arrivals", func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		got := maps.Clone(s.arrivals)
		s.mu.Unlock()
		child.Answer(w, got)
	})
	return mux
}

func (s *sink) accept(w http.ResponseWriter, r *http.Request) {
	at := time.Now().UnixNano()
	id := r.Header.Get(headerID)
	if _, err := io.Copy(io.Discard, r.Body); err != nil || id == "" {
		http.Error(w, fmt.Sprintf("an event without an id or a body: %v", err), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.arrivals[id]
	if a.Count++; a.Count == 1 {
		a.At = at
	}
	s.arrivals[id] = a
	s.tell()
}

// tell wakes who waits for as many arrivals as there are.
func (s *sink) tell() {
	if s.reached != nil && len(s.arrivals) >= s.await {
		close(s.reached)
		s.reached = nil
	}
}

// when returns a channel that is closed once n events have come. Who asks last is told.
func (s *sink) when(n int) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	done := make(chan struct{})
	s.await, s.reached = n, done
	s.tell()
	return done
}
