package webhook_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/webhook"
)

func TestClient_Try(t *testing.T) {
	t.Parallel()
	var got *http.Request
	var body []byte
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, "thanks")
	})
	e := newEvent(`{"name":"Loja <1> & \u2028"}`)
	a, err := newClient(t, webhook.NewURLPolicy(webhook.Loopback()...)).Try(t.Context(), newHook(server.URL+"/x?y=z"), e)
	if err != nil {
		t.Fatal(err)
	}
	if a.Failure != "" || a.StatusCode != 202 || string(a.Response) != "thanks" || a.Took <= 0 || time.Since(a.At) > time.Minute {
		t.Errorf("the attempt is %+v", a)
	}
	if want := domain.AppendEnvelope(nil, e); !bytes.Equal(body, want) {
		t.Errorf("sent %s, want %s", body, want)
	}
	header := map[string]string{}
	for name := range got.Header {
		header[name] = got.Header.Get(name)
	}
	for _, signed := range []string{"X-Enviaai-Signature", "Webhook-Signature", "Webhook-Timestamp"} {
		if header[signed] == "" {
			t.Errorf("no %s", signed)
		}
		delete(header, signed)
	}
	want := map[string]string{
		"Content-Length": fmt.Sprint(len(body)), "Content-Type": "application/json", "User-Agent": "Pombal-Webhooks/1",
		"Webhook-Id": e.ID.Prefixed(domain.PrefixEvent),
	}
	if diff := cmp.Diff(want, header); diff != "" || got.Method != http.MethodPost || got.RequestURI != "/x?y=z" {
		t.Errorf("sent %s %s (-want +got):\n%s", got.Method, got.RequestURI, diff)
	}
}

// The names of headers travel as they are documented: some receivers look for nothing else.
func TestClient_SpellsHeadersAsDocumented(t *testing.T) {
	t.Parallel()
	lines := make(chan string, 32)
	to := raw(t, func(conn net.Conn) {
		r := bufio.NewReader(conn)
		for {
			line, err := r.ReadString('\n')
			if line == "\r\n" || err != nil {
				break
			}
			lines <- line
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
	})
	if a, err := newClient(t, webhook.NewURLPolicy(webhook.Loopback()...)).Try(t.Context(), newHook(to), newEvent(`{}`)); err != nil || a.Failure != "" {
		t.Fatal(a, err)
	}
	close(lines)
	var all strings.Builder
	for line := range lines {
		all.WriteString(line)
	}
	for _, name := range []string{"\nX-EnviaAI-Signature: sha256=", "\nwebhook-id: evt_", "\nwebhook-timestamp: ", "\nwebhook-signature: v1,"} {
		if !strings.Contains(all.String(), name) {
			t.Errorf("no %q in\n%s", name, all.String())
		}
	}
}

// raw answers connections by hand.
func raw(t *testing.T, answer func(net.Conn)) (to string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			answer(conn)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return "http://" + l.Addr().String()
}

// says answers every request with the same bytes.
func says(t *testing.T, text string) (to string) {
	return raw(t, func(conn net.Conn) {
		_, _ = http.ReadRequest(bufio.NewReader(conn))
		_, _ = io.WriteString(conn, text)
	})
}

func TestClient_ClassifiesFailures(t *testing.T) {
	t.Parallel()
	reached := make(chan struct{}, 1)
	elsewhere := serve(t, func(http.ResponseWriter, *http.Request) { reached <- struct{}{} })
	refused := raw(t, func(net.Conn) {})
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	selfSigned := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(selfSigned.Close)
	tests := []struct {
		name, to string
		status   int
		want     domain.FailureCode
	}{
		{"500", says(t, "HTTP/1.1 500 No\r\nContent-Length: 4\r\n\r\noops"), 500, domain.FailureStatus},
		{"404 cut short", says(t, "HTTP/1.1 404 No\r\nContent-Length: 9\r\n\r\noops"), 404, domain.FailureStatus},
		{"200 cut short", says(t, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\noops"), 200, domain.FailureRefused},
		{"302", says(t, "HTTP/1.1 302 Found\r\nLocation: "+elsewhere.URL+"\r\nContent-Length: 0\r\n\r\n"), 302, domain.FailureRedirect},
		{"307", says(t, "HTTP/1.1 307 Elsewhere\r\nLocation: "+elsewhere.URL+"\r\nContent-Length: 0\r\n\r\n"), 307, domain.FailureRedirect},
		{"101", says(t, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"), 101, domain.FailureUnsupported},
		{"not HTTP", says(t, "220 mail.example.com ESMTP\r\n"), 0, domain.FailureUnsupported},
		{"HTTP/2", says(t, "\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64\x00\x04\r\n"), 0, domain.FailureUnsupported},
		{"long header", says(t, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 100<<10)+"\r\n\r\n"), 0, domain.FailureUnsupported},
		{"bad length", says(t, "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"), 0, domain.FailureUnsupported},
		{"bad chunk", says(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), 200, domain.FailureUnsupported},
		{"hangs up", refused, 0, domain.FailureRefused},
		{"nobody there", "http://" + closed.Addr().String(), 0, domain.FailureRefused},
		{"unknown certificate", selfSigned.URL, 0, domain.FailureTLS},
		{"no TLS", "https://" + strings.TrimPrefix(elsewhere.URL, "http://"), 0, domain.FailureTLS},
		{"blocked", "http://169.254.169.254/latest/meta-data", 0, domain.FailureBlocked},
		{"not a URL", "http://exa mple", 0, domain.FailureBlocked},
	}
	c := newClient(t, webhook.NewURLPolicy(webhook.Loopback()...))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a, err := c.Try(t.Context(), newHook(tt.to), newEvent(`{}`))
			if err != nil || a.Failure != tt.want || a.StatusCode != tt.status {
				t.Errorf("got %q with status %d (%v), want %q with %d", a.Failure, a.StatusCode, err, tt.want, tt.status)
			}
			select {
			case <-reached:
				t.Error("a redirect was followed")
			default:
			}
		})
	}
}

// The timeout is that of the whole exchange, however slowly an answer drips.
func TestClient_TimesOut(t *testing.T) {
	t.Parallel()
	end := make(chan struct{})
	drip := func(head string) func(net.Conn) {
		return func(conn net.Conn) {
			_, _ = http.ReadRequest(bufio.NewReader(conn))
			_, _ = io.WriteString(conn, head)
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-end:
					return
				case <-tick.C:
				}
				if _, err := io.WriteString(conn, "x"); err != nil {
					return
				}
			}
		}
	}
	tests := map[string]struct {
		head   string
		status int
	}{
		"says nothing":        {"", 0},
		"never ends headers":  {"HTTP/1.1 200 OK\r\nX-A: ", 0},
		"never ends its body": {"HTTP/1.1 200 OK\r\nContent-Length: 16000\r\n\r\n", 200},
	}
	t.Cleanup(func() { close(end) })
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hook := newHook(raw(t, drip(tt.head)))
			hook.Timeout = 300 * time.Millisecond
			begun := time.Now()
			a, err := newClient(t, webhook.NewURLPolicy(webhook.Loopback()...)).Try(t.Context(), hook, newEvent(`{}`))
			if name == "says nothing" && a.Failure == domain.FailureUnsupported {
				return // what it dripped was no HTTP
			}
			if err != nil || a.Failure != domain.FailureTimeout || a.StatusCode != tt.status {
				t.Errorf("got %+v, %v", a, err)
			}
			if took := time.Since(begun); took < hook.Timeout || took > 5*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

