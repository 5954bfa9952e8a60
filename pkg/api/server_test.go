package api_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/pombal-api/pombal/pkg/api"
)

const (
	emptyPage = `{"success":true,"data":[],"pagination":{"total":0,"limit":50,"offset":0,"hasMore":false,"nextCursor":null}}`
	oneObject = `{"success":true,"data":{}}`
)

// reply is what the fake server says to one try.
type reply struct {
	status int // 0 cuts the connection
	header map[string]string
	body   string
}

// failing is an answer with the API's error body.
func failing(status int, code string, header ...string) reply {
	r := reply{status: status, header: map[string]string{}, body: fmt.Sprintf(`{"success":false,"error":{"code":%q,"message":"No.","requestId":"req_1"}}`, code)}
	for i := 0; i+1 < len(header); i += 2 {
		r.header[header[i]] = header[i+1]
	}
	return r
}

// server answers with its replies, one after the other, the last one for ever,
// and keeps the requests.
type server struct {
	*httptest.Server
	mu       sync.Mutex
	requests []*http.Request
	waits    []time.Duration
}

func newServer(t *testing.T, replies ...reply) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		answer := replies[min(len(s.requests), len(replies)-1)]
		s.requests = append(s.requests, r)
		s.mu.Unlock()
		if answer.status == 0 {
			panic(http.ErrAbortHandler) //nolint:forbidigo // net/http documents it as the way to cut a connection
		}
		for name, value := range answer.header {
			w.Header().Set(name, value)
		}
		w.WriteHeader(answer.status)
		_, _ = w.Write([]byte(answer.body))
	}))
	t.Cleanup(s.Close)
	return s
}

// client returns a client of s that notes its waits instead of waiting.
func (s *server) client(t *testing.T, opts ...api.Option) *api.Client {
	t.Helper()
	c, err := api.NewClient(s.URL, "pmb_test", opts...)
	if err != nil {
		t.Fatal(err)
	}
	api.SetSleep(c, func(ctx context.Context, d time.Duration) error {
		s.waits = append(s.waits, d)
		return ctx.Err()
	})
	return c
}

func list(ctx context.Context, c *api.Client) error {
	_, err := c.Instances.List(ctx, api.ListInstancesParams{})
	return err
}

func create(ctx context.Context, c *api.Client) error {
	_, err := c.Instances.Create(ctx, api.CreateInstance{Name: "a"})
	return err
}

func createWithoutKey(ctx context.Context, c *api.Client) error {
	_, err := c.Instances.Create(ctx, api.CreateInstance{Name: "a"}, api.WithIdempotencyKey(""))
	return err
}
