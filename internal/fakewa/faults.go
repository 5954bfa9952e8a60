package fakewa

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/coder/websocket"
)

// FaultKind is what goes wrong for as long as a Fault stands.
type FaultKind string

// The kinds of standing faults.
const (
	// RefuseLogin answers logins with a failure: Code is the reason, such as 401, Attrs are further
	// attributes, such as code and expire of a ban (402).
	RefuseLogin FaultKind = "refuse_login"
	// SilenceIQ leaves requests of namespace XMLNS and first child Tag unanswered; "" stands for any.
	SilenceIQ FaultKind = "silence_iq"
	// Delay holds back everything the server says by Duration.
	Delay FaultKind = "delay"
	// AckError acknowledges messages with the error Code, such as 479.
	AckError FaultKind = "ack_error"
	// Corrupt makes messages to the account's devices unreadable; the sender encrypts them again when asked.
	Corrupt FaultKind = "corrupt"
	// SpoilPairing makes the phone answer with a wrong secret, so that the client refuses it.
	SpoilPairing FaultKind = "spoil_pairing"
	// SlowAccept lets the server take only one connection per Duration. It has no phone.
	SlowAccept FaultKind = "slow_accept"
	// RefuseTCP resets connections at once. It has no phone.
	RefuseTCP FaultKind = "refuse_tcp"
)

// Fault is something that goes wrong until it is cleared, or has happened often enough.
type Fault struct {
	Kind     FaultKind         `json:"kind"`
	Phone    string            `json:"phone,omitempty"` // whose connections; "" for all
	Code     int               `json:"code,omitempty"`
	Attrs    map[string]string `json:"attrs,omitempty"`
	XMLNS    string            `json:"xmlns,omitempty"`
	Tag      string            `json:"tag,omitempty"`
	Duration time.Duration     `json:"duration,omitempty"` // nanoseconds
	Times    int               `json:"times,omitempty"`    // how often; 0 until it is cleared
}

// standing is a fault and what is left of it.
type standing struct {
	Fault
	left int // -1 for no bound
}

// Faults is the control of what goes wrong. Phones are digits as in AccountOptions; "" means all
// connections, those without a phone too.
type Faults struct{ srv *Server }

// Faults returns the fault control.
func (s *Server) Faults() *Faults { return &Faults{srv: s} }

// ErrFault is returned for a fault that makes no sense.
var ErrFault = errors.New("fakewa: there is no such fault")

// Add lets a fault stand, besides those that stand already.
func (f *Faults) Add(fault Fault) error {
	if err := fault.check(); err != nil {
		return err
	}
	f.srv.mu.Lock()
	defer f.srv.mu.Unlock()
	left := -1
	if fault.Times > 0 {
		left = fault.Times
	}
	f.srv.faults = append(f.srv.faults, &standing{Fault: fault, left: left})
	f.srv.applyDelays()
	f.srv.notify()
	return nil
}

func (f *Fault) check() error {
	needsCode, needsDuration := false, false
	switch f.Kind {
	case RefuseLogin, AckError:
		needsCode = true
	case Delay, SlowAccept:
		needsDuration = true
	case SilenceIQ, Corrupt, SpoilPairing, RefuseTCP:
	default:
		return fmt.Errorf("%w: kind %q", ErrFault, f.Kind)
	}
	if needsCode && f.Code <= 0 {
		return fmt.Errorf("%w: %s needs a code", ErrFault, f.Kind)
	}
	if needsDuration && f.Duration <= 0 {
		return fmt.Errorf("%w: %s needs a duration", ErrFault, f.Kind)
	}
	return nil
}

// Clear ends all standing faults, and all stalls.
func (f *Faults) Clear() {
	f.srv.mu.Lock()
	defer f.srv.mu.Unlock()
	f.srv.faults = nil
	f.srv.applyDelays()
	for c := range f.srv.conns {
		c.resume()
	}
	f.srv.notify()
}

// List returns the faults that stand.
func (f *Faults) List() []Fault {
	f.srv.mu.Lock()
	defer f.srv.mu.Unlock()
	list := make([]Fault, 0, len(f.srv.faults))
	for _, st := range f.srv.faults {
		list = append(list, st.Fault)
	}
	return list
}

// Cut ends connections without a word, as a broken line does. It returns how many.
func (f *Faults) Cut(phone string) int { return f.each(phone, (*conn).kill) }

// CloseFrame ends connections politely, with WebSocket's closing handshake.
func (f *Faults) CloseFrame(phone string, code websocket.StatusCode) int {
	return f.each(phone, func(c *conn) { c.close(code) })
}

// Stall makes connections half-open: they stay, but nothing is read or written any more.
func (f *Faults) Stall(phone string) int { return f.each(phone, (*conn).stall) }

