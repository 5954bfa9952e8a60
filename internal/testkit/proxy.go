package testkit

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
)

// Proxy passes connections on, if it likes them.
type Proxy struct {
	Addr    string
	Tunnels atomic.Int64 // so far
	Refuses atomic.Bool  // connections, as they come

	accept func(c net.Conn) (target string, err error)
	work   sync.WaitGroup
	mu     sync.Mutex
	open   []net.Conn
}

// NewProxy starts a proxy that ends with the test. accept speaks with a client and returns whereto it wants to be
// connected.
func NewProxy(tb testing.TB, accept func(net.Conn) (target string, err error)) *Proxy {
	tb.Helper()
	l, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &Proxy{Addr: l.Addr().String(), accept: accept}
	p.work.Go(func() { // the clean-up waits for it
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.work.Go(func() { p.serve(c) })
		}
	})
	tb.Cleanup(func() {
		_ = l.Close()
		p.Cut()
		p.work.Wait()
	})
	return p
}

// Cut ends all connections.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.open {
		_ = c.Close()
	}
	p.open = nil
}

func (p *Proxy) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	if p.Refuses.Load() {
		return
	}
	target, err := p.accept(c)
	if err != nil {
		return
	}
	out, err := net.Dial("tcp", target) //nolint:noctx // Cut ends it
	if err != nil {
		return
	}
	defer func() { _ = out.Close() }()
	p.mu.Lock()
	p.open = append(p.open, c, out)
	p.mu.Unlock()
	p.Tunnels.Add(1)
	p.work.Go(func() {
		_, _ = io.Copy(out, c)
		_ = out.Close()
	})
	_, _ = io.Copy(c, out)
}

// ErrStranger is what a proxy knows no user by.
var ErrStranger = errors.New("who are you?")

// AcceptHTTP speaks CONNECT, for user "ana" with the password "s3cret".
func AcceptHTTP(c net.Conn) (string, error) {
	req, err := http.ReadRequest(bufio.NewReader(c))
	if err != nil {
		return "", err
	}
	// "ana:s3cret"
	if req.Method != http.MethodConnect || req.Header.Get("Proxy-Authorization") != "Basic YW5hOnMzY3JldA==" {
		_, _ = io.WriteString(c, "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
		return "", ErrStranger
	}
	_, err = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
	return req.Host, err
}
