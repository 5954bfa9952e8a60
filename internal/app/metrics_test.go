package app_test

import (
	"crypto/rand"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pombal-api/pombal/internal/testkit"
	"github.com/pombal-api/pombal/internal/testkit/apitest"
)

// TestMetricsAreOnTheAdminPortOnly keeps figures about customers away from customers.
func TestMetricsAreOnTheAdminPortOnly(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, testkit.Engines()[0])
	client := plainClient(t)
	for path, want := range map[string][2]int{ // on the API's port, on the admin port
		"/metrics":      {http.StatusNotFound, http.StatusOK},
		"/livez":        {http.StatusOK, http.StatusOK},
		"/readyz":       {http.StatusOK, http.StatusOK},
		"/v1/instances": {http.StatusUnauthorized, http.StatusNotFound},
		"/debug/pprof/": {http.StatusNotFound, http.StatusNotFound},
	} {
		for i, base := range []string{s.URL, s.AdminURL} {
			if got := mustSend(t, client, base, request{method: http.MethodGet, path: path}); got.status != want[i] {
				t.Errorf("%s%s answered %d, want %d", base, path, got.status, want[i])
			}
		}
	}
}

// TestMetricLabelsAreBounded holds that nothing a caller sends becomes a label.
func TestMetricLabelsAreBounded(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, testkit.Engines()[0])
	client := plainClient(t)
	tenant := s.NewTenant(t)
	odd := []func() request{
		func() request { return request{method: http.MethodGet, path: "/" + rand.Text()} },
		func() request { return request{method: http.MethodGet, path: "/v1/" + rand.Text()} },
		func() request { return request{method: "X" + rand.Text()[:8], path: "/v1/instances"} },
		func() request {
			return request{method: http.MethodGet, path: "/v1/instances/inst_" + rand.Text(), header: bearer(tenant.Key)}
		},
		func() request {
			return request{method: http.MethodGet, path: "/v1/instances?limit=1", header: append(bearer(tenant.Key), "X-Request-Id", rand.Text())}
		},
		func() request {
			return request{method: http.MethodGet, path: "/instance/fetchInstances", header: []string{"apikey", rand.Text()}}
		},
	}
	hit := func(times int) {
		for i := range times {
			mustSend(t, client, s.URL, odd[i%len(odd)]())
		}
	}
	hit(len(odd))
	before := series(t, client, s.AdminURL)
	hit(100)
	after := series(t, client, s.AdminURL)
	if diff := cmp.Diff(ours(before), ours(after)); diff != "" {
		t.Errorf("the series before and after 100 odd requests:\n%s", diff)
	}
	for name := range after {
		if strings.Contains(name, tenant.Key) || strings.Contains(name, tenant.ID) {
			t.Errorf("a label names a customer: %s", name)
		}
	}
	const lists = `pombal_http_requests_total{route="listInstances",status="200"}`
	if before[lists] == after[lists] || after[lists] == "" {
		t.Errorf("%s went from %q to %q", lists, before[lists], after[lists])
	}
}

var boundedLabel = regexp.MustCompile(`^pombal_[a-z_]+(\{((route="[a-zA-Z]+"|status="\d{3}"|le="[0-9.+Inf]+"),?)+\})?$`)

// ours returns the names of the series that Pombal itself makes.
func ours(values map[string]string) []string {
	return slices.Sorted(func(yield func(string) bool) {
		for name := range maps.Keys(values) {
			if strings.HasPrefix(name, "pombal_") && !yield(name) {
				return
			}
		}
	})
}

// TestMetricLabelsAreKnown names every label that there may be.
func TestMetricLabelsAreKnown(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, testkit.Engines()[0])
	client := plainClient(t)
	tenant := s.NewTenant(t)
	for _, path := range []string{"/v1/instances", "/nowhere", "/v1/limits", "/docs", "/openapi.json", "/instance/fetchInstances"} {
		mustSend(t, client, s.URL, request{method: http.MethodGet, path: path, header: bearer(tenant.Key)})
	}
	names := ours(series(t, client, s.AdminURL))
	if len(names) == 0 {
		t.Error("there are no series of ours")
	}
	for _, name := range names {
		if !boundedLabel.MatchString(name) {
			t.Errorf("unexpected series %s", name)
		}
	}
}
