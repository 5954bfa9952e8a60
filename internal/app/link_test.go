package app_test

import (
	"bytes"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
)

// link is a network between a node and its database, which a test can make fail.
type link struct {
	url      string // of the database, through the link
	target   string
	listener net.Listener

	gate sync.RWMutex           // held for writing while nothing may pass
	lose atomic.Pointer[string] // the statement whose transaction is to lose the answer to its commit

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
		c := &call{link: l}
		l.work.Go(func() { l.carry(far, near, c.hear) })
		l.work.Go(func() { l.carry(near, far, func([]byte) bool { return !c.lost.Load() }) })
	}
}

// call is what has been heard on one connection.
type call struct {
	link   *link
	marked bool // the statement that is looked for was sent
	lost   atomic.Bool
}

// hear listens to what the node sends.
func (c *call) hear(sent []byte) bool {
	wanted := c.link.lose.Load()
	switch {
	case wanted == nil:
	case bytes.Contains(sent, []byte(*wanted)):
		c.marked = true
	case c.marked && bytes.Contains(sent, []byte("commit")):
		c.lost.Store(c.link.lose.CompareAndSwap(wanted, nil))
	}
	return true
}

// carry moves bytes one way until either side closes, or pass says no.
func (l *link) carry(to, from net.Conn, pass func([]byte) bool) {
	defer func() { _ = to.Close(); _ = from.Close() }()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && !pass(buf[:n]) {
			return
		}
		l.gate.RLock()
		_, errWrite := to.Write(buf[:n])
		l.gate.RUnlock()
		if err != nil || errWrite != nil {
			return
		}
	}
}

// loseCommitOf breaks the connection of the next transaction with the statement in it, after the database
// has carried out the commit and before the node is told.
func (l *link) loseCommitOf(statement string) { l.lose.Store(&statement) }

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
