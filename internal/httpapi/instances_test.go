package httpapi_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pombal-api/pombal/internal/app"
	"github.com/pombal-api/pombal/internal/testkit"
	"github.com/pombal-api/pombal/internal/testkit/apitest"
	"github.com/pombal-api/pombal/pkg/api"
)

// onBoth runs a test on a node over each engine.
func onBoth(t *testing.T, test func(*testing.T, *apitest.Server)) {
	t.Helper()
	t.Parallel()
	for _, engine := range testkit.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			wa := apitest.NewWhatsApp(t)
			wa.Phone(t, "5511999999999") // the one of the examples
			test(t, apitest.Start(t, engine, wa.Use))
		})
	}
}

// wantCode fails the test unless err is an API error with the code and status.
func wantCode(t *testing.T, err error, status int, code api.ErrorCode) {
	t.Helper()
	_ = apiError(t, err, status, code)
}

// apiError is wantCode for those who look closer.
func apiError(t *testing.T, err error, status int, code api.ErrorCode) *api.Error {
	t.Helper()
	e, ok := errors.AsType[*api.Error](err)
	if !ok {
		t.Fatalf("want %d %s, got %v", status, code, err)
	}
	if e.Status != status || e.Code != code {
		t.Fatalf("want %d %s, got %d %s: %s", status, code, e.Status, e.Code, e.Message)
	}
	return e
}

func TestInstances_Life(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		tenant := s.NewTenant(t)
		ctx, instances := t.Context(), tenant.API.Instances
		var header http.Header
		created, err := instances.Create(ctx, api.CreateInstance{Name: "  Sales WhatsApp  "}, api.WithHeaderTo(&header))
		if err != nil {
			t.Fatal(err)
		}
		want := &api.Instance{
			ID: created.ID, Name: "Sales WhatsApp", Status: api.InstanceStatusDisconnected, CreatedAt: created.CreatedAt,
			UpdatedAt: created.CreatedAt, WebhookEvents: api.AllWebhookEvents(), Integration: api.IntegrationWeb,
			Settings: api.InstanceSettings{AutoRead: false, AutoTyping: true}, StatusReason: created.StatusReason,
		}
		if diff := cmp.Diff(want, created); diff != "" {
			t.Errorf("created: %s", diff)
		}
		if created.StatusReason == nil || created.StatusReason.Code != "never_connected" {
			t.Errorf("statusReason %+v", created.StatusReason)
		}
		if got := header.Get("Location"); got != "/v1/instances/"+created.ID {
			t.Errorf("Location %q", got)
		}
		got, err := instances.Get(ctx, created.ID)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(created, got); diff != "" {
			t.Errorf("got after create: %s", diff)
		}
		testPatch(t, tenant, created)
		report, err := instances.Status(ctx, created.ID)
		if err != nil {
			t.Fatal(err)
		}
		if report.Status != api.LiveStatusDisconnected || report.QRCode != nil || report.Health.Latency != nil || report.Health.Uptime != 0 {
			t.Errorf("status %+v", report)
		}
		if err = instances.Delete(ctx, created.ID); err != nil {
			t.Fatal(err)
		}
		_, err = instances.Get(ctx, created.ID)
		wantCode(t, err, http.StatusNotFound, api.ErrorCodeInstanceNotFound)
		wantCode(t, instances.Delete(ctx, created.ID), http.StatusNotFound, api.ErrorCodeInstanceNotFound)
	})
}

