package httpapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/pombal-api/pombal/internal/testkit/apitest"
	"github.com/pombal-api/pombal/pkg/api"
)

func TestProxy(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		tenant := s.NewTenant(t)
		ctx, instances, in := t.Context(), tenant.API.Instances, tenant.NewInstance(t, "Sales")
		is := func(what, want string) {
			t.Helper()
			switch got := must[*api.Proxy](t)(instances.Proxy(ctx, in.ID)).URL; {
			case want == "" && got != nil, want != "" && (got == nil || *got != want):
				t.Errorf("%s: %v, want %q", what, got, want)
			}
		}
		is("at first", "")
		for given, shown := range map[string]string{
			"socks5://ana:secret@proxy.example.com:1080": "socks5://ana:xxxxx@proxy.example.com:1080",
			"http://93.184.216.34:3128":                  "http://93.184.216.34:3128",
		} {
			if got := must[*api.Proxy](t)(instances.SetProxy(ctx, in.ID, api.SetProxy{URL: given})).URL; *got != shown {
				t.Errorf("set %s: %s", given, *got)
			}
			is("afterwards", shown)
		}
		for range 2 {
			if err := instances.RemoveProxy(ctx, in.ID); err != nil {
				t.Fatal(err)
			}
			is("removed", "")
		}
	})
}

func TestProxy_Refused(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		tenant := s.NewTenant(t)
		in := tenant.NewInstance(t, "Sales")
		for _, url := range []string{
			"", "proxy.example.com:1080", "ftp://proxy.example.com", "socks5://", "http://127.0.0.1:3128", "http://10.0.0.1", "socks5://[::1]:1080",
			"http://localhost:3128", "http://169.254.169.254", "https://ana:secret@192.168.1.1:8080", "http://proxy.example.com:99999",
			"socks5://ana:secret@" + strings.Repeat("a", 2048) + ".com",
		} {
			_, err := tenant.API.Instances.SetProxy(t.Context(), in.ID, api.SetProxy{URL: url})
			e := apiError(t, err, http.StatusBadRequest, api.ErrorCodeInvalidParameters)
			if len(e.Details) != 1 || e.Details[0].Field != "url" || strings.Contains(e.Message+e.Details[0].Message, "secret") {
				t.Errorf("%.60s: %s %+v", url, e.Message, e.Details)
			}
		}
		if got := must[*api.Proxy](t)(tenant.API.Instances.Proxy(t.Context(), in.ID)); got.URL != nil {
			t.Errorf("stored %s", *got.URL)
		}
	})
}
