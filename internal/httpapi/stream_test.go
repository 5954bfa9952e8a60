package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// slowWriter keeps the sizes of what is written.
type slowWriter struct {
	*httptest.ResponseRecorder
	sizes []int
}

func (w *slowWriter) Write(b []byte) (int, error) {
	w.sizes = append(w.sizes, len(b))
	return w.ResponseRecorder.Write(b)
}

func (*slowWriter) SetWriteDeadline(time.Time) error { return nil }

// What a stream holds for a client that does not read does not depend on how far that is behind.
func TestStream_SendsPieceByPiece(t *testing.T) {
	t.Parallel()
	w := &slowWriter{ResponseRecorder: httptest.NewRecorder()}
	st := &stream{w: w, out: http.NewResponseController(w)}
	const size = 3000
	events := make([]domain.Event, 100)
	var want []byte
	for i := range events {
		events[i] = domain.Event{ID: domain.NewID(time.Now()), Position: int64(i + 1), Type: domain.EventMessageSent, Data: make([]byte, size)}
		want = appendServerSentEvent(want, &events[i])
	}
	if !st.sendEvents(events) || st.position != 100 {
		t.Fatalf("it is at %d", st.position)
	}
	if w.Body.String() != string(want) {
		t.Errorf("%d bytes came, want %d, or others", w.Body.Len(), len(want))
	}
	for _, n := range w.sizes {
		if n > sendBatch+size+1000 {
			t.Errorf("%d bytes were written at once", n)
		}
	}
	if len(w.sizes) < 10 || cap(st.buf) > 64<<10 {
		t.Errorf("%d writes, and a buffer of %d bytes stays", len(w.sizes), cap(st.buf))
	}
}

// readEvents is an EventStore that only reads.
type readEvents func(after int64) ([]domain.Event, error)

func (f readEvents) Events(_ context.Context, after int64, _ int, _ domain.EventFilter) ([]domain.Event, domain.EventPlace, error) {
	events, err := f(after)
	return events, domain.EventPlace{}, err
}

func (readEvents) EventPosition(context.Context, domain.ID) (int64, error) {
	return 0, domain.EventNotFound()
}

// streamBehind is a stream from the beginning of an account whose latest event is at head.
func streamBehind(t *testing.T, head int64, read readEvents) (st *stream, sent *slowWriter) {
	t.Helper()
	account := domain.NewID(time.Now())
	hub := &eventHub{
		heads: func(context.Context, []domain.ID) (map[domain.ID]int64, error) {
			return map[domain.ID]int64{account: head}, nil
		},
		log: slog.New(slog.DiscardHandler), feeds: map[domain.ID]*eventFeed{}, limit: 1,
	}
	if err := errors.Join(hub.join(account), hub.look(t.Context())); err != nil {
		t.Fatal(err)
	}
	s := &Server{cfg: Config{RequestTimeout: time.Minute}, hub: hub, now: time.Now, drained: make(chan struct{})}
	sent = &slowWriter{ResponseRecorder: httptest.NewRecorder()}
	return &stream{
		s: s, account: account, store: read, valid: func() bool { return true }, w: sent, out: http.NewResponseController(sent),
	}, sent
}

// Where the retention has taken what came before the head there is nothing to read, and nothing to read again.
func TestStream_BehindWhatIsSwept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reads := 0
		st, sent := streamBehind(t, 7, func(int64) ([]domain.Event, error) {
			if reads++; reads > 100 {
				return nil, errors.New("it reads and reads")
			}
			return nil, nil
		})
		st.until = time.Now().Add(50 * time.Second)
		began := time.Now()
		st.run(t.Context())
		if took := time.Since(began); took != 50*time.Second || reads > 1 || st.position != 7 {
			t.Errorf("it ended after %v and %d reads, at %d", took, reads, st.position)
		}
		if n := strings.Count(sent.Body.String(), ": alive\n"); n != 3 {
			t.Errorf("%d heartbeats in %q", n, sent.Body)
		}
	})
}

// A stream that has much to read, and nothing to send, is alive, and ends when it should.
func TestStream_BehindWhatNobodyWants(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*stream){
		"credential": func(*stream) {}, "server": func(st *stream) { st.s.Drain() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const step = 100 * time.Millisecond
				var st *stream
				var latest domain.ID
				st, sent := streamBehind(t, 1<<40, func(after int64) ([]domain.Event, error) {
					time.Sleep(step)
					switch {
					case after == 400:
						end(st)
					case after > 700:
						return nil, errors.New("it reads and reads")
					}
					latest = domain.NewID(time.Now())
					return []domain.Event{{Position: after + 1, ID: latest, Type: domain.EventMessageRead}}, nil
				})
				st.filter.Types = domain.EventMessageSent
				st.until = time.Now().Add(600*step + step/2)
				st.run(t.Context())
				want := map[string]int64{"credential": 601, "server": 401}[name]
				if st.position != want || st.last != latest {
					t.Errorf("it ended at %d, want %d", st.position, want)
				}
				beats := strings.Split(sent.Body.String(), ": alive\nid: ")
				if first := "evt_" + strings.Repeat("0", 26); len(beats) < 3 || strings.HasPrefix(beats[1], first) || beats[1] == beats[2] {
					t.Errorf("its heartbeats are %q", beats)
				}
			})
		})
	}
}
