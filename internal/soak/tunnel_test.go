package soak

import (
	"context"
	"net"
	"net/url"
	"sync"
	"testing"
)

// tunnel is a node's own way to the database, which can be cut.
type tunnel struct {
	url    string // of the database, through the tunnel
	target string

	mu       sync.Mutex
	listener net.Listener
	silent   bool
	conns    map[net.Conn]struct{}
	lifted   chan struct{} // closed when it is not silent any more
	running  sync.WaitGroup
}

func newTunnel(tb testing.TB, database string) *tunnel {
	tb.Helper()
	u, err := url.Parse(database)
	if err != nil {
		tb.Fatal(err)
	}
	l, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	t := &tunnel{target: u.Host, listener: l, conns: map[net.Conn]struct{}{}, lifted: make(chan struct{})}
	u.Host = l.Addr().String()
	t.url = u.String()
	t.serve(l)
	tb.Cleanup(func() {
		t.refuse()
		t.running.Wait()
	})
	return t
}

func (t *tunnel) serve(l net.Listener) {
	t.running.Go(func() { // ends with the listener
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.running.Go(func() { t.carry(c) })
		}
	})
}

// carry connects a client with the database, until either hangs up or the tunnel is cut.
func (t *tunnel) carry(c net.Conn) {
	if !t.keep(c) {
		return
	}
	defer t.drop(c)
	if !t.passes() {
		return
	}
	server, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", t.target)
	if err != nil || !t.keep(server) {
		return
	}
	defer t.drop(server)
	var back sync.WaitGroup
	back.Go(func() {
		t.pump(c, server)
		_ = c.Close()
	})
	t.pump(server, c)
	_ = server.Close()
	back.Wait()
}

// pump copies, as long as the tunnel is not silent.
func (t *tunnel) pump(to, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if !t.passes() {
			return
		}
		if _, failed := to.Write(buffer[:n]); err != nil || failed != nil {
			return
		}
	}
}

// passes waits while the tunnel is silent: what was sent meanwhile is lost, and so is its connection.
func (t *tunnel) passes() bool {
	t.mu.Lock()
	silent, lifted := t.silent, t.lifted
	t.mu.Unlock()
	if !silent {
		return true
	}
	<-lifted
	return false
}

func (t *tunnel) keep(c net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.listener == nil {
		_ = c.Close() // nobody is told
		return false
	}
	t.conns[c] = struct{}{}
	return true
}

func (t *tunnel) drop(c net.Conn) {
	_ = c.Close() // it may be closed already
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.conns, c)
}

// silence lets nothing through any more, in either direction, and says so to nobody: a cable is cut.
func (t *tunnel) silence() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.silent, t.lifted = true, make(chan struct{})
}

// refuse cuts all connections and refuses others: a firewall's rule, or the wrong port.
func (t *tunnel) refuse() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.listener != nil {
		_ = t.listener.Close()
		t.listener = nil
	}
	for c := range t.conns {
		_ = c.Close()
	}
	t.lift()
}

func (t *tunnel) lift() {
	if t.silent {
		t.silent = false
		close(t.lifted)
	}
}

// open lets everything through again, on the same port.
func (t *tunnel) open() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lift()
	if t.listener != nil {
		return nil
	}
	u, err := url.Parse(t.url)
	if err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", u.Host)
	if err != nil {
		return err
	}
	t.listener = l
	t.serve(l)
	return nil
}
