package app_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pombal-api/pombal/internal/testkit"
	"github.com/pombal-api/pombal/internal/testkit/apitest"
	"github.com/pombal-api/pombal/pkg/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// soak returns long in `make soak` and short otherwise.
func soak(short, long int) int {
	if os.Getenv("POMBAL_SOAK") != "" {
		return long
	}
	return short
}

// eventually tries until try succeeds, and fails with its last error when that takes longer than within.
func eventually(tb testing.TB, within time.Duration, try func() error) {
	tb.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(within); ; {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("still after %v: %v", within, err)
		}
		<-tick.C
	}
}

// postgres is the engine that several nodes can share.
func postgres(tb testing.TB) testkit.Engine {
	tb.Helper()
	for _, engine := range testkit.Engines() {
		if engine.Name == "postgres" {
			return engine
		}
	}
	tb.Fatal("there is no engine named postgres")
	return testkit.Engine{}
}

// request is an HTTP request to send. Header lists names and values in turn.
type request struct {
	method, path, body string
	header             []string
}

// bearer returns the header of a key or token.
func bearer(credential string) []string { return []string{"Authorization", "Bearer " + credential} }

// reply is an answer, read to its end.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// send sends r to the server at base and reads the answer.
func send(ctx context.Context, client *http.Client, base string, r request) (reply, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, base+r.path, strings.NewReader(r.body))
	if err != nil {
		return reply{}, err
	}
	if r.body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(r.header); i += 2 {
		req.Header.Set(r.header[i], r.header[i+1])
	}
	res, err := client.Do(req)
	if err != nil {
		return reply{}, err
	}
	body, err := io.ReadAll(res.Body)
	return reply{res.StatusCode, res.Header, body}, errors.Join(err, res.Body.Close())
}

// mustSend is send for requests that must be answered, whatever the answer is.
func mustSend(tb testing.TB, client *http.Client, base string, r request) reply {
	tb.Helper()
	got, err := send(tb.Context(), client, base, r)
	if err != nil {
		tb.Fatalf("%s %s: %v", r.method, r.path, err)
	}
	return got
}

// clientOf is the SDK on a node with a credential, without retries.
func clientOf(tb testing.TB, s *apitest.Server, credential string) *api.Client {
	tb.Helper()
	return (&apitest.Tenant{Server: s}).Client(tb, credential)
}

// listOnce asks for one instance: the cheapest call that needs the caller and the database.
func listOnce(ctx context.Context, c *api.Client) error {
	_, err := c.Instances.List(ctx, api.ListInstancesParams{Limit: 1})
	return err
}

// plainClient is a client without the contract harness, for what no document describes and for numbers.
func plainClient(tb testing.TB) *http.Client {
	tb.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	tb.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 30 * time.Second}
}

// series reads /metrics and returns the value of every series by its name with labels.
func series(tb testing.TB, client *http.Client, adminURL string) map[string]string {
	tb.Helper()
	got := mustSend(tb, client, adminURL, request{method: http.MethodGet, path: "/metrics"})
	if got.status != http.StatusOK {
		tb.Fatalf("/metrics answered %d: %s", got.status, got.body)
	}
	values := map[string]string{}
	for line := range bytes.Lines(got.body) {
		text := strings.TrimSpace(string(line))
		if at := strings.LastIndexByte(text, ' '); at > 0 && !strings.HasPrefix(text, "#") {
			values[text[:at]] = text[at+1:]
		}
	}
	return values
}

// allAnswered waits until the node works on no request any more.
func allAnswered(tb testing.TB, s *apitest.Server) {
	tb.Helper()
	client := plainClient(tb)
	eventually(tb, 20*time.Second, func() error {
		const gauge = "pombal_http_requests_in_flight"
		if n := series(tb, client, s.AdminURL)[gauge]; n != "0" {
			return fmt.Errorf("%s is %s", gauge, n)
		}
		return nil
	})
}
