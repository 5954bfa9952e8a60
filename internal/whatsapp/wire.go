package whatsapp

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// wires is the transport of one connection to WhatsApp: of its WebSocket and of its media. It knows every
// socket that it has opened and can cut them all, in whatever state they are, which the library cannot: its
// Disconnect waits for the server's goodbye, its handshake for an answer, and both together can crash it.
type wires struct {
	http   *http.Transport
	dial   dialFunc
	target string // where all connections go; "" for where they want to
	linger time.Duration
	onEnd  func()          // called when the WebSocket has ended, by whomever
	work   *sync.WaitGroup // counts the WebSockets that have not ended
	ctx    context.Context
	cancel context.CancelFunc
	dialed chan struct{} // closed when the library's attempt to connect has ended, in whatever way

	mu    sync.Mutex
	isCut bool
	open  map[net.Conn]struct{}
}

func newWires(l *Link, onEnd func()) (*wires, error) {
	dial, err := newDial(l.target.ProxyURL, l.driver.control)
	if err != nil {
		return nil, err
	}
	w := &wires{
		dial: dial, target: l.driver.sandbox, linger: l.driver.times.linger,
		onEnd: onEnd, work: &l.work, open: make(map[net.Conn]struct{}), dialed: make(chan struct{}),
	}
	w.ctx, w.cancel = context.WithCancel(l.ctx)
	w.http = &http.Transport{
		DialContext:           w.reach,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: 20 * time.Second,
		IdleConnTimeout:       30 * time.Second,
		MaxIdleConnsPerHost:   2,
	}
	if w.target != "" {
		w.http.DialTLSContext = w.reach // the sandbox speaks plain TCP
	}
	return w, nil
}

// withEither returns a context like ctx that ends with another one, too.
func withEither(ctx, other context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(other, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// reach opens a socket for the transport, which would go on dialing after its caller has given up.
func (w *wires) reach(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := withEither(ctx, w.ctx)
	defer cancel()
	if w.target != "" {
		addr = w.target
	}
	conn, err := w.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return w.keep(conn)
}

func (w *wires) keep(conn net.Conn) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.isCut {
		_ = conn.Close() // nobody wants it any more
		return nil, net.ErrClosed
	}
	k := &keptConn{Conn: conn, wires: w}
	w.open[k] = struct{}{}
	return k, nil
}

// keptConn is a socket that its wires know.
type keptConn struct {
	net.Conn
	wires *wires
}

// Close closes the socket and makes its wires forget it.
func (k *keptConn) Close() error {
	k.wires.mu.Lock()
	delete(k.wires.open, k)
	k.wires.mu.Unlock()
	return k.Conn.Close()
}

// cut closes all sockets, and opens no other. It does not wait.
func (w *wires) cut() {
	w.mu.Lock()
	w.isCut = true
	open := w.open
	w.open = make(map[net.Conn]struct{})
	w.mu.Unlock()
	w.cancel()
	for conn := range open {
		_ = conn.Close() // whoever uses it gets an error
	}
	w.http.CloseIdleConnections()
}

// RoundTrip is http.RoundTripper. It puts a wire under WebSockets.
func (w *wires) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := w.http.RoundTrip(req)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		return res, err
	}
	if body, ok := res.Body.(io.ReadWriteCloser); ok {
		w.work.Add(1)
		res.Body = &wire{ReadWriteCloser: body, wires: w, gone: make(chan struct{})}
	}
	return res, nil
}

// wire is a WebSocket's connection. It makes up for two weaknesses of the library at a connection's end.
type wire struct {
	io.ReadWriteCloser
	wires  *wires
	closed atomic.Bool
	gone   chan struct{} // closed by Close

	asked atomic.Bool // the library has begun its handshake
	first sync.Mutex  // held during the first Write, and while Read finds that there is no more to read
	dead  bool        // guarded by first: nothing comes any more

	// Owned by the reader.
	answered bool // something has come
	waited   bool
}

// emptyFrame is a WebSocket message with an empty frame of WhatsApp's.
const emptyFrame = "\x82\x03\x00\x00\x00"

// Read reads. While the library waits for the answer in its handshake, it does not notice the end of the
// connection for 20 s: it gets an empty answer instead, which ends the handshake at once. Later, it drops the
// stanzas that it has received but not yet handled when the connection ends, so it learns of the end late: the
// last stanza is the one that says why. In between, it does not expect the end at all.
func (w *wire) Read(p []byte) (int, error) {
	n, err := w.ReadWriteCloser.Read(p)
	w.answered = w.answered || n > 0
	if err == nil || n > 0 || w.waited || w.closed.Load() {
		return n, err
	}
	w.waited = true
	if w.end() && !w.answered {
		return copy(p, emptyFrame), nil
	}
	select {
	case <-w.wires.dialed:
	case <-w.gone:
		return 0, err
	}
	timer := time.NewTimer(w.wires.linger)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.wires.ctx.Done():
	}
	return 0, err
}

// end notes that nothing comes any more, and tells whether the library's handshake has begun. If it has not, it
// never will: an answer that nobody waits for would hold the library's reader for ever.
func (w *wire) end() bool {
	w.first.Lock()
	defer w.first.Unlock()
	w.dead = true
	return w.asked.Load()
}

// Write writes. The first time, it begins the handshake.
func (w *wire) Write(p []byte) (int, error) {
	if w.asked.Load() {
		return w.ReadWriteCloser.Write(p)
	}
	w.first.Lock()
	defer w.first.Unlock()
	if w.dead {
		return 0, net.ErrClosed
	}
	n, err := w.ReadWriteCloser.Write(p)
	w.asked.Store(err == nil)
	return n, err
}

// Close closes the connection and reports its end. The library does so after it has read everything.
func (w *wire) Close() error {
	if !w.closed.Swap(true) {
		close(w.gone)
		defer w.wires.work.Done()
		w.wires.onEnd()
	}
	return w.ReadWriteCloser.Close()
}
