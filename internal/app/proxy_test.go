package app_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/testkit"
	"github.com/pombal-api/pombal/internal/testkit/apitest"
	"github.com/pombal-api/pombal/pkg/api"
)

// tunnels is an HTTP proxy that wants a user and a password.
type tunnels struct {
	addr    string
	refuses atomic.Bool
	n       atomic.Int64 // so far

	work sync.WaitGroup
	mu   sync.Mutex
	open []net.Conn
}

func newTunnels(t *testing.T) *tunnels {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &tunnels{addr: l.Addr().String()}
	p.work.Go(func() { // the clean-up waits for it
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.work.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.cut()
		p.work.Wait()
	})
	return p
}

func (p *tunnels) url() string { return "http://ana:s3cret@" + p.addr }

// cut ends all connections.
func (p *tunnels) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.open {
		_ = c.Close()
	}
	p.open = nil
}

func (p *tunnels) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	in := bufio.NewReader(c)
	req, err := http.ReadRequest(in)
	if err != nil {
		return
	}
	// "ana:s3cret"
	if p.refuses.Load() || req.Method != http.MethodConnect || req.Header.Get("Proxy-Authorization") != "Basic YW5hOnMzY3JldA==" {
		_, _ = io.WriteString(c, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
		return
	}
	out, err := net.Dial("tcp", req.Host) // cut ends it
	if err != nil {
		return
	}
	defer func() { _ = out.Close() }()
	p.n.Add(1)
	p.mu.Lock()
	p.open = append(p.open, c, out)
	p.mu.Unlock()
	if _, err = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		return
	}
	p.work.Go(func() {
		_, _ = io.Copy(out, in)
		_ = out.Close()
	})
	_, _ = io.Copy(c, out)
}

// TestProxiedInstance takes an instance through the life of its proxy, over HTTP: every connection goes through it, none
// around it when it fails, and the instance says why it is not connected, and comes back by itself.
func TestProxiedInstance(t *testing.T) {
	t.Parallel()
	together(t, testkit.Engines(), func(e *testkit.Engine) string { return e.Name }, func(t *testing.T, e *testkit.Engine) {
		s := &site{wa: apitest.NewWhatsApp(t), engine: *e, db: apitest.NewDatabase(t, *e)}
		s.tenant = apitest.StartOn(t, s.db, s.wa.Use, nearby).NewTenant(t)
		s.dial(t)
		proxy, p := newTunnels(t), s.newPatient(t)
		if _, err := s.tenant.API.Instances.SetProxy(t.Context(), p.id, api.SetProxy{URL: proxy.url()}); err != nil {
			t.Fatal(err)
		}
		p.pairAnew(t)
		wantProxied := func(what string) {
			t.Helper()
			if dials, n := int64(s.wa.Stats().Dials), proxy.n.Load(); dials != n || n == 0 {
				t.Errorf("%s: %d connections, %d of them through the proxy", what, dials, n)
			}
		}
		wantProxied("connected")

		proxy.refuses.Store(true)
		proxy.cut()
		p.await(t, api.InstanceStatusConnecting, domain.ReasonProxyFailed)
		wantProxied("while the proxy fails")
		proxy.refuses.Store(false)
		p.await(t, api.InstanceStatusConnected, "")
		wantProxied("back")

		shown, err := s.tenant.API.Instances.Proxy(t.Context(), p.id)
		if err != nil || shown.URL == nil || !strings.Contains(*shown.URL, proxy.addr) || strings.Contains(*shown.URL, "s3cret") {
			t.Errorf("shown: %+v, %v", shown, err)
		}
		if err = s.tenant.API.Instances.RemoveProxy(t.Context(), p.id); err != nil {
			t.Fatal(err)
		}
		poll(t, func() error {
			if int64(s.wa.Stats().Dials) == proxy.n.Load() {
				return errors.New("it is still connected through the proxy that was removed")
			}
			return nil
		})
		p.await(t, api.InstanceStatusConnected, "")
	})
}
