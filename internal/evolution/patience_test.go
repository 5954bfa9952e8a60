package evolution_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a network within the process, which the fake clock of a test rules too.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	close(p.closed)
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	p.conns <- server
	return client, nil
}

// ask sends one list call through a network within the process and returns the answer, its body unread.
func ask(t *testing.T, w *world) *http.Response {
	t.Helper()
	network := &pipes{conns: make(chan net.Conn, 1), closed: make(chan struct{})}
	srv := &http.Server{Handler: w.handler(), ReadHeaderTimeout: time.Minute}
	stopped := make(chan error, 1)
	go func() { stopped <- srv.Serve(network) }()
	transport := &http.Transport{DialContext: network.dial}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://pombal/instance/fetchInstances", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("apikey", theKey)
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = res.Body.Close()
		transport.CloseIdleConnections()
		_ = srv.Close()
		if err := <-stopped; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return res
}

// A database that hangs must not hold the caller for ever, at the start or later.
func TestFetchInstances_TheDatabaseHangs(t *testing.T) {
	t.Parallel()
	for name, after := range map[string]int{"at once": 0, "after some": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				res := ask(t, newWorld(&hanging{account: four(), after: after}))
				body, err := io.ReadAll(res.Body)
				if err != nil {
					t.Fatal(err)
				}
				answer{res.StatusCode, res.Header, string(body)}.wantError(t, http.StatusServiceUnavailable)
				if res.Header.Get("Retry-After") == "" || time.Since(start) != 10*time.Second {
					t.Errorf("Retry-After %q after %v", res.Header.Get("Retry-After"), time.Since(start))
				}
			})
		})
	}
}

// A reader may take its time: that is not the database's fault.
func TestFetchInstances_ASlowReader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(many(1_000))
		res := ask(t, w)
		var body []byte
		part := make([]byte, 10_000)
		for {
			n, err := io.ReadFull(res.Body, part)
			body = append(body, part[:n]...)
			if err != nil {
				break
			}
			time.Sleep(5 * time.Second)
		}
		if !json.Valid(body) {
			t.Errorf("%d bytes that are no list; failures: %v", len(body), w.failures())
		}
	})
}

// A reader that stops reading must not hold the stream, and what that holds, for ever.
func TestFetchInstances_AReaderThatStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		over := make(chan struct{})
		w := newWorld(&finishing{account: many(1 << 30), done: func() { close(over) }})
		start := time.Now()
		res := ask(t, w)
		<-over
		if waited := time.Since(start); waited > time.Minute {
			t.Errorf("the stream waited for %v", waited)
		}
		if body, err := io.ReadAll(res.Body); err == nil {
			t.Errorf("%d bytes look like a whole answer", len(body))
		}
		if f := w.failures(); len(f) != 0 {
			t.Errorf("reported as our failure: %v", f)
		}
	})
}
