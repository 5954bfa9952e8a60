package httpapi_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/app"
	"github.com/pombal-api/pombal/internal/testkit"
	"github.com/pombal-api/pombal/internal/testkit/apitest"
	"github.com/pombal-api/pombal/pkg/api"
)

func TestCORS(t *testing.T) {
	t.Parallel()
	const (
		operators = "https://console.example.com"
		accounts  = "https://app.customer.com"
		strangers = "https://evil.example.com"
	)
	for _, engine := range testkit.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			s := apitest.Start(t, engine, func(c *app.Config) { c.AllowedOrigins = []string{operators} })
			mine, other := s.NewTenant(t), s.NewTenant(t)
			if _, err := mine.API.Accounts.Update(t.Context(), mine.ID, api.UpdateAccount{AllowedOrigins: []string{accounts}}); err != nil {
				t.Fatal(err)
			}
			for _, tt := range []struct {
				origin                 string
				preflight, mine, other bool
			}{
				{operators, true, true, true},
				{accounts, true, true, false},
				{strangers, false, false, false},
				{"null", false, false, false},
				{"https://app.customer.com.evil.com", false, false, false},
			} {
				wantOrigin(t, newCaller(t, mine), tt.origin, http.MethodOptions, tt.preflight)
				wantOrigin(t, newCaller(t, mine), tt.origin, http.MethodGet, tt.mine)
				wantOrigin(t, newCaller(t, other), tt.origin, http.MethodGet, tt.other)
			}
		})
	}
}

func wantOrigin(t *testing.T, c *caller, origin, method string, allowed bool) {
	t.Helper()
	headers := []string{"Origin", origin}
	if method == http.MethodOptions {
		c = c.with("")
		c.http = &http.Client{Timeout: 10 * time.Second} // preflights are no operation of the contract
		headers = append(headers, "Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "authorization")
	}
	h := c.do(method, "/v1/instances", "", headers...).header
	want := ""
	if allowed {
		want = origin
	}
	if got := h.Get("Access-Control-Allow-Origin"); got != want {
		t.Errorf("%s from %s: allowed origin %q, want %q", method, origin, got, want)
	}
	if h.Get("Access-Control-Allow-Credentials") != "" {
		t.Error("credentials are allowed")
	}
	if method == http.MethodGet && h.Get("Access-Control-Expose-Headers") == "" {
		t.Error("no headers are exposed")
	}
}
