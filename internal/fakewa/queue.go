package fakewa

import (
	"slices"
)

// stanza is something that a device must acknowledge. Its bytes are the same each time it is written.
type stanza struct {
	id      string
	tag     string // message, receipt, notification
	kind    string // the type, where acknowledgements repeat it: not for messages
	payload []byte
}

// enqueue gives a device a stanza, now or when it is back. The caller holds mu.
func (s *Server) enqueue(d *device, n node) {
	st := stanza{id: text(&n, "id"), tag: n.Tag, payload: encode(n)}
	if n.Tag != "message" {
		st.kind = text(&n, "type")
	}
	d.queue = append(d.queue, st)
	s.flush(d)
	s.notify()
}

// flush writes the queue if somebody is there to read it. What was written stays in flight until it is
// acknowledged, and is written again at the next login. The caller holds mu.
func (s *Server) flush(d *device) {
	if d.conn == nil || d.conn.state != StateActive {
		return
	}
	for _, st := range d.queue {
		d.conn.push(st.payload, ending{})
	}
	s.stats.MessagesOut += len(d.queue)
	d.inflight = append(d.inflight, d.queue...)
	d.queue = nil
}

// settle forgets a stanza that the device has acknowledged. The caller holds mu.
func (s *Server) settle(d *device, tag, kind, id string) {
	d.inflight = slices.DeleteFunc(d.inflight, func(st stanza) bool {
		return st.tag == tag && st.kind == kind && st.id == id
	})
	s.notify()
}

// handleAck takes in the acknowledgement of a stanza.
func (s *Server) handleAck(c *conn, n *node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.device == nil {
		return
	}
	kind := text(n, "type")
	if text(n, "class") == "message" {
		kind = ""
	}
	s.settle(c.device, text(n, "class"), kind, text(n, "id"))
}
