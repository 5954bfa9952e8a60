package fakewa

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"go.mau.fi/whatsmeow/types"
)

// iq is a request of a client that wants an answer.
type iq struct {
	c    *conn
	n    *node
	body *node  // its first child; an empty node when there is none
	then func() // what to do after the answer, if anything
}

// iqHandler returns what the answer contains, or an iqError.
type iqHandler func(q *iq) ([]node, error)

// iqError is an answer that refuses.
type iqError struct {
	code int
	text string
}

// Error describes the refusal.
func (e iqError) Error() string { return fmt.Sprintf("%d %s", e.code, e.text) }

// routes are the requests that the server knows, by namespace, type and first child.
func routes() map[string]iqHandler {
	return map[string]iqHandler{
		"w:p/get/":                       keepAlive,
		"passive/set/active":             becomeActive,
		"passive/set/passive":            answerNothing,
		"encrypt/get/count":              countPreKeys,
		"encrypt/set/registration":       uploadPreKeys,
		"encrypt/get/key":                fetchPreKeys,
		"usync/get/usync":                usync,
		"w:profile:picture/get/picture":  fetchPicture,
		"privacy/get/privacy":            fetchPrivacy,
		"w:sync:app:state/set/sync":      syncAppState,
		"w:m/set/media_conn":             mediaConn,
		"w:g2/get/query":                 queryGroup,
		"w:g2/get/participating":         listGroups,
		"w:g2/set/create":                createGroup,
		"md/set/remove-companion-device": removeDevice,
		"md/set/link_code_companion_reg": linkByCode,
	}
}

// openRoutes are the requests that a client may make before it is logged in.
func openRoute(route string) bool {
	return route == "w:p/get/" || route == "md/set/link_code_companion_reg"
}

// handle takes in one stanza of a client.
func (s *Server) handle(c *conn, n *node) {
	if c.ended() {
		return
	}
	s.log.Debug("fakewa: received", slog.String("remote", c.remote), slog.String("tag", n.Tag),
		slog.String("xmlns", text(n, "xmlns")), slog.String("id", text(n, "id")), slog.String("type", text(n, "type")))
	switch n.Tag {
	case "iq":
		s.handleIQ(c, n)
	case "message":
		s.handleMessage(c, n)
	case "receipt":
		s.handleReceipt(c, n)
	case "ack":
		s.handleAck(c, n)
	}
}

func (s *Server) handleIQ(c *conn, n *node) {
	if kind := text(n, "type"); kind == "result" || kind == "error" {
		c.answered(n)
		return
	}
	q := &iq{c: c, n: n, body: &node{}}
	if children := n.GetChildren(); len(children) > 0 {
		q.body = &children[0]
	}
	xmlns := text(n, "xmlns")
	if s.silent(c, xmlns, q.body.Tag) {
		return
	}
	route := strings.Join([]string{xmlns, text(n, "type"), q.body.Tag}, "/")
	content, err := s.route(q, route)
	c.send(q.answer(content, err))
	if q.then != nil {
		q.then()
	}
}

func (s *Server) route(q *iq, route string) ([]node, error) {
	handler, ok := s.routes[route]
	switch {
	case !ok:
		s.log.Debug("fakewa: unknown request", slog.String("route", route))
		return nil, iqError{501, "feature-not-implemented"}
	case !q.c.isLoggedIn() && !openRoute(route):
		return nil, iqError{403, "forbidden"}
	}
	return handler(q)
}

// isLoggedIn tells whether the connection belongs to a device.
func (c *conn) isLoggedIn() bool {
	c.srv.mu.Lock()
	defer c.srv.mu.Unlock()
	return c.device != nil
}

func (q *iq) answer(content []node, err error) node {
	a := attrs{"from": types.ServerJID, "id": text(q.n, "id"), "type": "result"}
	if err == nil {
		return el("iq", a, content...)
	}
	var refusal iqError
	if !errors.As(err, &refusal) {
		refusal = iqError{500, "internal-server-error"}
		q.c.srv.log.Error("fakewa: request failed", slog.Any("error", err))
	}
	a["type"] = "error"
	return el("iq", a, el("error", attrs{"code": refusal.code, "text": refusal.text}))
}

func keepAlive(q *iq) ([]node, error) {
	s := q.c.srv
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.KeepAlives++
	s.notify()
	return nil, nil
}

func answerNothing(*iq) ([]node, error) { return nil, nil }
