package api_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pombal-api/pombal/pkg/api"
)

func TestClient_Retries(t *testing.T) {
	t.Parallel()
	ok := reply{status: 200, body: emptyPage}
	tests := []struct {
		name    string
		replies []reply
		call    func(context.Context, *api.Client) error
		retries int
		tries   int
		waits   []time.Duration // -1 for any backoff
		code    api.ErrorCode
		fails   bool
	}{
		{name: "success", replies: []reply{ok}, call: list, retries: 2, tries: 1},
		{name: "429 with Retry-After", replies: []reply{failing(429, "rate_limit_exceeded", "Retry-After", "42"), ok}, call: list, retries: 2, tries: 2, waits: []time.Duration{42 * time.Second}},
		{name: "503 without", replies: []reply{failing(503, "unavailable"), ok}, call: list, retries: 2, tries: 2, waits: []time.Duration{-1}},
		{name: "500, 502, 504 and success", replies: []reply{failing(500, "internal_error"), {status: 502}, {status: 504}, ok}, call: list, retries: 3, tries: 4, waits: []time.Duration{-1, -1, -1}},
		{name: "connection cut", replies: []reply{{}, ok}, call: list, retries: 2, tries: 2, waits: []time.Duration{-1}},
		{name: "answer cut", replies: []reply{{status: 200, header: map[string]string{"Content-Length": "5000"}, body: "{"}, ok}, call: list, retries: 2, tries: 2, waits: []time.Duration{-1}},
		{name: "gives up", replies: []reply{failing(503, "unavailable", "Retry-After", "1")}, call: list, retries: 2, tries: 3, waits: []time.Duration{time.Second, time.Second}, code: "unavailable", fails: true},
		{name: "no retries wanted", replies: []reply{failing(503, "unavailable"), ok}, call: list, tries: 1, code: "unavailable", fails: true},
		{name: "too long a wait", replies: []reply{failing(429, "rate_limit_exceeded", "Retry-After", "3600"), ok}, call: list, retries: 2, tries: 1, code: "rate_limit_exceeded", fails: true},
		{name: "4xx is final", replies: []reply{failing(400, "invalid_parameters"), ok}, call: list, retries: 2, tries: 1, code: "invalid_parameters", fails: true},
		{name: "409 is final", replies: []reply{failing(409, "external_id_in_use"), ok}, call: create, retries: 2, tries: 1, code: "external_id_in_use", fails: true},
		{name: "own first try still runs", replies: []reply{failing(409, "idempotency_in_progress", "Retry-After", "1"), {status: 201, body: oneObject}}, call: create, retries: 2, tries: 2, waits: []time.Duration{time.Second}},
		{name: "creating is repeated", replies: []reply{{}, {status: 502}, {status: 201, body: oneObject}}, call: create, retries: 2, tries: 3, waits: []time.Duration{-1, -1}},
		{name: "creating without key is not", replies: []reply{failing(503, "unavailable"), {status: 201, body: oneObject}}, call: createWithoutKey, retries: 2, tries: 1, code: "unavailable", fails: true},
		{name: "success that is no JSON is final", replies: []reply{{status: 200, body: "<html>"}, ok}, call: list, retries: 2, tries: 1, fails: true},
		{name: "huge answer is final", replies: []reply{{status: 200, body: strings.Repeat(" ", 16<<20+1)}, ok}, call: list, retries: 2, tries: 1, fails: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, tt.replies...)
			// Without kept connections net/http itself repeats nothing.
			hc := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			err := tt.call(t.Context(), s.client(t, api.WithMaxRetries(tt.retries), api.WithHTTPClient(hc)))
			if (err != nil) != tt.fails || api.CodeOf(err) != tt.code {
				t.Errorf("error %v, want failure %v with code %q", err, tt.fails, tt.code)
			}
			if len(s.requests) != tt.tries {
				t.Errorf("%d tries, want %d", len(s.requests), tt.tries)
			}
			wantWaits(t, s.waits, tt.waits)
		})
	}
}

