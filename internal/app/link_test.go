package app_test

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// link is a network between a node and its database, which a test can make fail.
type link struct {
	url      string // of the database, through the link
	target   string
	listener net.Listener

	gate sync.RWMutex // held for writing while nothing may pass

	mu    sync.Mutex
	conns []net.Conn
	work  sync.WaitGroup
}

func newLink(t *testing.T, databaseURL string) *link {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	l := &link{target: u.Host}
	if l.listener, err = (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	u.Host = l.listener.Addr().String()
	l.url = u.String()
	l.work.Go(l.accept)
	t.Cleanup(func() {
		_ = l.listener.Close()
		l.cut()
		l.work.Wait()
	})
	return l
}

func (l *link) accept() {
	for {
		near, err := l.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", l.target)
		if err != nil {
			_ = near.Close()
			continue
		}
		l.mu.Lock()
		l.conns = append(l.conns, near, far)
		l.mu.Unlock()
		l.work.Go(func() { l.carry(near, far) })
		l.work.Go(func() { l.carry(far, near) })
	}
}

// carry moves bytes one way until either side closes.
func (l *link) carry(to io.WriteCloser, from io.Reader) {
	defer func() { _ = to.Close() }()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		l.gate.RLock()
		_, errWrite := to.Write(buf[:n])
		l.gate.RUnlock()
		if err != nil || errWrite != nil {
			return
		}
	}
}

// freeze holds everything back from now on.
func (l *link) freeze() { l.gate.Lock() }

// thaw delivers what was held back, and all that follows.
func (l *link) thaw() { l.gate.Unlock() }

// cut breaks the connections that there are.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		_ = c.Close()
	}
	l.conns = nil
}
