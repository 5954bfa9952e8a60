package httpapi_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/testkit/apitest"
)

// TestRawRequests says over a bare connection what no HTTP client says. Whatever the server answers, if
// anything, it is no 500, it changes nothing, and the server lives on.
func TestRawRequests(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		w := newWorld(t, s)
		lists := newWatch(func() map[string]any { return w.state(t) })
		head := func(more string) string {
			return "POST /v1/instances HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + w.Key + "\r\nContent-Type: application/json\r\n" + more + "\r\n"
		}
		const body = `{"name":"raw"}`
		for name, raw := range map[string]string{
			"body shorter than announced":   head("Content-Length: 100\r\n") + body,
			"no body at all":                head("Content-Length: 100\r\n"),
			"1 GB announced":                head("Content-Length: 1073741824\r\n") + body,
			"length beyond 64 bits":         head("Content-Length: 99999999999999999999\r\n") + body,
			"negative length":               head("Content-Length: -1\r\n") + body,
			"length no number":              head("Content-Length: ten\r\n") + body,
			"two lengths":                   head("Content-Length: 14\r\nContent-Length: 10\r\n") + body,
			"length and chunks":             head("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n",
			"chunk cut off":                 head("Transfer-Encoding: chunked\r\n") + "e\r\n" + body[:5],
			"last chunk missing":            head("Transfer-Encoding: chunked\r\n") + "e\r\n" + body + "\r\n",
			"chunk of no size":              head("Transfer-Encoding: chunked\r\n") + "zz\r\n" + body + "\r\n0\r\n\r\n",
			"chunk of a huge size":          head("Transfer-Encoding: chunked\r\n") + "ffffffffffffffff\r\n" + body,
			"unknown transfer encoding":     head("Transfer-Encoding: gzip\r\nContent-Length: 14\r\n") + body,
			"unknown expectation":           head("Expect: the-unexpected\r\nContent-Length: 100\r\n") + body,
			"continue, then nothing":        head("Expect: 100-continue\r\nContent-Length: 14\r\n"),
			"64 KB header":                  head("X-Long: " + strings.Repeat("a", 64<<10) + "\r\nContent-Length: 14\r\n"),
			"5,000 headers":                 head(strings.Repeat("X-Many: a\r\n", 5000) + "Content-Length: 14\r\n"),
			"header without a name":         head(": a\r\nContent-Length: 14\r\n") + body,
			"header without a colon":        head("NoColon\r\nContent-Length: 14\r\n") + body,
			"space before the colon":        head("X-Space : a\r\nContent-Length: 14\r\n") + body,
			"folded header":                 head("X-Folded: a\r\n b\r\nContent-Length: 100\r\n") + body,
			"NUL in a header":               head("X-Nul: a\x00b\r\nContent-Length: 14\r\n") + body,
			"NUL in X-Account-Id":           head("X-Account-Id: acct_\x00\r\nContent-Length: 14\r\n") + body,
			"bytes in X-Account-Id":         head("X-Account-Id: \xff\xfe\r\nContent-Length: 14\r\n") + body,
			"bytes in X-Request-Id":         head("X-Request-Id: \xff\"}\r\nIdempotency-Key: \xff\r\nContent-Length: 14\r\n") + body,
			"bytes in If-None-Match":        "GET /v1/instances HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + w.Key + "\r\nIf-None-Match: \xff\"\r\nConnection: close\r\n\r\n",
			"bytes in Origin":               "GET /v1/instances HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + w.Key + "\r\nOrigin: \xff\r\nConnection: close\r\n\r\n",
			"preflight of bytes":            "OPTIONS /v1/instances HTTP/1.1\r\nHost: x\r\nOrigin: \xff\xfe\r\nAccess-Control-Request-Method: \xff\r\nConnection: close\r\n\r\n",
			"preflight of 20 KB":            "OPTIONS /v1/instances HTTP/1.1\r\nHost: x\r\nOrigin: https://" + strings.Repeat("a", 20<<10) + "\r\nAccess-Control-Request-Method: GET\r\nConnection: close\r\n\r\n",
			"preflight without a method":    "OPTIONS /v1/instances HTTP/1.1\r\nHost: x\r\nOrigin: https://a.example.com\r\nConnection: close\r\n\r\n",
			"no Host":                       "GET /v1/instances HTTP/1.1\r\n\r\n",
			"two Hosts":                     "GET /v1/instances HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
			"Host of bytes":                 "GET /instance/fetchInstances HTTP/1.1\r\nHost: \xff<>\"\r\napikey: " + w.Key + "\r\nConnection: close\r\n\r\n",
			"no path":                       "GET  HTTP/1.1\r\nHost: x\r\n\r\n",
			"path without a slash":          "GET v1/instances HTTP/1.1\r\nHost: x\r\n\r\n",
			"star":                          "GET * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
			"star of OPTIONS":               "OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
			"absolute URL":                  "GET http://elsewhere/v1/instances HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
			"CONNECT":                       "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\nConnection: close\r\n\r\n",
			"bytes in the path":             "GET /v1/\xff\xfe HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
			"bad escape in the path":        "GET /v1/%zz HTTP/1.1\r\nHost: x\r\n\r\n",
			"bytes in the query":            "GET /v1/instances?limit=\xff&\xff=1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + w.Key + "\r\nConnection: close\r\n\r\n",
			"30 KB query":                   "GET /v1/instances?search=" + strings.Repeat("a", 30<<10) + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
			"10,000 parameters":             "GET /v1/instances?" + strings.Repeat("a&", 10_000) + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + w.Key + "\r\nConnection: close\r\n\r\n",
			"64 KB path":                    "GET /" + strings.Repeat("a", 64<<10) + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
			"HTTP/1.0":                      "GET /v1/instances HTTP/1.0\r\n\r\n",
			"HTTP/0.9":                      "GET /v1/instances\r\n",
			"HTTP/9.9":                      "GET /v1/instances HTTP/9.9\r\nHost: x\r\n\r\n",
			"HTTP/2 in the clear":           "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
			"method of bytes":               "G\xffT /v1/instances HTTP/1.1\r\nHost: x\r\n\r\n",
			"32 KB method":                  strings.Repeat("A", 32<<10) + " /v1/instances HTTP/1.1\r\nHost: x\r\n\r\n",
			"TLS":                           "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
			"noise":                         "\x00\xff\r\n\r\n\r\n",
			"nothing":                       "",
			"line breaks":                   strings.Repeat("\r\n", 1000),
			"upgrade":                       "GET /v1/instances HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
			"range":                         "GET /openapi.yaml HTTP/1.1\r\nHost: x\r\nRange: bytes=9999999-,-1,a\r\nConnection: close\r\n\r\n",
			"range of the page":             "GET /docs HTTP/1.1\r\nHost: x\r\nRange: bytes=99999999999-\r\nConnection: close\r\n\r\n",
			"dates of bytes":                "GET /docs HTTP/1.1\r\nHost: x\r\nIf-Modified-Since: \xff\r\nIf-Range: \xff\r\nConnection: close\r\n\r\n",
			"asset outside":                 "GET /docs/assets/../../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
			"request inside a refused body": head("Content-Length: 10\r\nContent-Type: text/plain\r\n") + "0123456789" + "DELETE /v1/instances/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		} {
			t.Run(name, func(t *testing.T) {
				statuses := say(t, s, raw)
				if len(statuses) == 0 && raw != "" {
					t.Error("there was no answer")
				}
				for _, status := range statuses {
					if status == http.StatusInternalServerError || status/100 == 2 && strings.HasPrefix(raw, "POST") {
						t.Errorf("answered %d", status)
					}
				}
			})
		}
		lists.unchanged(t)
		if a := newAsker(t, s).do(t, "GET", "/livez", nil); a.Status != http.StatusOK {
			t.Errorf("afterwards /livez answers %d", a.Status)
		}
	})
}