// wantWaits compares waits; -1 stands for what the backoff says for that try.
func wantWaits(t *testing.T, got, want []time.Duration) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("waits %v, want %v", got, want)
	}
	for i, w := range want {
		if w >= 0 && got[i] != w {
			t.Errorf("wait %d is %v, want %v", i, got[i], w)
		}
		if low := 500 * time.Millisecond << i; w < 0 && (got[i] < low || got[i] > 2*low) {
			t.Errorf("wait %d is %v, want %v and up to half more", i, got[i], low)
		}
	}
}

func TestBackoff_GrowsToItsCap(t *testing.T) {
	t.Parallel()
	for try := range 100 {
		got := api.Backoff(try)
		low := min(500*time.Millisecond<<min(try, 10), 5*time.Second)
		if got < low || got > 5*time.Second {
			t.Errorf("try %d: %v, want %v to 5s", try, got, low)
		}
	}
}

func TestClient_IdempotencyKey(t *testing.T) {
	t.Parallel()
	s := newServer(t, failing(503, "unavailable"), failing(503, "unavailable"), reply{status: 201, body: oneObject})
	c := s.client(t)
	if err := create(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := create(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Instances.Create(t.Context(), api.CreateInstance{Name: "a"}, api.WithIdempotencyKey("order-7")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Instances.Get(t.Context(), "inst_1"); err != nil {
		t.Fatal(err)
	}
	keys := make([]string, len(s.requests))
	for i, r := range s.requests {
		keys[i] = r.Header.Get("Idempotency-Key")
	}
	if len(keys) != 6 {
		t.Fatalf("%d requests, want 6", len(keys))
	}
	if keys[0] == "" || keys[0] != keys[1] || keys[0] != keys[2] {
		t.Errorf("the tries of one call have the keys %q", keys[:3])
	}
	if keys[3] == "" || keys[3] == keys[0] {
		t.Errorf("another call has the key %q, the first had %q", keys[3], keys[0])
	}
	if keys[4] != "order-7" || keys[5] != "" {
		t.Errorf("a given key is sent as %q, a GET has %q", keys[4], keys[5])
	}
}

func TestClient_Errors(t *testing.T) {
	t.Parallel()
	detailed := `{"success":false,"error":{"code":"invalid_parameters","message":"Look at details.","requestId":"req_1","details":[{"field":"limit","code":"out_of_range","message":"limit must be a number from 1 to 100."}]}}`
	tests := []struct {
		name  string
		reply reply
		want  *api.Error
		text  string
	}{
		{
			"with details",
			reply{status: 400, header: map[string]string{"X-Request-Id": "req_1"}, body: detailed},
			&api.Error{Status: 400, Code: "invalid_parameters", Message: "Look at details.", RequestID: "req_1", Details: []api.ErrorDetail{{Field: "limit", Code: "out_of_range", Message: "limit must be a number from 1 to 100."}}},
			"Look at details. (invalid_parameters, status 400, req_1); limit: limit must be a number from 1 to 100.",
		},
		{
			"wait in the body only",
			reply{status: 429, body: `{"success":false,"error":{"code":"rate_limit_exceeded","message":"Wait.","retryAfter":60}}`},
			&api.Error{Status: 429, Code: "rate_limit_exceeded", Message: "Wait.", RetryAfter: time.Minute},
			"Wait. (rate_limit_exceeded, status 429)",
		},
		{
			"page of a proxy",
			reply{status: 502, header: map[string]string{"Retry-After": "7"}, body: "<html>Bad gateway</html>"},
			&api.Error{Status: 502, Message: "The server answered 502 Bad Gateway without an explanation.", RetryAfter: 7 * time.Second},
			"The server answered 502 Bad Gateway without an explanation. (status 502)",
		},
		{
			"absurd waits",
			reply{status: 503, header: map[string]string{"Retry-After": "-5"}, body: `{"error":{"code":"unavailable","message":"No.","retryAfter":-9}}`},
			&api.Error{Status: 503, Code: "unavailable", Message: "No."},
			"No. (unavailable, status 503)",
		},
		{
			"a date that is over",
			reply{status: 503, header: map[string]string{"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, body: "{}"},
			&api.Error{Status: 503, Message: "The server answered 503 Service Unavailable without an explanation."},
			"The server answered 503 Service Unavailable without an explanation. (status 503)",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := list(t.Context(), newServer(t, tt.reply).client(t, api.WithMaxRetries(0)))
			var got *api.Error
			if !errors.As(err, &got) {
				t.Fatalf("error %v is no *api.Error", err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got.Error() != tt.text {
				t.Errorf("text %q, want %q", got.Error(), tt.text)
			}
		})
	}
	if api.CodeOf(errors.New("other")) != "" || api.CodeOf(nil) != "" {
		t.Error("CodeOf found a code where there is none")
	}
}

func TestClient_RetryAfterAsDate(t *testing.T) {
	t.Parallel()
	at := time.Now().Add(30 * time.Second).UTC().Format(http.TimeFormat)
	s := newServer(t, failing(503, "unavailable", "Retry-After", at), reply{status: 200, body: emptyPage})
	if err := list(t.Context(), s.client(t)); err != nil {
		t.Fatal(err)
	}
	if len(s.waits) != 1 || s.waits[0] < 20*time.Second || s.waits[0] > 30*time.Second {
		t.Errorf("waits %v, want one of about 30s", s.waits)
	}
}

// The key must not go where the caller did not send it.
func TestClient_FollowsNoRedirect(t *testing.T) {
	t.Parallel()
	elsewhere := newServer(t, reply{status: 200, body: emptyPage})
	for _, status := range []int{301, 302, 303, 307, 308} {
		s := newServer(t, reply{status: status, header: map[string]string{"Location": elsewhere.URL + "/v1/instances"}})
		following := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return nil }}
		err := list(t.Context(), s.client(t, api.WithHTTPClient(following)))
		var failure *api.Error
		if !errors.As(err, &failure) || failure.Status != status || !strings.Contains(failure.Message, elsewhere.URL) {
			t.Errorf("%d: error %v", status, err)
		}
	}
	if len(elsewhere.requests) != 0 {
		t.Errorf("%d redirects were followed", len(elsewhere.requests))
	}
}

func TestClient_Context(t *testing.T) {
	t.Parallel()
	t.Run("canceled while waiting", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		s := newServer(t, failing(503, "unavailable"))
		c := s.client(t)
		api.SetSleep(c, func(ctx context.Context, _ time.Duration) error { cancel(); return ctx.Err() })
		err := list(ctx, c)
		if !errors.Is(err, context.Canceled) || api.CodeOf(err) != "unavailable" {
			t.Errorf("error %v, want both the answer and the reason for stopping", err)
		}
		if len(s.requests) != 1 {
			t.Errorf("%d tries after cancel, want 1", len(s.requests))
		}
	})
	t.Run("deadline before the next try", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		s := newServer(t, failing(429, "rate_limit_exceeded", "Retry-After", "30"))
		if err := list(ctx, s.client(t)); api.CodeOf(err) != "rate_limit_exceeded" {
			t.Errorf("error %v, want the answer at once", err)
		}
		if len(s.waits) != 0 {
			t.Errorf("waited %v for a try that could not be", s.waits)
		}
	})
	t.Run("canceled in flight", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		s := &server{}
		s.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			cancel()
			<-r.Context().Done()
		}))
		t.Cleanup(s.Close)
		if err := list(ctx, s.client(t)); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want context.Canceled", err)
		}
		if len(s.waits) != 0 {
			t.Errorf("waited %v after cancel", s.waits)
		}
	})
}

