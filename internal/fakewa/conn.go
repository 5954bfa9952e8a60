package fakewa

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	waBinary "go.mau.fi/whatsmeow/binary"
)

const (
	// handshakeTime is how long a client may take to introduce itself.
	handshakeTime = 20 * time.Second
	// writeTime is how long a client may not read before it is cut off.
	writeTime = 10 * time.Second
	// lingerTime is how long a connection stays open after its last stanza: clients drop a stanza that is
	// followed by the end of the connection at once.
	lingerTime = 300 * time.Millisecond
)

// conn is a client's connection. Its reader is the goroutine of the HTTP request; a writer runs only while
// there is something to write, so that an idle connection costs one goroutine.
type conn struct {
	srv    *Server
	ctx    context.Context // of the HTTP request; ends after the reader
	frames *frames
	remote string
	since  time.Time
	die    sync.Once
	dead   chan struct{} // closed by kill
	delay  atomic.Int64  // how long each stanza is held back, in nanoseconds

	outMu   sync.Mutex
	out     []outgoing
	writing bool          // a writer runs
	shut    bool          // nothing more may be sent
	stalled chan struct{} // non-nil while the connection is half-open; closed to resume

	// Guarded by srv.mu.
	state   ConnectionState
	device  *device  // nil before the login
	pairing *pairing // nil unless it waits for a phone
	pending map[string]chan<- *node
}

// outgoing is something to write.
type outgoing struct {
	payload []byte    // nil for nothing
	due     time.Time // not before
	end     ending    // what follows
}

// ending tells how a connection ends after a stanza.
type ending struct {
	kind endKind
	code websocket.StatusCode // of endClose
}

type endKind int

const (
	endNot    endKind = iota // it goes on
	endLinger                // the client shall close; the server does so soon after
	endClose                 // the server says goodbye in WebSocket's way
)

func newConn(s *Server, r *http.Request, ws *websocket.Conn) *conn {
	return &conn{
		srv: s, ctx: r.Context(), frames: &frames{ws: ws}, remote: r.RemoteAddr, since: s.now(),
		dead: make(chan struct{}),
	}
}

// serve is the reader: it returns when the connection has ended.
func (c *conn) serve() {
	defer c.quit()
	if !c.srv.attach(c) {
		return
	}
	client, err := c.introduce()
	if err != nil {
		c.srv.log.Info("fakewa: handshake failed", slog.String("remote", c.remote), slog.Any("error", err))
		return
	}
	if client.payload.GetDevicePairingData() != nil {
		c.srv.beginPairing(c, client)
	} else {
		c.srv.login(c, client)
	}
	for {
		n, err := c.read()
		if err != nil {
			return
		}
		c.srv.handle(c, n)
	}
}

// quit ends what serve began.
func (c *conn) quit() {
	c.outMu.Lock()
	c.shut = true
	c.out = nil
	c.outMu.Unlock()
	c.kill()
	c.srv.detach(c)
}

func (c *conn) introduce() (*hello, error) {
	ctx, cancel := context.WithTimeout(c.ctx, handshakeTime)
	defer cancel()
	return accept(ctx, c.frames, c.srv.own)
}

// read returns the client's next stanza.
func (c *conn) read() (*node, error) {
	raw, err := c.frames.read(c.ctx)
	if err != nil {
		return nil, err
	}
	if !c.flows(time.Time{}) {
		return nil, errors.New("fakewa: the connection was killed")
	}
	if len(raw) == 0 {
		return nil, errFrame
	}
	unpacked, err := waBinary.Unpack(raw)
	if err != nil {
		return nil, err
	}
	return waBinary.Unmarshal(unpacked)
}

// send queues a stanza. It never blocks, and does nothing on a connection that has ended.
func (c *conn) send(n node) { c.push(encode(n), ending{}) }

// finish queues the last stanza of a connection.
func (c *conn) finish(n node) { c.push(encode(n), ending{kind: endLinger}) }

// close ends the connection with a closing handshake of WebSocket's.
func (c *conn) close(code websocket.StatusCode) {
	c.push(nil, ending{kind: endClose, code: code})
}

// kill cuts the connection.
func (c *conn) kill() {
	c.die.Do(func() {
		close(c.dead)
		_ = c.frames.ws.CloseNow() // it may be closed already
	})
}

