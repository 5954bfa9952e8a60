package fakewa

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"go.mau.fi/libsignal/keys/prekey"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"google.golang.org/protobuf/proto"
)

func decimal(n uint64) string { return strconv.FormatUint(n, 10) }

// ContactOptions describe somebody else on WhatsApp.
type ContactOptions struct {
	Phone string `json:"phone"` // as in AccountOptions
	Name  string `json:"name,omitempty"`
	// ByLID makes the contact's messages come from its LID with the number aside, instead of the reverse.
	ByLID bool `json:"byLid,omitempty"`
	// NoReceipts keeps the contact from confirming the delivery of what it gets.
	NoReceipts bool `json:"noReceipts,omitempty"`
}

// Contact is somebody who exchanges encrypted messages with accounts, from a phone only.
type Contact struct {
	srv     *Server
	profile profile
	peer    *peer
	options ContactOptions

	// Guarded by srv.mu.
	received history[Received]
	receipts history[GotReceipt]
	sent     memo[outgoingMessage]  // by id, to send again on request
	keyed    map[senderKeyName]bool // devices that have its sender key of a group. Guarded by peer.mu
	asked    memo[int]              // by id: how often the contact could not read a message
}

// outgoingMessage is what a contact has said, and where.
type outgoingMessage struct {
	m     *waE2E.Message
	group *Group // nil for an account
}

// AddContact adds somebody. It fails when the number is malformed or taken.
func (s *Server) AddContact(o ContactOptions) (*Contact, error) {
	p, err := s.newProfile(o.Phone, o.Name)
	if err != nil {
		return nil, err
	}
	c := &Contact{
		srv: s, profile: p, peer: newPeer(s.seed, p.phone), options: o, keyed: make(map[senderKeyName]bool),
	}
	if err := s.register(c); err != nil {
		return nil, err
	}
	return c, nil
}

// Contact returns the contact of a number.
func (s *Server) Contact(phone string) (*Contact, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.people[strings.TrimPrefix(phone, "+")].(*Contact)
	return c, ok && c.profile.phone == strings.TrimPrefix(phone, "+")
}

// Contacts returns all contacts, by number.
func (s *Server) Contacts() []*Contact {
	s.mu.Lock()
	defer s.mu.Unlock()
	return everybody[*Contact](s)
}

func (c *Contact) whois() *profile { return &c.profile }
func (c *Contact) signal() *peer   { return c.peer }

// Phone returns the digits of the contact's number.
func (c *Contact) Phone() string { return c.profile.phone }

// LID returns the user part of the contact's second identity.
func (c *Contact) LID() string { return c.profile.lidUser }

// Received returns what the contact has decrypted, oldest first.
// Only the newest ten thousand are certain to be there.
func (c *Contact) Received() []Received { return c.receivedAfter(0) }

// Receipts returns what clients have confirmed to the contact, oldest first, as far as Received goes.
func (c *Contact) Receipts() []GotReceipt { return c.receiptsAfter(0) }

func (c *Contact) receivedAfter(n int) []Received {
	c.srv.mu.Lock()
	defer c.srv.mu.Unlock()
	return c.received.after(n)
}

func (c *Contact) receiptsAfter(n int) []GotReceipt {
	c.srv.mu.Lock()
	defer c.srv.mu.Unlock()
	return c.receipts.after(n)
}

func (c *Contact) receive(m Received) {
	c.srv.mu.Lock()
	defer c.srv.mu.Unlock()
	c.received.add(m)
	c.srv.notify()
}

// SendText sends a text to the account of the number, on all its devices, and returns the message's id.
// Devices that are away get it when they are back.
func (c *Contact) SendText(ctx context.Context, to, body string) (id string, err error) {
	return c.Send(ctx, to, &waE2E.Message{Conversation: proto.String(body)})
}

// Send sends any message like SendText.
func (c *Contact) Send(ctx context.Context, to string, m *waE2E.Message) (id string, err error) {
	id = newID()
	return id, c.SendAs(ctx, to, id, m)
}

// ErrNobody is returned for a number that nobody has, or nobody of the right kind.
var ErrNobody = errors.New("fakewa: nobody has this number")