// transport answers without a network, so that time can be fake.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// The wait that the other tests replace: it lasts as long as it should, and ends
// when the caller gives up.
func TestClient_WaitsForReal(t *testing.T) {
	t.Parallel()
	busy := transport(func(*http.Request) (*http.Response, error) {
		rec := httptest.NewRecorder()
		rec.Header().Set("Retry-After", "100")
		rec.WriteHeader(http.StatusTooManyRequests)
		return rec.Result(), nil
	})
	tests := []struct {
		name     string
		giveUp   time.Duration
		want     time.Duration
		canceled bool
	}{
		{"two retries", time.Hour, 200 * time.Second, false},
		{"caller gives up", 130 * time.Second, 130 * time.Second, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c, err := api.NewClient("https://pombal.example.com", "pmb_test", api.WithHTTPClient(&http.Client{Transport: busy}))
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer time.AfterFunc(tt.giveUp, cancel).Stop()
				start := time.Now()
				err = list(ctx, c)
				if err == nil || errors.Is(err, context.Canceled) != tt.canceled || time.Since(start) != tt.want {
					t.Errorf("after %v: error %v, want canceled %v after %v", time.Since(start), err, tt.canceled, tt.want)
				}
			})
		})
	}
}

func TestNewClient_Refuses(t *testing.T) {
	t.Parallel()
	tests := []struct{ base, key string }{
		{"", "k"}, {"pombal.example.com", "k"}, {"ftp://pombal.example.com", "k"}, {"https://", "k"},
		{"https://user:pw@pombal.example.com", "k"}, {"https://pombal.example.com?x=1", "k"}, {"https://pombal.example.com#x", "k"},
		{"https://pombal.example.com", ""}, {"https://pombal.example.com", "pmb_x\n"}, {"https://pombal.example.com", "Bearer pmb_x"},
	}
	for _, tt := range tests {
		if _, err := api.NewClient(tt.base, tt.key); err == nil {
			t.Errorf("NewClient(%q, %q) was accepted", tt.base, tt.key)
		} else if strings.Contains(err.Error(), ":pw@") || strings.Contains(err.Error(), "pmb_x") {
			t.Errorf("the error gives a secret away: %v", err)
		}
	}
}

