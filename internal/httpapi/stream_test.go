package httpapi

import (
	"net/http"
	"net/http/httptest"
	"testing"
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
