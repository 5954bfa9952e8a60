package fakewa

import (
	"log/slog"
	"strconv"

	"go.mau.fi/whatsmeow/types"
)

// login lets a paired device in, or refuses it.
func (s *Server) login(c *conn, h *hello) {
	phone := strconv.FormatUint(h.payload.GetUsername(), 10)
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.notify()
	d := s.known(phone, uint16(h.payload.GetDevice()), h.static)
	refusal, refused := s.refusalOf(phone)
	if !refused && d == nil {
		refusal, refused = failure(401, nil), true
	}
	if refused {
		s.stats.LoginsRefused++
		s.log.Info("fakewa: login refused", slog.String("phone", phone), slog.String("reason", text(&refusal, "reason")))
		c.finish(refusal)
		return
	}
	s.replace(d)
	s.stats.Logins++
	d.conn, c.device, c.state = c, d, StateLoggedIn
	c.delay.Store(int64(s.delayOf(c)))
	c.send(el("success", attrs{"t": s.stamp(), "lid": d.lid(), "props": "27", "location": "fake"}))
}

// known returns the device that proves itself with this key; nil if there is none. The caller holds mu.
func (s *Server) known(phone string, id uint16, static [32]byte) *device {
	a, ok := s.people[phone].(*Account)
	if !ok {
		return nil
	}
	d, ok := a.devices[id]
	if !ok || d.noise != static {
		return nil
	}
	return d
}

// replace ends the connection that the device has already: a device has one. The caller holds mu.
func (s *Server) replace(d *device) {
	old := d.conn
	if old == nil {
		return
	}
	d.conn = nil
	old.finish(el("stream:error", nil, el("conflict", attrs{"type": "replaced"})))
	if old.isStalled() {
		s.running.Go(old.kill) // its client has given up: the writer would wait for ever
	}
}

// failure builds the answer to a login that is refused.
func failure(reason int, more map[string]string) node {
	a := attrs{"reason": reason, "location": "fake"}
	for name, value := range more {
		a[name] = value
	}
	return el("failure", a)
}

// becomeActive is the client's word that it wants its messages: from now on the connection is of use.
func becomeActive(q *iq) ([]node, error) {
	q.then = func() {
		q.c.srv.activate(q.c)
		q.c.srv.greet(q.c)
	}
	return nil, nil
}

// activate writes what the device has missed, and from now on what comes.
func (s *Server) activate(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := c.device
	if d == nil || d.conn != c || c.state == StateActive {
		return
	}
	c.state = StateActive
	d.queue, d.inflight = append(d.inflight, d.queue...), nil
	missed := len(d.queue)
	c.send(el("ib", attrs{"from": types.ServerJID}, el("offline_preview", attrs{
		"count": missed, "message": missed, "notification": 0, "receipt": 0, "appdata": 0,
	})))
	s.flush(d)
	c.send(el("ib", attrs{"from": types.ServerJID}, el("offline", attrs{"count": missed})))
	s.notify()
}

// removeDevice is a client that logs itself out.
func removeDevice(q *iq) ([]node, error) {
	s := q.c.srv
	s.mu.Lock()
	defer s.mu.Unlock()
	d := q.c.device
	if wanted := address(q.body, "jid"); d == nil || wanted.User != d.account.profile.phone || wanted.Device != d.id {
		return nil, iqError{403, "forbidden"}
	}
	delete(d.account.devices, d.id)
	s.unsaved()
	s.notify()
	return nil, nil
}