func testPatch(t *testing.T, tenant *apitest.Tenant, created *api.Instance) {
	t.Helper()
	ctx, instances := t.Context(), tenant.API.Instances
	autoRead, url := true, "https://example.com/hook"
	patched, err := instances.Update(ctx, created.ID, api.UpdateInstance{
		WebhookURL: api.Set(url), ExternalID: api.Set("crm-1"), WebhookEvents: []api.WebhookEvent{},
		Settings: &api.UpdateInstanceSettings{AutoRead: &autoRead},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := *created
	want.WebhookURL, want.ExternalID, want.WebhookEvents = &url, new("crm-1"), []api.WebhookEvent{}
	want.Settings = api.InstanceSettings{AutoRead: true, AutoTyping: true} // settings merge
	want.UpdatedAt = patched.UpdatedAt
	if diff := cmp.Diff(&want, patched); diff != "" {
		t.Errorf("patched: %s", diff)
	}
	same, err := instances.Update(ctx, created.ID, api.UpdateInstance{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(patched, same); diff != "" {
		t.Errorf("an empty patch changed something: %s", diff)
	}
	cleared, err := instances.Update(ctx, created.ID, api.UpdateInstance{WebhookURL: api.Null[string](), ExternalID: api.Null[string]()})
	if err != nil {
		t.Fatal(err)
	}
	if cleared.WebhookURL != nil || cleared.ExternalID != nil {
		t.Errorf("not cleared: %+v", cleared)
	}
}

func TestInstances_ExternalIDIsUniquePerAccount(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		mine, other := s.NewTenant(t), s.NewTenant(t)
		body := api.CreateInstance{Name: "a", ExternalID: new("crm-1")}
		first, err := mine.API.Instances.Create(t.Context(), body)
		if err != nil {
			t.Fatal(err)
		}
		_, err = mine.API.Instances.Create(t.Context(), body)
		wantCode(t, err, http.StatusConflict, api.ErrorCodeExternalIDInUse)
		second := mine.NewInstance(t, "b")
		_, err = mine.API.Instances.Update(t.Context(), second.ID, api.UpdateInstance{ExternalID: api.Set("crm-1")})
		wantCode(t, err, http.StatusConflict, api.ErrorCodeExternalIDInUse)
		if _, err = other.API.Instances.Create(t.Context(), body); err != nil {
			t.Errorf("another account: %v", err)
		}
		page, err := mine.API.Instances.List(t.Context(), api.ListInstancesParams{ExternalID: new("crm-1")})
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Data) != 1 || page.Data[0].ID != first.ID || page.Pagination.Total != 1 {
			t.Errorf("found %+v", page)
		}
	})
}

func TestInstances_Limit(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		tenant := s.NewTenant(t, func(n *app.NewAccount) { n.Plan = "small" })
		for range 3 {
			tenant.NewInstance(t, "one of three")
		}
		_, err := tenant.API.Instances.Create(t.Context(), api.CreateInstance{Name: "one too many"})
		wantCode(t, err, http.StatusConflict, api.ErrorCodeInstanceLimitReached)
		limits, err := tenant.API.Limits(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if limits.MaxInstances == nil || *limits.MaxInstances != 3 || limits.Plan != "small" || len(limits.Limits) != 2 {
			t.Errorf("limits %+v", limits)
		}
	})
}

func TestInstances_Paging(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		tenant := s.NewTenant(t)
		var all []string
		for i := range 7 {
			all = append(all, tenant.NewInstance(t, "Instance "+string(rune('A'+i))).ID)
		}
		var byOffset []string
		for offset := int64(0); ; {
			page, err := tenant.API.Instances.List(t.Context(), api.ListInstancesParams{Limit: 3, Offset: offset})
			if err != nil {
				t.Fatal(err)
			}
			if page.Pagination.Total != 7 || page.Pagination.Limit != 3 || page.Pagination.Offset != offset {
				t.Errorf("pagination %+v", page.Pagination)
			}
			for _, in := range page.Data {
				byOffset = append(byOffset, in.ID)
			}
			if offset += 3; !page.Pagination.HasMore {
				break
			}
		}
		if diff := cmp.Diff(all, byOffset); diff != "" {
			t.Errorf("by offset: %s", diff)
		}
		var byCursor []string
		for in, err := range tenant.API.Instances.All(t.Context(), api.ListInstancesParams{Limit: 2}) {
			if err != nil {
				t.Fatal(err)
			}
			byCursor = append(byCursor, in.ID)
		}
		if diff := cmp.Diff(all, byCursor); diff != "" {
			t.Errorf("by cursor: %s", diff)
		}
		page, err := tenant.API.Instances.List(t.Context(), api.ListInstancesParams{Offset: 1_000_000})
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Data) != 0 || page.Pagination.Total != 7 || page.Pagination.HasMore || page.Pagination.NextCursor != nil {
			t.Errorf("past the end: %+v", page)
		}
	})
}

