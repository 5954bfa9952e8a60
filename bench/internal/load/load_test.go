package load_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pombal-api/pombal/bench/internal/load"
)

// generatorVar makes the test binary a load generator.
const generatorVar = "POMBAL_BENCH_GENERATOR"

func TestMain(m *testing.M) {
	if os.Getenv(generatorVar) == "" {
		os.Exit(m.Run())
	}
	if err := load.Serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func startGenerator(t *testing.T) *load.Generator {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the generator runs on Linux only")
	}
	cmd := exec.Command(os.Args[0]) // ends by Close, after the context of the test
	cmd.Env = append(os.Environ(), generatorVar+"=1")
	cmd.Stderr = os.Stderr
	g, err := load.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

func request(path string) []byte {
	return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
}

func TestGeneratorCountsAnswers(t *testing.T) {
	t.Parallel()
	var answered atomic.Int64
	body := strings.Repeat("x", 100_000) // more than one read
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answered.Add(1)
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	g := startGenerator(t)
	for _, conns := range []int{1, 8} {
		job := load.Job{
			Addr: server.Listener.Addr().String(), Conns: conns, Duration: 100 * time.Millisecond, Server: os.Getpid(),
			Requests: []load.Request{{Raw: request("/a"), Length: len(body)}, {Raw: request("/b"), Length: len(body)}},
		}
		got, err := g.Run(t.Context(), job)
		if err != nil {
			t.Fatal(err)
		}
		if got.Requests < 1 || int64(got.Requests) > answered.Swap(0) {
			t.Errorf("%d connections counted %d requests", conns, got.Requests)
		}
		if got.Seconds < 0.1 || got.P50Micros <= 0 || got.P99Micros < got.P50Micros {
			t.Errorf("%+v", got)
		}
	}
}

func TestGeneratorStopsAtWrongAnswers(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/missing" {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = io.WriteString(w, "hello")
	}))
	t.Cleanup(server.Close)
	g := startGenerator(t)
	for want, req := range map[string]load.Request{
		"404":     {Raw: request("/missing")},
		"5 bytes": {Raw: request("/"), Length: 6},
	} {
		_, err := g.Run(t.Context(), load.Job{
			Addr: server.Listener.Addr().String(), Conns: 2, Duration: time.Second, Requests: []load.Request{req},
		})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, not one with %q", err, want)
		}
	}
	if _, err := g.Run(t.Context(), load.Job{Addr: "192.0.2.1:80", Conns: 1, Requests: []load.Request{{Raw: request("/")}}}); err == nil ||
		!strings.Contains(err.Error(), "not this machine") {
		t.Errorf("asking another machine gives %v", err)
	}
}
