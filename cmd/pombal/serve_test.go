package main

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/testkit"
	"github.com/pombal-api/pombal/pkg/api"
)

func TestServeNeedsAGoodSecret(t *testing.T) {
	t.Parallel()
	weak := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("secret!", 6)))
	for name, secret := range map[string]string{
		"missing": "", "a word": "changeme", "short": base64.StdEncoding.EncodeToString([]byte("too short for it")),
		"a pattern": weak, "not base64": "what people type when they are asked for 32 bytes!!",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &site{testkit.Database{Dir: t.TempDir()}, secret}
			p := start(t, s.env(), "serve")
			if code := p.exitCode(t); code != 1 {
				t.Errorf("the exit code is %d", code)
			}
			text := p.log.String()
			for _, part := range []string{"POMBAL_SECRET", "openssl rand -base64 32"} {
				if !strings.Contains(text, part) {
					t.Errorf("says %q, which lacks %q", text, part)
				}
			}
			if len(secret) > 0 && strings.Contains(text, secret) {
				t.Errorf("shows the secret: %s", text)
			}
		})
	}
}

func TestServeNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	used, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = used.Close() })
	for name, c := range map[string]struct {
		env []string
		say []string
	}{
		"plans":         {[]string{`POMBAL_PLANS=[{"name":`}, []string{"POMBAL_PLANS", "JSON"}},
		"plans no list": {[]string{`POMBAL_PLANS={"name":"free"}`}, []string{"POMBAL_PLANS"}},
		"plans field":   {[]string{`POMBAL_PLANS=[{"name":"free","requestsPerMinutes":5}]`}, []string{"POMBAL_PLANS", "requestsPerMinutes"}},
		"plans rest":    {[]string{`POMBAL_PLANS=[] []`}, []string{"POMBAL_PLANS"}},
		"plans twice":   {[]string{`POMBAL_PLANS=[{"name":"free","requestsPerMinute":5},{"name":"free","requestsPerMinute":6}]`}, []string{"POMBAL_PLANS", "same name"}},
		"no free plan":  {[]string{`POMBAL_PLANS=[{"name":"gold","requestsPerMinute":5}]`}, []string{"POMBAL_PLANS", `"free"`}},
		"no limit":      {[]string{`POMBAL_PLANS=[{"name":"free"}]`}, []string{"POMBAL_PLANS", `"free"`, "requestsPerMinute"}},
		"origins":       {[]string{"POMBAL_ALLOWED_ORIGINS=app.example.com"}, []string{"POMBAL_ALLOWED_ORIGINS", "app.example.com"}},
		"public URL":    {[]string{"POMBAL_PUBLIC_URL=api.example.com"}, []string{"POMBAL_PUBLIC_URL", "api.example.com"}},
		"timeout":       {[]string{"POMBAL_REQUEST_TIMEOUT=ten seconds"}, []string{"POMBAL_REQUEST_TIMEOUT"}},
		"log level":     {[]string{"POMBAL_LOG_LEVEL=LOUD"}, []string{"POMBAL_LOG_LEVEL", "LOUD"}},
		"addr":          {[]string{"POMBAL_ADDR=" + used.Addr().String()}, []string{"cannot listen on " + used.Addr().String(), "in use"}},
		"admin addr":    {[]string{"POMBAL_ADMIN_ADDR=nowhere"}, []string{"cannot listen on nowhere"}},
		"database":      {[]string{"POMBAL_DATABASE_URL=postgres://me:pass-of-mine@127.0.0.1:1/x"}, []string{"127.0.0.1:1", "database"}},
		"database URL":  {[]string{"POMBAL_DATABASE_URL=mysql://me:pass-of-mine@127.0.0.1:1/x"}, []string{"database URL"}},
		"database text": {[]string{"POMBAL_DATABASE_URL=postgres://me:pass-of-mine@127.0.0.1:port/x"}, []string{"database URL"}},
		"data dir":      {[]string{"POMBAL_DATA_DIR=/dev/null/x"}, []string{"data directory", "/dev/null"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(testkit.Database{Dir: t.TempDir()})
			p := start(t, s.env(c.env...), "serve")
			if code := p.exitCode(t); code != 1 {
				t.Errorf("the exit code is %d", code)
			}
			checkRefused(t, name, p.stdout.String(), errors.New(p.log.String()), c.say...)
			for _, secret := range []string{"pass-of-mine", s.secret} {
				if strings.Contains(p.log.String(), secret) {
					t.Errorf("%s: shows a secret: %s", name, p.log)
				}
			}
		})
	}
}

