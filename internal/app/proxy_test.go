package app_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/testkit"
	"github.com/pombal-api/pombal/internal/testkit/apitest"
	"github.com/pombal-api/pombal/pkg/api"
)

// TestProxiedInstance takes an instance through the life of its proxy, over HTTP: every connection goes through it, none
// around it when it fails, and the instance says why it is not connected, and comes back by itself.
func TestProxiedInstance(t *testing.T) {
	t.Parallel()
	together(t, testkit.Engines(), func(e *testkit.Engine) string { return e.Name }, func(t *testing.T, e *testkit.Engine) {
		s := &site{wa: apitest.NewWhatsApp(t), engine: *e, db: apitest.NewDatabase(t, *e)}
		s.tenant = apitest.StartOn(t, s.db, s.wa.Use, nearby).NewTenant(t)
		s.dial(t)
		proxy, p := testkit.NewProxy(t, testkit.AcceptHTTP), s.newPatient(t)
		if _, err := s.tenant.API.Instances.SetProxy(t.Context(), p.id, api.SetProxy{URL: "http://ana:s3cret@" + proxy.Addr}); err != nil {
			t.Fatal(err)
		}
		p.pairAnew(t)
		wantProxied := func(what string) {
			t.Helper()
			if dials, n := int64(s.wa.Stats().Dials), proxy.Tunnels.Load(); dials != n || n == 0 {
				t.Errorf("%s: %d connections, %d of them through the proxy", what, dials, n)
			}
		}
		wantProxied("connected")

		proxy.Refuses.Store(true)
		proxy.Cut()
		p.await(t, api.InstanceStatusConnecting, domain.ReasonProxyFailed)
		wantProxied("while the proxy fails")
		proxy.Refuses.Store(false)
		p.await(t, api.InstanceStatusConnected, "")
		wantProxied("back")

		shown, err := s.tenant.API.Instances.Proxy(t.Context(), p.id)
		if err != nil || shown.URL == nil || !strings.Contains(*shown.URL, proxy.Addr) || strings.Contains(*shown.URL, "s3cret") {
			t.Errorf("shown: %+v, %v", shown, err)
		}
		if err = s.tenant.API.Instances.RemoveProxy(t.Context(), p.id); err != nil {
			t.Fatal(err)
		}
		poll(t, func() error {
			if int64(s.wa.Stats().Dials) == proxy.Tunnels.Load() {
				return errors.New("it is still connected through the proxy that was removed")
			}
			return nil
		})
		p.await(t, api.InstanceStatusConnected, "")
	})
}