func TestInstances_Search(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		tenant := s.NewTenant(t)
		for _, name := range []string{"Vendas São Paulo", "Suporte 100%", "under_score", "ÄÖÜ Straße"} {
			tenant.NewInstance(t, name)
		}
		for search, want := range map[string]int{
			"são": 1, "SÃO": 1, "s": 4, "%": 1, "_": 1, "100%": 1, "äöü": 1, "nobody": 0, "'; drop table instances; --": 0, `\`: 0,
		} {
			page, err := tenant.API.Instances.List(t.Context(), api.ListInstancesParams{Search: &search})
			if err != nil {
				t.Fatal(err)
			}
			if len(page.Data) != want || page.Pagination.Total != int64(want) {
				t.Errorf("%q: %d of %d, want %d", search, len(page.Data), page.Pagination.Total, want)
			}
		}
	})
}

func TestInstances_ETags(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		tenant := s.NewTenant(t)
		created := tenant.NewInstance(t, "tagged")
		c := newCaller(t, tenant)
		for _, path := range []string{"/v1/instances", "/v1/instances/" + created.ID} {
			c.mustSpareUnchanged(path)
		}
		path, tag := "/v1/instances/"+created.ID, c.do(http.MethodGet, "/v1/instances/"+created.ID, "").header.Get("ETag")
		if got := c.do(http.MethodPatch, path, `{"name":"renamed"}`, "If-Match", tag); got.status != http.StatusOK || got.header.Get("ETag") == tag {
			t.Errorf("If-Match with the current tag: %d, ETag %s", got.status, got.header.Get("ETag"))
		}
		for _, stale := range []string{tag, `"v999"`, `"nonsense"`, "v1"} {
			if got := c.do(http.MethodPatch, path, `{"name":"lost update"}`, "If-Match", stale); got.status != http.StatusPreconditionFailed {
				t.Errorf("PATCH If-Match %s: %d", stale, got.status)
			}
			if got := c.do(http.MethodDelete, path, "", "If-Match", stale); got.status != http.StatusPreconditionFailed {
				t.Errorf("DELETE If-Match %s: %d", stale, got.status)
			}
		}
		if got, err := tenant.API.Instances.Get(t.Context(), created.ID); err != nil || got.Name != "renamed" {
			t.Errorf("after refused changes: %+v, %v", got, err)
		}
	})
}

func TestInstances_RequestIDs(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, testkit.Engines()[0])
	c := newCaller(t, s.NewTenant(t))
	seen := map[string]bool{}
	for _, own := range []string{"", "mine-1", strings.Repeat("x", 65), "evil value"} {
		got := c.do(http.MethodGet, "/v1/instances", "", "X-Request-Id", own)
		id := got.header.Get("X-Request-Id")
		if !strings.HasPrefix(id, "req_") || seen[id] {
			t.Errorf("request id %q for own id %q", id, own)
		}
		seen[id] = true
	}
}

func TestLimits_HeadersAndRefusal(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		tenant := s.NewTenant(t, func(n *app.NewAccount) { n.Plan = "free" }) // 50 calls of the instance group
		c := newCaller(t, tenant)
		allowed, refused := 0, 0
		for range 60 {
			got := c.do(http.MethodGet, "/v1/instances", "")
			for _, name := range []string{"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "RateLimit", "RateLimit-Policy"} {
				if got.header.Get(name) == "" {
					t.Fatalf("%d without %s", got.status, name)
				}
			}
			switch got.status {
			case http.StatusOK:
				allowed++
			case http.StatusTooManyRequests:
				refused++
				if got.header.Get("Retry-After") == "" || got.header.Get("X-RateLimit-Remaining") != "0" || got.code() != "rate_limit_exceeded" {
					t.Errorf("refusal: %v %s", got.header, got.body)
				}
			}
		}
		// The minute may turn once while this runs.
		if allowed < 50 || allowed > 100 || allowed+refused != 60 {
			t.Errorf("allowed %d, refused %d", allowed, refused)
		}
		if got := c.do(http.MethodGet, "/v1/limits", ""); got.status != http.StatusOK {
			t.Errorf("limits outside the group: %d", got.status)
		}
	})
}

// Whoever asks for the limits is told of every group that can refuse a request.
func TestLimits_NameEveryGroup(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, testkit.Engines()[0], func(cfg *app.Config) {
		cfg.Plans = app.Plans{{Name: "free", RequestsPerMinute: 500, Groups: map[string]int{"instances": 50, "webhooks": 100, "messages": 10}}}
	})
	tenant := s.NewTenant(t, func(n *app.NewAccount) { n.Plan = "free" })
	c := newCaller(t, tenant)
	limits := must[*api.Limits](t)(tenant.API.Limits(t.Context()))
	told := map[string]int64{}
	for _, limit := range limits.Limits {
		told[limit.Name] = limit.Limit
	}
	if diff := cmp.Diff(map[string]int64{"key": 500, "account": 500, "instances": 50, "webhooks": 100}, told); diff != "" {
		t.Error(diff)
	}
	for _, path := range []string{"/v1/instances", "/v1/webhooks", "/v1/events"} {
		for _, policy := range strings.Split(c.do(http.MethodGet, path, "").header.Get("RateLimit-Policy"), ", ") {
			if name, _, _ := strings.Cut(strings.Trim(policy, `"`), `"`); told[name] == 0 {
				t.Errorf("%s counts against %s, which the limits do not name", path, policy)
			}
		}
	}
}

func TestLimits_A304IsFree(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, testkit.Engines()[0])
	tenant := s.NewTenant(t, func(n *app.NewAccount) { n.Plan = "free" })
	c := newCaller(t, tenant)
	deadline := time.Now().Add(5 * time.Second)
	tag := c.do(http.MethodGet, "/v1/instances", "").header.Get("ETag")
	for n := 0; n < 200 && time.Now().Before(deadline); n++ {
		if got := c.do(http.MethodGet, "/v1/instances", "", "If-None-Match", tag); got.status != http.StatusNotModified {
			t.Fatalf("call %d: %d", n, got.status)
		}
	}
}
