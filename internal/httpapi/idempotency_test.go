package httpapi_test

import (
	"net/http"
	"sync"
	"testing"

	"github.com/pombal-api/pombal/internal/testkit/apitest"
	"github.com/pombal-api/pombal/pkg/api"
)

func TestIdempotency_ReplaysTheFirstAnswer(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		tenant := s.NewTenant(t)
		c := newCaller(t, tenant)
		for path, body := range map[string]string{
			"/v1/instances": `{"name":"once"}`,
			"/v1/api-keys":  `{"name":"once","scopes":["instances:read"]}`,
			"/v1/tokens":    `{"expiresIn":60}`,
		} {
			first := c.do(http.MethodPost, path, body, "Idempotency-Key", "key-"+path)
			again := c.do(http.MethodPost, path, body, "Idempotency-Key", `"key-`+path+`"`) // quoted is the same
			if first.status != http.StatusCreated || again.status != first.status || string(again.body) != string(first.body) {
				t.Errorf("%s: first %d %s, again %d %s", path, first.status, first.body, again.status, again.body)
			}
			if first.header.Get("Idempotent-Replayed") != "" || again.header.Get("Idempotent-Replayed") != "true" {
				t.Errorf("%s: replay not marked", path)
			}
			if first.header.Get("Location") != again.header.Get("Location") {
				t.Errorf("%s: Location lost in the replay", path)
			}
		}
		page, err := tenant.API.Instances.List(t.Context(), api.ListInstancesParams{})
		if err != nil || page.Pagination.Total != 1 {
			t.Errorf("%+v, %v", page, err)
		}
	})
}

func TestIdempotency_Refusals(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		tenant := s.NewTenant(t)
		c := newCaller(t, tenant)
		c.do(http.MethodPost, "/v1/instances", `{"name":"a"}`, "Idempotency-Key", "k")
		if got := c.do(http.MethodPost, "/v1/instances", `{"name":"b"}`, "Idempotency-Key", "k"); got.status != 422 || got.code() != "idempotency_key_reused" {
			t.Errorf("another body: %d %s", got.status, got.body)
		}
		if got := c.do(http.MethodPost, "/v1/accounts", `{"name":"a"}`, "Idempotency-Key", "k"); got.status != 422 && got.status != 403 {
			t.Errorf("another route: %d %s", got.status, got.body)
		}
		// The answer may hold a new secret: another key of the account does not get it.
		other := c.with(tenant.NewKey(t))
		c.do(http.MethodPost, "/v1/api-keys", `{"name":"a","scopes":["instances:read"]}`, "Idempotency-Key", "secret")
		if got := other.do(http.MethodPost, "/v1/api-keys", `{"name":"a","scopes":["instances:read"]}`, "Idempotency-Key", "secret"); got.status != 422 {
			t.Errorf("another key: %d %s", got.status, got.body)
		}
		for _, bad := range []string{"spaces inside", "ü", string(make([]byte, 0, 300)) + "\t"} {
			if got := c.do(http.MethodPost, "/v1/instances", `{"name":"x"}`, "Idempotency-Key", bad); got.status == http.StatusCreated && bad != "" {
				t.Errorf("key %q accepted", bad)
			}
		}
		// What failed before work began may be corrected under the same key.
		if got := c.do(http.MethodPost, "/v1/instances", `{"name":""}`, "Idempotency-Key", "fixable"); got.status != 400 {
			t.Errorf("empty name: %d", got.status)
		}
		if got := c.do(http.MethodPost, "/v1/instances", `{"name":"fixed"}`, "Idempotency-Key", "fixable"); got.status != 201 {
			t.Errorf("after the correction: %d %s", got.status, got.body)
		}
		// A refusal of the work itself is an answer like any other.
		c.do(http.MethodPost, "/v1/instances", `{"name":"x","externalId":"taken"}`)
		for range 2 {
			if got := c.do(http.MethodPost, "/v1/instances", `{"name":"y","externalId":"taken"}`, "Idempotency-Key", "conflict"); got.status != 409 || got.code() != "external_id_in_use" {
				t.Errorf("conflict: %d %s", got.status, got.body)
			}
		}
	})
}

func TestIdempotency_OneEffectOfManyCalls(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		tenant := s.NewTenant(t)
		c := newCaller(t, tenant)
		results := make([]result, 100)
		var wg sync.WaitGroup
		for i := range results {
			wg.Go(func() {
				results[i] = c.do(http.MethodPost, "/v1/instances", `{"name":"one"}`, "Idempotency-Key", "same")
			})
		}
		wg.Wait()
		bodies := map[string]bool{}
		for _, r := range results {
			switch {
			case r.status == http.StatusCreated:
				bodies[string(r.body)] = true
			case r.status == http.StatusConflict && r.code() == "idempotency_in_progress" && r.header.Get("Retry-After") != "":
			default:
				t.Errorf("%d %s", r.status, r.body)
			}
		}
		if len(bodies) != 1 {
			t.Errorf("%d different answers", len(bodies))
		}
		page, err := tenant.API.Instances.List(t.Context(), api.ListInstancesParams{})
		if err != nil || page.Pagination.Total != 1 {
			t.Errorf("%+v, %v", page, err)
		}
	})
}