// Resume ends stalls.
func (f *Faults) Resume(phone string) int { return f.each(phone, (*conn).resume) }

// StreamError ends connections with a stream:error of the code and the type of conflict, both of which may
// be "": 503, 515, 500, or conflict "replaced".
func (f *Faults) StreamError(phone, code, conflict string) int {
	return f.each(phone, func(c *conn) { c.finish(streamError(code, conflict)) })
}

// EndStream ends connections with xmlstreamend, as a server does that goes down.
func (f *Faults) EndStream(phone string) int {
	return f.each(phone, func(c *conn) { c.finish(el("xmlstreamend", nil)) })
}

// each does something to the connections of a phone, or to all. It returns how many.
func (f *Faults) each(phone string, do func(*conn)) int {
	f.srv.mu.Lock()
	hit := slices.DeleteFunc(keysOf(f.srv.conns), func(c *conn) bool { return !c.isOf(phone) })
	f.srv.mu.Unlock()
	for _, c := range hit {
		do(c)
	}
	return len(hit)
}

// isOf tells whether something about a phone is about this connection. The caller holds Server.mu.
func (c *conn) isOf(phone string) bool {
	return phone == "" || c.device != nil && c.device.account.profile.phone == phone
}

// use finds the first standing fault that fits, and counts it. The caller holds mu.
func (s *Server) use(kind FaultKind, fits func(*Fault) bool) (Fault, bool) {
	for i, st := range s.faults {
		if st.Kind != kind || !fits(&st.Fault) {
			continue
		}
		if st.left > 0 {
			st.left--
		}
		if st.left == 0 {
			s.faults = slices.Delete(s.faults, i, i+1)
		}
		return st.Fault, true
	}
	return Fault{}, false
}

// refusalOf returns the failure for the login of a phone, if there is one. The caller holds mu.
func (s *Server) refusalOf(phone string) (node, bool) {
	f, ok := s.use(RefuseLogin, func(f *Fault) bool { return f.Phone == "" || f.Phone == phone })
	if !ok {
		return node{}, false
	}
	return failure(f.Code, f.Attrs), true
}

// silent tells whether a request stays unanswered.
func (s *Server) silent(c *conn, xmlns, tag string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.use(SilenceIQ, func(f *Fault) bool {
		return c.isOf(f.Phone) && (f.XMLNS == "" || f.XMLNS == xmlns) && (f.Tag == "" || f.Tag == tag)
	})
	return ok
}

// spoils tells whether the phone's next answer to a client is wrong.
func (s *Server) spoils(phone string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.use(SpoilPairing, func(f *Fault) bool { return f.Phone == "" || f.Phone == phone })
	return ok
}

// corrupts tells whether a message to a device becomes unreadable. The caller holds mu.
func (s *Server) corrupts(d *device) bool {
	_, ok := s.use(Corrupt, func(f *Fault) bool { return f.Phone == "" || f.Phone == d.account.profile.phone })
	return ok
}

// ackError returns the error for the acknowledgement of a message; 0 for none. The caller holds mu.
func (s *Server) ackError(c *conn) int {
	f, _ := s.use(AckError, func(f *Fault) bool { return c.isOf(f.Phone) })
	return f.Code
}

// delayOf returns how long what is said to a client is held back. The caller holds mu.
func (s *Server) delayOf(c *conn) time.Duration {
	var longest time.Duration
	for _, st := range s.faults {
		if st.Kind == Delay && c.isOf(st.Phone) {
			longest = max(longest, st.Duration)
		}
	}
	return longest
}

// applyDelays tells the connections about a change. The caller holds mu.
func (s *Server) applyDelays() {
	for c := range s.conns {
		c.delay.Store(int64(s.delayOf(c)))
	}
}

// gate is a listener with the faults that concern connections before they say anything.
type gate struct {
	net.Listener
	srv *Server
}

// Accept returns the next connection that is let in.
func (g *gate) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		wait, refused := g.srv.knock()
		if refused {
			reset(c)
			continue
		}
		if wait > 0 {
			select {
			case <-g.srv.closing:
			case <-time.After(wait):
			}
		}
		return c, nil
	}
}

// knock counts a connection and tells how long it must wait, or that it is refused.
func (s *Server) knock() (wait time.Duration, refused bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.dial(s.now())
	s.notify()
	always := func(*Fault) bool { return true }
	if _, refused = s.use(RefuseTCP, always); refused {
		return 0, true
	}
	f, _ := s.use(SlowAccept, always)
	return f.Duration, false
}

// reset ends a connection so that the other side sees an error, not an end.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // it is closed anyway
	}
	_ = c.Close() // it was never used
}
