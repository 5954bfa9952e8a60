package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
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
type readEvents func(after int64) ([]domain.Event, domain.EventPlace, error)

func (f readEvents) Events(_ context.Context, after int64, _ int, _ domain.EventFilter) ([]domain.Event, domain.EventPlace, error) {
	return f(after)
}

func (readEvents) EventPosition(context.Context, domain.ID) (int64, error) {
	return 0, domain.EventNotFound()
}

// serverBehind is a server whose accounts have their latest event at head.
func serverBehind(head int64) *Server {
	hub := newEventHub(&Deps{Log: slog.New(slog.DiscardHandler)}, 0)
	hub.heads = func(_ context.Context, accounts []domain.ID) (map[domain.ID]int64, error) {
		heads := map[domain.ID]int64{}
		for _, id := range accounts {
			heads[id] = head
		}
		return heads, nil
	}
	return &Server{cfg: Config{RequestTimeout: time.Minute}, hub: hub, now: time.Now, drained: make(chan struct{})}
}

// stream is a stream from the beginning of an account.
func (s *Server) stream(t *testing.T, account domain.ID, read readEvents) (st *stream, sent *slowWriter) {
	t.Helper()
	if err := errors.Join(s.hub.join(account), s.hub.look(t.Context())); err != nil {
		t.Fatal(err)
	}
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
		st, sent := serverBehind(7).stream(t, domain.ID{1}, func(int64) (_ []domain.Event, none domain.EventPlace, err error) {
			if reads++; reads > 100 {
				err = errors.New("it reads and reads")
			}
			return nil, none, err
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
				st, sent := serverBehind(1<<40).stream(t, domain.ID{1}, func(after int64) ([]domain.Event, domain.EventPlace, error) {
					time.Sleep(step)
					switch {
					case after == 400:
						end(st)
					case after > 700:
						return nil, domain.EventPlace{}, errors.New("it reads and reads")
					}
					latest = domain.NewID(time.Now())
					return nil, domain.EventPlace{Position: after + 1, ID: latest}, nil
				})
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

// Streams that are behind read one at a time of each account, and few of all, in turn: an account with many keeps out no
// other.
func TestStream_ReadInTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const accounts, many = 6, 20
		s := serverBehind(1000)
		reading, end := make(chan byte, accounts*many), make(chan struct{})
		var work sync.WaitGroup
		defer work.Wait()
		defer close(end)
		for account := range byte(accounts) {
			for range many {
				st, _ := s.stream(t, domain.ID{account + 1}, func(int64) (_ []domain.Event, none domain.EventPlace, err error) {
					reading <- account
					<-end
					return nil, none, nil
				})
				work.Go(func() {
					if _, _, err := st.read(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
			synctest.Wait() // so that all of this account are in line before the next one
		}
		for i := range accounts * many {
			synctest.Wait()
			if got, want := len(reading), min(catchingUp, accounts*many-i); got != want {
				t.Fatalf("%d read at the same time after %d, want %d", got, i, want)
			}
			var now []byte
			for range len(reading) {
				now = append(now, <-reading)
			}
			for k, account := range now { // those that began first are the first to end
				if want := byte((i + k) % accounts); account != want {
					t.Fatalf("after %d reads, %v read: want the accounts in turn", i, now)
				}
				reading <- account
			}
			<-reading
			end <- struct{}{}
		}
	})
}

// A stream that waits for its turn is alive meanwhile, ends with its client or the server, and then leaves its place to
// the others.
func TestStream_WaitsForItsTurn(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(*Server, context.CancelFunc){
		"client": func(_ *Server, cancel context.CancelFunc) { cancel() },
		"server": func(s *Server, _ context.CancelFunc) { s.Drain() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, end := serverBehind(7), make(chan struct{})
				slow, _ := s.stream(t, domain.ID{1}, func(int64) (_ []domain.Event, none domain.EventPlace, err error) {
					<-end
					return nil, none, nil
				})
				waits, sent := s.stream(t, domain.ID{1}, func(int64) (_ []domain.Event, none domain.EventPlace, err error) {
					return nil, none, errors.New("it reads though it has gone")
				})
				var work sync.WaitGroup
				work.Go(func() { _, _, _ = slow.read(t.Context()) })
				synctest.Wait()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					waits.run(ctx)
				}()
				time.Sleep(50 * time.Second)
				leave(s, cancel)
				if name == "server" { // it is noticed in turn
					close(end)
				}
				<-ended
				if n := strings.Count(sent.Body.String(), ": alive\n"); n != 3 {
					t.Errorf("%d heartbeats in %q", n, sent.Body)
				}
				if name == "client" {
					close(end)
				}
				work.Wait()
				if _, err := s.hub.turn(t.Context(), domain.ID{1}); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