// encode panics on a node that no code of this package may build.
func encode(n node) []byte {
	payload, _ := waBinary.Marshal(n) // returns no error
	return payload
}

func (c *conn) push(payload []byte, end ending) {
	var due time.Time
	if delay := time.Duration(c.delay.Load()); delay > 0 {
		due = time.Now().Add(delay)
	}
	c.outMu.Lock()
	defer c.outMu.Unlock()
	if c.shut {
		return
	}
	c.out = append(c.out, outgoing{payload: payload, due: due, end: end})
	c.shut = end.kind != endNot
	if !c.writing {
		c.writing = true
		c.srv.running.Go(c.write) // the reader still counts, or else shut would be set
	}
}

// next returns what is to be written, or false when the writer may go.
func (c *conn) next() (outgoing, bool) {
	c.outMu.Lock()
	defer c.outMu.Unlock()
	if len(c.out) == 0 {
		c.writing = false
		c.out = nil // an idle connection keeps no buffer
		return outgoing{}, false
	}
	o := c.out[0]
	c.out = c.out[1:]
	return o, true
}

// write is the writer: it returns when there is nothing left.
func (c *conn) write() {
	for {
		o, ok := c.next()
		if !ok {
			return
		}
		if !c.flows(o.due) {
			continue
		}
		if o.payload != nil && c.writeFrame(o.payload) != nil {
			c.kill()
			continue
		}
		c.conclude(o.end)
	}
}

func (c *conn) writeFrame(payload []byte) error {
	ctx, cancel := context.WithTimeout(c.ctx, writeTime)
	defer cancel()
	return c.frames.write(ctx, payload)
}

func (c *conn) conclude(end ending) {
	switch end.kind {
	case endNot:
	case endLinger:
		select {
		case <-c.dead:
		case <-time.After(lingerTime):
		}
		c.kill()
	case endClose:
		_ = c.frames.ws.Close(end.code, "")
		c.kill()
	}
}

// flows waits until it is time, and while the connection is half-open. It returns false when the connection
// is dead.
func (c *conn) flows(due time.Time) bool {
	if wait := time.Until(due); wait > 0 {
		select {
		case <-c.dead:
			return false
		case <-time.After(wait):
		}
	}
	c.outMu.Lock()
	stalled := c.stalled
	c.outMu.Unlock()
	if stalled != nil {
		select {
		case <-c.dead:
			return false
		case <-stalled:
		}
	}
	select {
	case <-c.dead:
		return false
	default:
		return true
	}
}

// stall makes the connection half-open: nothing is read or written, but it stays.
func (c *conn) stall() {
	c.outMu.Lock()
	defer c.outMu.Unlock()
	if c.stalled == nil {
		c.stalled = make(chan struct{})
	}
}

func (c *conn) isStalled() bool {
	c.outMu.Lock()
	defer c.outMu.Unlock()
	return c.stalled != nil
}

// resume ends a stall.
func (c *conn) resume() {
	c.outMu.Lock()
	defer c.outMu.Unlock()
	if c.stalled != nil {
		close(c.stalled)
		c.stalled = nil
	}
}

// ended tells whether the connection has had its last stanza. What the client still says is ignored.
func (c *conn) ended() bool {
	c.outMu.Lock()
	defer c.outMu.Unlock()
	return c.shut
}

var errGone = errors.New("fakewa: the client has hung up")

// call sends a request of the server's and returns the client's answer.
func (c *conn) call(ctx context.Context, n node) (*node, error) {
	id := text(&n, "id")
	answer := make(chan *node, 1)
	c.srv.mu.Lock()
	if c.pending == nil {
		c.pending = make(map[string]chan<- *node)
	}
	c.pending[id] = answer
	c.srv.mu.Unlock()
	defer func() {
		c.srv.mu.Lock()
		delete(c.pending, id)
		c.srv.mu.Unlock()
	}()
	c.send(n)
	select {
	case got := <-answer:
		return got, nil
	case <-c.dead:
		return nil, errGone
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// answered passes on the answer to a call. It tells whether somebody waits for it.
func (c *conn) answered(n *node) bool {
	c.srv.mu.Lock()
	defer c.srv.mu.Unlock()
	waiting, ok := c.pending[text(n, "id")]
	if ok {
		delete(c.pending, text(n, "id"))
		waiting <- n
	}
	return ok
}
