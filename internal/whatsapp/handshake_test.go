package whatsapp_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/pombal-api/pombal/internal/domain"
)

// mute is a server that takes WebSockets and never says anything. It hangs up when told so.
func mute(t *testing.T, hangUp bool) (h *host, reached <-chan struct{}) {
	t.Helper()
	seen := make(chan struct{}, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			return
		}
		defer func() { _ = c.CloseNow() }()
		_, _, err = c.Read(r.Context())
		seen <- struct{}{}
		for !hangUp && err == nil {
			_, _, err = c.Read(r.Context())
		}
	}))
	t.Cleanup(s.Close)
	return &host{addr: strings.TrimPrefix(s.URL, "http://")}, seen
}

func TestHandshakeThatHangs(t *testing.T) {
	t.Parallel()
	h, reached := mute(t, false)
	l := open(t, h.newSQLiteDriver(t), target(""))
	select {
	case <-reached:
	case <-soon(t).Done():
		t.Fatal("the server is not reached")
	}
	began := time.Now()
	l.Close()
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("closing took %s: the library waits for an answer for 20 s", took)
	}
}

func TestHandshakeThatIsCut(t *testing.T) {
	t.Parallel()
	h, _ := mute(t, true)
	began := time.Now()
	if e := open(t, h.newSQLiteDriver(t), target("")).await(t, domain.LinkDown); e.Reason != domain.ReasonServerUnreachable {
		t.Errorf("down: %+v", e)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %s: the library waits for an answer for 20 s", took)
	}
}

// TestCloseAtOnce closes links at every moment of their first steps. What is left over then is found at the end of
// the tests.
func TestCloseAtOnce(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	d := h.newSQLiteDriver(t)
	for i := range 60 {
		l := open(t, d, target(""))
		wait := time.NewTimer(time.Duration(i) * 200 * time.Microsecond)
		<-wait.C
		began := time.Now()
		l.Close()
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("closing took %s: the library waits for an answer for 20 s", took)
		}
	}
}