// SendAs sends a message with an id of the caller's choice, which may have been used before.
func (c *Contact) SendAs(ctx context.Context, to, id string, m *waE2E.Message) error {
	a, ok := c.srv.Account(to)
	if !ok {
		return fmt.Errorf("%w: %s", ErrNobody, to)
	}
	c.srv.mu.Lock()
	c.sent.put(id, outgoingMessage{m: m})
	devices := a.linked()
	c.srv.mu.Unlock()
	a.receive(received(m, Received{ID: id, From: c.profile.phone, Chat: c.profile.phone, At: c.srv.now()}))
	for _, d := range devices {
		if err := c.srv.sendMessage(ctx, c.peer, d, c.envelope(id, m, nil), m); err != nil {
			return err
		}
	}
	return nil
}

// envelope returns the attributes of a message of the contact's. The group is nil for an account.
func (c *Contact) envelope(id string, m *waE2E.Message, g *Group) attrs {
	a := attrs{"id": id, "t": c.srv.stamp(), "type": stanzaType(m), "notify": c.profile.name}
	if g != nil {
		a["from"], a["participant"], a["participant_pn"], a["addressing_mode"] = g.JID(), c.profile.lid(), c.profile.pn(), "lid"
		return a
	}
	if c.options.ByLID {
		a["from"], a["sender_pn"], a["addressing_mode"] = c.profile.lid(), c.profile.pn(), "lid"
		return a
	}
	a["from"], a["sender_lid"] = c.profile.pn(), c.profile.lid()
	return a
}

// sendMessage encrypts a message for one device and queues it there.
func (s *Server) sendMessage(ctx context.Context, from *peer, d *device, envelope attrs, m *waE2E.Message) error {
	from.mu.Lock()
	defer from.mu.Unlock()
	enc, err := from.encrypt(ctx, d.lid(), m, s.bundleOf(d))
	if err != nil {
		return err
	}
	if kind := mediaType(m); kind != "" {
		enc.Attrs["mediatype"] = kind
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if sealed, ok := enc.Content.([]byte); ok && s.corrupts(d) {
		sealed[len(sealed)-1] ^= 0xff
	}
	s.enqueue(d, el("message", envelope, enc))
	return nil
}

// bundleOf returns how to get what it takes to begin a session with the device.
func (s *Server) bundleOf(d *device) func() *prekey.Bundle {
	return func() *prekey.Bundle {
		s.mu.Lock()
		defer s.mu.Unlock()
		return d.bundle()
	}
}

// sendPeer sends one of the phone's own messages to its linked device.
func (a *Account) sendPeer(ctx context.Context, d *device, m *waE2E.Message) error {
	return a.srv.sendMessage(ctx, a.peer, d, attrs{
		"from": a.profile.pn(), "id": newID(), "t": a.srv.stamp(), "type": "text", "category": "peer",
	}, m)
}

// ForgetSessions makes the contact lose all its Signal sessions, as a phone does whose storage was cleared:
// it begins new ones, and asks again for messages in old ones.
func (c *Contact) ForgetSessions() {
	c.peer.mu.Lock()
	defer c.peer.mu.Unlock()
	clear(c.peer.vault.sessions)
	clear(c.peer.vault.senderKeys)
	clear(c.keyed)
}

// SendText is what the owner types on the phone: the number gets it if it is a contact, the linked devices
// get a copy. It returns the message's id.
func (a *Account) SendText(ctx context.Context, to, body string) (id string, err error) {
	a.srv.mu.Lock()
	who, ok := a.srv.people[strings.TrimPrefix(to, "+")]
	devices := a.linked()
	a.srv.mu.Unlock()
	if !ok {
		return "", fmt.Errorf("%w: %s", ErrNobody, to)
	}
	id = newID()
	m := &waE2E.Message{Conversation: proto.String(body)}
	if c, is := who.(*Contact); is {
		c.receive(received(m, Received{ID: id, From: a.profile.phone, Chat: a.profile.phone, At: a.srv.now()}))
	}
	chat := who.whois()
	sent := &waE2E.Message{DeviceSentMessage: &waE2E.DeviceSentMessage{DestinationJID: proto.String(chat.pn().String()), Message: m}}
	for _, d := range devices {
		err = a.srv.sendMessage(ctx, a.peer, d, attrs{
			"from": a.profile.pn(), "id": id, "t": a.srv.stamp(), "type": "text",
			"recipient": chat.pn(), "peer_recipient_lid": chat.lid(),
		}, sent)
		if err != nil {
			return id, err
		}
	}
	return id, nil
}

// addressedAs returns the person's address of the kind that was used for it.
func addressedAs(p *profile, used types.JID) types.JID {
	if used.Server == types.HiddenUserServer {
		return p.lid()
	}
	return p.pn()
}