// A switch of protocols hands over a connection that no deadline ends.
func TestClient_DoesNotWaitForAnotherProtocol(t *testing.T) {
	t.Parallel()
	end := make(chan struct{})
	to := raw(t, func(conn net.Conn) {
		_, _ = http.ReadRequest(bufio.NewReader(conn))
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
		<-end
	})
	t.Cleanup(func() { close(end) })
	a, err := newClient(t, webhook.NewURLPolicy(webhook.Loopback()...)).Try(t.Context(), newHook(to), newEvent(`{}`))
	if err != nil || a.Failure != domain.FailureUnsupported || a.Took > time.Second {
		t.Errorf("got %+v, %v", a, err)
	}
}

func TestClient_ReadsLittle(t *testing.T) {
	t.Parallel()
	var sent atomic.Int64
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		chunk := bytes.Repeat([]byte("x"), 64<<10)
		for range 1024 {
			n, err := w.Write(chunk)
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
	a, err := newClient(t, webhook.NewURLPolicy(webhook.Loopback()...)).Try(t.Context(), newHook(server.URL), newEvent(`{}`))
	if err != nil || a.Failure != "" || len(a.Response) != domain.MaxAttemptResponse {
		t.Errorf("kept %d bytes of the answer; %q, %v", len(a.Response), a.Failure, err)
	}
	server.Close()
	if sent.Load() > 32<<20 {
		t.Errorf("%d bytes of the answer were taken", sent.Load())
	}
}

// An environment's proxy would hide from the guard whom is called.
func TestClient_KnowsNoProxyOfTheEnvironment(t *testing.T) {
	asked := make(chan struct{}, 8)
	proxy := serve(t, func(http.ResponseWriter, *http.Request) { asked <- struct{}{} })
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"} {
		t.Setenv(name, proxy.URL)
	}
	a, err := newClient(t, webhook.NewURLPolicy()).Try(t.Context(), newHook("http://10.0.0.1/"), newEvent(`{}`))
	if err != nil || a.Failure != domain.FailureBlocked || len(asked) > 0 {
		t.Errorf("got %+v, %v; the proxy was asked %d times", a, err, len(asked))
	}
}

// A receiver that ends idle connections costs nobody a retry.
func TestClient_UsesANewConnectionWhenAnOldOneIsGone(t *testing.T) {
	t.Parallel()
	var requests atomic.Int32
	to := raw(t, func(conn net.Conn) {
		r := bufio.NewReader(conn)
		if _, err := http.ReadRequest(r); err != nil {
			return
		}
		requests.Add(1)
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		// The next request on this connection is read, and the connection closed without an answer.
		if req, err := http.ReadRequest(r); err == nil {
			_, _ = io.Copy(io.Discard, req.Body)
		}
	})
	c := newClient(t, webhook.NewURLPolicy(webhook.Loopback()...))
	for i := range 3 {
		if a, err := c.Try(t.Context(), newHook(to), newEvent(`{}`)); err != nil || a.Failure != "" {
			t.Fatalf("attempt %d: %+v, %v", i, a, err)
		}
	}
	if n := requests.Load(); n != 3 {
		t.Errorf("%d requests were answered", n)
	}
}

func TestClient_ChargesNobodyForOurOwnTrouble(t *testing.T) {
	t.Parallel()
	server := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // until then the server does not see who hangs up
		<-r.Context().Done()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := newClient(t, webhook.NewURLPolicy(webhook.Loopback()...)).Try(ctx, newHook(server.URL), newEvent(`{}`)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the caller's own deadline says %v", err)
	}
	broken := webhook.NewClient(webhook.NewURLPolicy(webhook.Loopback()...), func(*domain.Webhook, []byte) ([]byte, error) {
		return nil, errors.New("sealed to somebody else")
	}, 8)
	if _, err := broken.Try(t.Context(), newHook(server.URL), newEvent(`{}`)); err == nil {
		t.Error("a secret that does not open is not reported")
	}
}