// say sends raw bytes, closes its own direction, and returns the statuses of all answers.
func say(t *testing.T, s *apitest.Server, raw string) (statuses []int) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second)) // TCP has deadlines
	// The server may hang up before it has heard everything: then it has answered, or wants no more.
	_, _ = io.WriteString(conn, raw)
	_ = conn.(*net.TCPConn).CloseWrite()
	all, err := io.ReadAll(conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the server neither answered nor hung up: %q", all)
	}
	for line := range strings.Lines(string(all)) {
		var minor, status int
		if _, err := fmt.Sscanf(line, "HTTP/1.%d %d", &minor, &status); err == nil {
			statuses = append(statuses, status)
		}
	}
	return statuses
}

// A client that hangs up in the middle costs nothing but its own request.
func TestHangingUp(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		w := newWorld(t, s)
		for i := range 200 {
			conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			writer := bufio.NewWriter(conn)
			_, _ = fmt.Fprintf(writer, "GET /v1/instances?limit=%d HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", i%100+1, w.Key)
			_ = writer.Flush()
			_ = conn.(*net.TCPConn).SetLinger(0) // a reset, not a good-bye
			_ = conn.Close()
		}
		started := time.Now()
		w.do(t, "GET", "/v1/instances", nil).decode(t, new(any))
		if took := time.Since(started); took > 5*time.Second {
			t.Errorf("the next client waited %s", took)
		}
	})
}