func TestClient_HidesItsKey(t *testing.T) {
	t.Parallel()
	c, err := api.NewClient("https://pombal.example.com/api/", "pmb_secret")
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(format, c); got != "api.Client(https://pombal.example.com/api)" {
			t.Errorf("%s gives %q", format, got)
		}
	}
}

func TestClient_Headers(t *testing.T) {
	t.Parallel()
	s := newServer(t, reply{status: 200, header: map[string]string{"ETag": `"7"`}, body: oneObject})
	c := s.client(t, api.WithAccount("acct_1"), api.WithUserAgent("shop/2"))
	var header http.Header
	if _, err := c.Instances.Get(t.Context(), "inst_1", api.WithHeaderTo(&header)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.OnAccount("acct_2").Instances.Update(t.Context(), "inst_1", api.UpdateInstance{}, api.WithIfMatch(header.Get("ETag"))); err != nil {
		t.Fatal(err)
	}
	type sent struct{ Authorization, Account, Agent, ContentType, IfMatch string }
	got := make([]sent, len(s.requests))
	for i, r := range s.requests {
		got[i] = sent{r.Header.Get("Authorization"), r.Header.Get("X-Account-Id"), r.Header.Get("User-Agent"), r.Header.Get("Content-Type"), r.Header.Get("If-Match")}
	}
	want := []sent{
		{"Bearer pmb_test", "acct_1", "shop/2", "", ""},
		{"Bearer pmb_test", "acct_2", "shop/2", "application/json", `"7"`},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := c.OnAccount("acct\n").Limits(t.Context()); err == nil || len(s.waits) != 0 {
		t.Errorf("a line break in a header: error %v, waits %v", err, s.waits)
	}
}

func TestClient_RefusesWhatIsNoID(t *testing.T) {
	t.Parallel()
	s := newServer(t, reply{status: 200, body: oneObject})
	c := s.client(t)
	for _, id := range []string{"", ".", ".."} {
		if err := c.Instances.Delete(t.Context(), id); err == nil {
			t.Errorf("id %q was sent", id)
		}
	}
	if _, err := c.Instances.Get(t.Context(), "../api-keys?x=#y"); err != nil {
		t.Fatal(err)
	}
	if len(s.requests) != 1 || s.requests[0].RequestURI != "/v1/instances/..%2Fapi-keys%3Fx=%23y" {
		t.Errorf("requests %v", s.requests)
	}
}