// TestServeDrains sends SIGTERM while a request is half sent: it must be answered, /readyz must fail
// before the port closes, and the process must end well.
func TestServeDrains(t *testing.T) {
	t.Parallel()
	for _, engine := range testkit.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			s := newSite(engine.New(t))
			_, key := s.newKey(t)
			p := s.serve(t, "POMBAL_DRAIN_DELAY=2s")
			finish := beginCreate(t, p, key)

			p.terminate(t)
			c := client(t)
			ready := func(base string) func() error {
				return func() error {
					status, answer, err := call(t, c, http.MethodGet, base+"/readyz", "")
					if err == nil && (status != http.StatusServiceUnavailable || !strings.Contains(answer, "shutting down")) {
						err = fmt.Errorf("/readyz answers %d: %s", status, answer)
					}
					return err
				}
			}
			eventually(t, 1800*time.Millisecond, ready(p.url))
			eventually(t, 1800*time.Millisecond, ready(p.admin))
			mustCall(t, c, http.StatusOK, http.MethodGet, p.url+"/v1/instances", "", "Authorization", "Bearer "+key) // until load balancers have noticed
			eventually(t, 10*time.Second, func() error { return closed(p.url) })
			finish()
			if code := p.exitCode(t); code != 0 {
				t.Errorf("the exit code is %d", code)
			}

			page, err := sdk(t, s.serve(t), key).Instances.List(t.Context(), api.ListInstancesParams{})
			if err != nil || len(page.Data) != 1 || page.Data[0].Name != "in flight" {
				t.Errorf("what was created last is not there: %v", err)
			}
		})
	}
}

// beginCreate sends the first half of a creating request. The returned function sends the rest and holds
// that it is answered.
func beginCreate(t *testing.T, p *process, key string) (finish func()) {
	t.Helper()
	const body = `{"name":"in flight"}`
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_, err = fmt.Fprintf(conn, "POST /v1/instances HTTP/1.1\r\nHost: pombal\r\nAuthorization: Bearer %s\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", key, len(body), body[:5])
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, func() error { // it has been taken in hand
		metrics := mustCall(t, client(t), http.StatusOK, http.MethodGet, p.admin+"/metrics", "")
		if !strings.Contains(metrics, "pombal_http_requests_in_flight 1\n") {
			return errors.New("the request is not in flight")
		}
		return nil
	})
	return func() {
		t.Helper()
		if _, err := io.WriteString(conn, body[5:]); err != nil {
			t.Error(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Errorf("the request in flight was cut off: %v", err)
			return
		}
		defer func() { _ = res.Body.Close() }()
		if text, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusCreated {
			t.Errorf("the request in flight was answered %d: %s", res.StatusCode, text)
		}
	}
}

// closed returns nil when nobody listens at the address any more.
func closed(url string) error {
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		return nil
	}
	return errors.Join(conn.Close(), errors.New("the port is still open"))
}

// TestServeCutsOffWhoNeverFinishes holds that a client that stalls cannot keep a server from ending.
func TestServeCutsOffWhoNeverFinishes(t *testing.T) {
	t.Parallel()
	s := newSite(testkit.Database{Dir: t.TempDir()})
	_, key := s.newKey(t)
	p := s.serve(t, "POMBAL_SHUTDOWN_GRACE=200ms")
	beginCreate(t, p, key)
	p.stop(t)
	if !strings.Contains(p.log.String(), "requests were cut off") {
		t.Errorf("its log does not say so: %s", p.log)
	}
}

func TestHealthcheck(t *testing.T) {
	t.Parallel()
	p := newSite(testkit.Database{Dir: t.TempDir()}).serve(t)
	for _, base := range []string{p.url, p.admin} {
		if out, _, err := runHere(t.Context(), "healthcheck", "--url", base+"/readyz"); err != nil || out != "" {
			t.Errorf("%s is called unhealthy: %v %q", base, err, out)
		}
	}
	p.stop(t)
	out, _, err := runHere(t.Context(), "healthcheck", "--url", p.url+"/readyz")
	checkRefused(t, "stopped", out, err, p.url)
	http503 := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = http503.Serve(l) }() // ended by Close below
	defer func() { _ = http503.Close() }()
	out, _, err = runHere(t.Context(), "healthcheck", "--url", "http://"+l.Addr().String()+"/readyz")
	checkRefused(t, "not ready", out, err, "503")
}
