package fakewa

import (
	"encoding/binary"
	"fmt"
	"time"

	"go.mau.fi/whatsmeow/types"
)

// ReceiptKind is what a receipt says about a message.
type ReceiptKind string

// The kinds of receipts that contacts send.
const (
	ReceiptDelivered ReceiptKind = ""       // it has arrived
	ReceiptRead      ReceiptKind = "read"   // it has been read
	ReceiptPlayed    ReceiptKind = "played" // it has been listened to
)

// GotReceipt is what a client has confirmed to a contact.
type GotReceipt struct {
	ID     string    `json:"id"`               // the message
	From   string    `json:"from"`             // the account's number
	Device int       `json:"device,omitempty"` // which of its devices
	Kind   string    `json:"kind"`             // delivered, inactive (delivered, unseen), read, played, retry
	At     time.Time `json:"at"`
}

// Receipt tells the account of the number what has become of its messages. One receipt is sent for all.
func (c *Contact) Receipt(to string, kind ReceiptKind, ids ...string) error {
	a, ok := c.srv.Account(to)
	if !ok || len(ids) == 0 {
		return fmt.Errorf("%w: %s", ErrNobody, to)
	}
	c.srv.mu.Lock()
	defer c.srv.mu.Unlock()
	for _, d := range a.linked() {
		c.srv.enqueue(d, receipt(c.profile.lid(), kind, c.srv.stamp(), ids...))
	}
	return nil
}

func receipt(from types.JID, kind ReceiptKind, stamp string, ids ...string) node {
	a := attrs{"from": from, "id": ids[0], "t": stamp}
	if kind != ReceiptDelivered {
		a["type"] = string(kind)
	}
	n := el("receipt", a)
	if len(ids) > 1 {
		var items []node
		for _, id := range ids[1:] {
			items = append(items, el("item", attrs{"id": id}))
		}
		n.Content = []node{el("list", nil, items...)}
	}
	return n
}

// confirm is a phone's receipt for a message that has arrived.
func (s *Server) confirm(who person, d *device, n *node, to types.JID) {
	c, ok := who.(*Contact)
	if !ok || c.options.NoReceipts {
		return
	}
	r := receipt(addressedAs(&c.profile, to), ReceiptDelivered, s.stamp(), text(n, "id"))
	if group := address(n, "to"); group.Server == types.GroupServer {
		r.Attrs["participant"], r.Attrs["from"] = r.Attrs["from"], group
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.enqueue(d, r)
}

// handleReceipt takes in a client's receipt: it is also the acknowledgement of the message.
func (s *Server) handleReceipt(c *conn, n *node) {
	kind := text(n, "type")
	s.mu.Lock()
	d := c.device
	if d == nil {
		s.mu.Unlock()
		return
	}
	ids := []string{text(n, "id")}
	if list, ok := find(n, "list"); ok {
		for _, item := range list.GetChildren() {
			ids = append(ids, text(&item, "id"))
		}
	}
	to, _ := s.people[receiver(n).User].(*Contact)
	for _, id := range ids {
		if kind != "retry" {
			s.settle(d, "message", "", id)
		}
		if to != nil {
			to.receipts.add(gotReceipt(d, kind, id, s.now()))
		}
	}
	s.notify()
	s.mu.Unlock()
	if kind == "retry" && to != nil {
		s.sendAgain(c, to, d, n)
	}
}

// receiver is whom a client's receipt is for.
func receiver(n *node) types.JID {
	if participant := address(n, "participant"); !participant.IsEmpty() {
		return participant
	}
	return address(n, "to")
}

func gotReceipt(d *device, kind, id string, now time.Time) GotReceipt {
	if kind == "" {
		kind = "delivered"
	}
	return GotReceipt{ID: id, From: d.account.profile.phone, Device: int(d.id), Kind: kind, At: now}
}

// sendAgain encrypts a message once more for a device that could not read it, with the keys that it has
// put into its receipt.
func (s *Server) sendAgain(c *conn, from *Contact, d *device, n *node) {
	id := text(n, "id")
	s.mu.Lock()
	said, ok := from.sent.get(id)
	s.mu.Unlock()
	if !ok {
		return
	}
	from.peer.mu.Lock()
	defer from.peer.mu.Unlock()
	if err := from.peer.vault.DeleteSession(c.ctx, d.lid().SignalAddress().String()); err != nil {
		return
	}
	enc, err := from.peer.encrypt(c.ctx, d.lid(), said.m, s.bundleOf(d))
	if err != nil {
		s.log.Error("fakewa: a message cannot be sent again", "error", err)
		return
	}
	if said.group != nil { // its next message there brings the key that this device lacks
		delete(from.keyed, senderKeyName{group: said.group.JID().String(), user: d.lid().String()})
	}
	if retry, ok := find(n, "retry"); ok {
		enc.Attrs["count"] = text(retry, "count")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle(d, "message", "", id)
	s.enqueue(d, el("message", from.envelope(id, said.m, said.group), enc))
}

// maxRetries is how often a phone asks for a message that it cannot read.
const maxRetries = 3

// askAgain is a phone's receipt for a message that it cannot read: the client shall begin a new session.
func (s *Server) askAgain(who person, d *device, n *node, to types.JID) {
	c, ok := who.(*Contact)
	if !ok {
		return
	}
	k, one, err := c.peer.publish()
	if err != nil {
		return
	}
	id := text(n, "id")
	s.mu.Lock()
	defer s.mu.Unlock()
	times, _ := c.asked.get(id)
	if times++; times > maxRetries {
		return
	}
	c.asked.put(id, times)
	keys := keyNodes(&k, one, true)
	a := attrs{"from": addressedAs(&c.profile, to), "id": id, "t": s.stamp(), "type": "retry"}
	if group := address(n, "to"); group.Server == types.GroupServer {
		a["participant"], a["from"] = a["from"], group
	}
	s.enqueue(d, el("receipt", a,
		el("retry", attrs{"count": times, "id": id, "t": s.stamp(), "v": "1"}),
		data("registration", binary.BigEndian.AppendUint32(nil, k.registration)),
		el("keys", nil, keys[1:]...)))
}
