package whatsapp

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"time"

	"golang.org/x/net/proxy"
)

const (
	dialTime  = 15 * time.Second
	proxyTime = 20 * time.Second // to reach the proxy and what is behind it: less than a login may take
)

// dialFunc opens a connection, as net.Dialer.DialContext does.
type dialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// controlFunc judges an address before a socket is connected, as net.Dialer.Control does.
type controlFunc func(network, address string, c syscall.RawConn) error

// proxyError is what went wrong with a proxy, in contrast to what is behind it.
type proxyError struct{ err error }

// Error tells what went wrong, without the proxy's password.
func (e *proxyError) Error() string { return "proxy: " + e.err.Error() }

// Unwrap returns the cause.
func (e *proxyError) Unwrap() error { return e.err }

var errProxyURL = errors.New("the address must be http://, https:// or socks5:// with a host")

// newDial returns how connections are opened: directly, or through the proxy and in no other way, if control
// (nil permits all) agrees with its address. The environment's proxies are never asked.
func newDial(address string, control controlFunc) (dialFunc, error) {
	direct := &net.Dialer{Timeout: dialTime, KeepAlive: 30 * time.Second}
	if address == "" {
		return direct.DialContext, nil
	}
	direct.Control = control
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" {
		return nil, &proxyError{errProxyURL} // the cause would show the password
	}
	switch u.Scheme {
	case "http", "https":
		return throughProxy((&httpProxy{url: u, direct: direct}).dial), nil
	case "socks5", "socks5h":
		dialer, err := socksProxy(u, direct)
		return dialer, err
	}
	return nil, &proxyError{errProxyURL}
}

// throughProxy bounds what a proxy may take, and marks its errors.
func throughProxy(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, proxyTime)
		defer cancel()
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, &proxyError{err}
		}
		return conn, nil
	}
}

func socksProxy(u *url.URL, direct *net.Dialer) (dialFunc, error) {
	var auth *proxy.Auth
	if u.User != nil {
		password, _ := u.User.Password()
		auth = &proxy.Auth{User: u.User.Username(), Password: password}
	}
	dialer, err := proxy.SOCKS5("tcp", hostPort(u, "1080"), auth, direct)
	if err != nil {
		return nil, &proxyError{err}
	}
	withContext, ok := dialer.(proxy.ContextDialer)
	if !ok {
		return nil, &proxyError{errors.ErrUnsupported}
	}
	return throughProxy(withContext.DialContext), nil
}

// hostPort returns where a proxy is.
func hostPort(u *url.URL, defaultPort string) string {
	port := u.Port()
	if port == "" {
		port = defaultPort
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// httpProxy makes tunnels with the method CONNECT.
type httpProxy struct {
	url    *url.URL
	direct *net.Dialer
}

func (p *httpProxy) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := p.reach(ctx, network)
	if err != nil {
		return nil, err
	}
	// A proxy that does not answer holds nobody up.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	err = p.tunnel(conn, addr)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// reach connects with the proxy itself.
func (p *httpProxy) reach(ctx context.Context, network string) (net.Conn, error) {
	if p.url.Scheme == "http" {
		return p.direct.DialContext(ctx, network, hostPort(p.url, "80"))
	}
	secure := &tls.Dialer{NetDialer: p.direct, Config: &tls.Config{ServerName: p.url.Hostname(), MinVersion: tls.VersionTLS12}}
	return secure.DialContext(ctx, network, hostPort(p.url, "443"))
}

// tunnel asks the proxy to pass on everything to addr from now on.
func (p *httpProxy) tunnel(conn net.Conn, addr string) error {
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: addr}, Host: addr, Header: make(http.Header)}
	if p.url.User != nil {
		password, _ := p.url.User.Password()
		credentials := base64.StdEncoding.EncodeToString([]byte(p.url.User.Username() + ":" + password))
		req.Header.Set("Proxy-Authorization", "Basic "+credentials)
	}
	if err := req.Write(conn); err != nil {
		return err
	}
	r := bufio.NewReader(conn)
	res, err := http.ReadResponse(r, req)
	if err != nil {
		return err
	}
	_ = res.Body.Close() // an answer to CONNECT that agrees has none
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers with status %d", res.StatusCode)
	}
	if r.Buffered() > 0 {
		return errors.New("it speaks before it is asked")
	}
	return nil
}
