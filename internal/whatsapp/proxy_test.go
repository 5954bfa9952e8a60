package whatsapp_test

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/fakewa"
	"github.com/pombal-api/pombal/internal/testkit"
	"github.com/pombal-api/pombal/internal/whatsapp"
)

// acceptSOCKS speaks SOCKS5, for user "ana" with the password "s3cret", and addresses of IPv4.
func acceptSOCKS(c net.Conn) (string, error) {
	exchange := func(want, answer string) error {
		got := make([]byte, len(want))
		if _, err := io.ReadFull(c, got); err != nil {
			return err
		}
		if string(got) != want {
			_, _ = io.WriteString(c, "\x01\x01")
			return testkit.ErrStranger
		}
		_, err := io.WriteString(c, answer)
		return err
	}
	if err := exchange("\x05\x02\x00\x02", "\x05\x02"); err != nil {
		return "", err
	}
	if err := exchange("\x01\x03ana\x06s3cret", "\x01\x00"); err != nil {
		return "", err
	}
	var request [10]byte // version, CONNECT, reserved, IPv4, address, port
	if _, err := io.ReadFull(c, request[:]); err != nil {
		return "", err
	}
	_, err := io.WriteString(c, "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
	port := strconv.Itoa(int(binary.BigEndian.Uint16(request[8:])))
	return net.JoinHostPort(net.IP(request[4:8]).String(), port), err
}

func TestProxy(t *testing.T) {
	t.Parallel()
	for scheme, accept := range map[string]func(net.Conn) (string, error){"http": testkit.AcceptHTTP, "socks5": acceptSOCKS} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			a := h.phone(t, number)
			d := h.newSQLiteDriver(t)
			p := testkit.NewProxy(t, accept)
			to := target("")
			to.ProxyURL = scheme + "://ana:s3cret@" + p.Addr
			l := open(t, d, to)
			if err := a.ScanQR(soon(t), l.await(t, domain.LinkQR).Text); err != nil {
				t.Fatal(err)
			}
			to.JID = l.await(t, domain.LinkPaired).JID
			l.await(t, domain.LinkConnected)
			if n, dials := p.Tunnels.Load(), h.Stats().Dials; int(n) != dials || n < 2 {
				t.Errorf("%d connections, %d of them through the proxy", dials, n)
			}
			l.Close()

			h.ResetStats()
			p.Refuses.Store(true)
			if e := open(t, d, to).await(t, domain.LinkDown); e.Reason != domain.ReasonProxyFailed || e.Err == nil {
				t.Errorf("a proxy that fails: %+v", e)
			}
			p.Refuses.Store(false)
			to.ProxyURL = scheme + "://ana:wr0ng!@" + p.Addr
			e := open(t, d, to).await(t, domain.LinkDown)
			if e.Reason != domain.ReasonProxyFailed || strings.Contains(e.Err.Error(), "wr0ng!") {
				t.Errorf("a wrong password: %+v", e)
			}
			if n := h.Stats().Dials; n != 0 {
				t.Errorf("%d connections although the proxy fails", n)
			}
		})
	}
}

func TestProxiesThatCannotWork(t *testing.T) {
	h := newHost(t)
	d := h.newSQLiteDriver(t)
	l, to := pair(t, d, h.phone(t, number))
	l.Close()
	h.ResetStats()
	dead := deadAddress(t)
	t.Setenv("HTTPS_PROXY", "http://"+dead)
	for _, address := range []string{
		"ftp://" + dead, "http://", "nonsense", "http://user:pass word@x:%zz", "socks4://" + dead,
		"http://ana:s3cret@" + dead, "https://" + dead, "socks5://" + dead, "socks5h://" + dead,
	} {
		to.ProxyURL = address
		e := open(t, d, to).await(t, domain.LinkDown)
		if e.Reason != domain.ReasonProxyFailed || e.Err == nil || strings.Contains(e.Err.Error(), "s3cret") {
			t.Errorf("%s: %s (%v)", address, e.Reason, e.Err)
		}
	}
	if n := h.Stats().Dials; n != 0 {
		t.Errorf("the proxies were bypassed %d times", n)
	}
	to.ProxyURL = ""
	open(t, d, to).await(t, domain.LinkConnected) // the environment's proxy is none of ours
}

// TestProxiesThatAreNotPermitted names proxies whose address is refused when it is known.
func TestProxiesThatAreNotPermitted(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"http", "https", "socks5", "socks5h"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			var called atomic.Int64
			p := testkit.NewProxy(t, func(net.Conn) (string, error) {
				called.Add(1)
				return "", testkit.ErrStranger
			})
			_, port, err := net.SplitHostPort(p.Addr)
			if err != nil {
				t.Fatal(err)
			}
			var judged atomic.Int64
			d := h.newSQLiteDriver(t, whatsapp.ProxyControl(func(_, address string, _ syscall.RawConn) error {
				if host, to, err := net.SplitHostPort(address); err != nil || to != port || net.ParseIP(host) == nil {
					t.Errorf("judges %q", address)
				}
				judged.Add(1)
				return testkit.ErrStranger
			}))
			to := target("")
			to.ProxyURL = scheme + "://ana:s3cret@localhost:" + port
			e := open(t, d, to).await(t, domain.LinkDown)
			if e.Reason != domain.ReasonProxyFailed || !errors.Is(e.Err, testkit.ErrStranger) || strings.Contains(e.Err.Error(), "s3cret") {
				t.Errorf("down: %+v", e)
			}
			if n := called.Load(); n != 0 || judged.Load() == 0 || h.Stats().Dials != 0 {
				t.Errorf("%d connections to the proxy, %d to the server", n, h.Stats().Dials)
			}
			judged.Store(0)
			open(t, d, target("")).await(t, domain.LinkQR)
			if n := judged.Load(); n != 0 {
				t.Errorf("%d direct connections were judged", n)
			}
		})
	}
}

// deadAddress is where nobody listens.
func deadAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// TestProxyThatHangs closes a link whose proxy takes the connection and says nothing.
func TestProxyThatHangs(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"http", "https", "socks5"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			reached := make(chan struct{}, 1)
			p := testkit.NewProxy(t, func(c net.Conn) (string, error) {
				reached <- struct{}{}
				_, err := io.Copy(io.Discard, c)
				return "", errors.Join(err, testkit.ErrStranger)
			})
			to := target("")
			to.ProxyURL = scheme + "://" + p.Addr
			l := open(t, h.newSQLiteDriver(t), to)
			select {
			case <-reached:
			case <-soon(t).Done():
				t.Fatal("nobody calls the proxy")
			}
			l.Close()
			if n := len(l.all()); n != 0 {
				t.Errorf("%d events", n)
			}
		})
	}
}

// TestProxyLoss cuts the proxy under a connected link.
func TestProxyLoss(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.phone(t, number)
	d := h.newDriver(t, testkit.Database{Dir: t.TempDir()})
	l, to := pair(t, d, a)
	l.Close()
	p := testkit.NewProxy(t, testkit.AcceptHTTP)
	to.ProxyURL = "http://ana:s3cret@" + p.Addr
	through := open(t, d, to)
	through.await(t, domain.LinkConnected)
	h.fault(t, fakewa.Fault{Kind: fakewa.RefuseTCP})
	h.Faults().Cut("")
	if e := through.await(t, domain.LinkDown); e.Reason != domain.ReasonConnectionLost {
		t.Errorf("down: %+v", e)
	}
}
