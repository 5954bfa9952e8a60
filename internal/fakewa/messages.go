package fakewa

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"go.mau.fi/libsignal/signalerror"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
)

// Received is a message that a phone has decrypted.
type Received struct {
	ID     string    `json:"id"`
	From   string    `json:"from"`             // the sender's number
	Device int       `json:"device,omitempty"` // which of the sender's devices; 0 is the phone
	Chat   string    `json:"chat"`             // the other's number, or the group's id
	Kind   string    `json:"kind"`             // text, image, video, audio, document, sticker, reaction, edit, revoke or other
	Text   string    `json:"text,omitempty"`   // the text or the caption
	At     time.Time `json:"at"`
	Copy   bool      `json:"copy,omitempty"` // a linked device has sent it, the phone got a copy
	// Message is everything that was said.
	Message *waE2E.Message `json:"-"`
}

// received completes r by what the message says.
func received(m *waE2E.Message, r Received) Received {
	r.Message = m
	r.Kind, r.Text = "other", ""
	switch {
	case m.Conversation != nil:
		r.Kind, r.Text = "text", m.GetConversation()
	case m.ExtendedTextMessage != nil:
		r.Kind, r.Text = "text", m.GetExtendedTextMessage().GetText()
	case m.ImageMessage != nil:
		r.Kind, r.Text = "image", m.GetImageMessage().GetCaption()
	case m.VideoMessage != nil:
		r.Kind, r.Text = "video", m.GetVideoMessage().GetCaption()
	case m.AudioMessage != nil:
		r.Kind = "audio"
	case m.DocumentMessage != nil:
		r.Kind, r.Text = "document", m.GetDocumentMessage().GetCaption()
	case m.StickerMessage != nil:
		r.Kind = "sticker"
	case m.ReactionMessage != nil:
		r.Kind, r.Text = "reaction", m.GetReactionMessage().GetText()
	case m.EditedMessage != nil:
		r.Kind = "edit"
		r.Text = m.GetEditedMessage().GetMessage().GetProtocolMessage().GetEditedMessage().GetConversation()
	case m.GetProtocolMessage().GetType() == waE2E.ProtocolMessage_REVOKE && m.ProtocolMessage != nil:
		r.Kind = "revoke"
	}
	return r
}

// stanzaType is the type that a message's stanza has.
func stanzaType(m *waE2E.Message) string {
	switch {
	case m.ReactionMessage != nil:
		return "reaction"
	case mediaType(m) != "":
		return "media"
	}
	return "text"
}

// mediaType names the medium of a message; "" when there is none.
func mediaType(m *waE2E.Message) string {
	switch {
	case m.ImageMessage != nil:
		return "image"
	case m.VideoMessage != nil:
		return "video"
	case m.AudioMessage != nil:
		return "audio"
	case m.DocumentMessage != nil:
		return "document"
	case m.StickerMessage != nil:
		return "sticker"
	}
	return ""
}

// handleMessage takes in what a client sends, delivers it, and then acknowledges it: when a client knows
// that its message is sent, the recipients have it.
func (s *Server) handleMessage(c *conn, n *node) {
	s.mu.Lock()
	d := c.device
	if d == nil {
		s.mu.Unlock()
		return
	}
	s.stats.MessagesIn++
	refused := s.ackError(c)
	s.mu.Unlock()
	to := address(n, "to")
	ack := attrs{"class": "message", "id": text(n, "id"), "from": to, "t": s.stamp()}
	if refused != 0 {
		ack["error"] = refused
		c.send(el("ack", ack))
		return
	}
	s.deliver(c.ctx, d, n)
	c.send(el("ack", ack))
}

// deliver gives each recipient its part.
func (s *Server) deliver(ctx context.Context, d *device, n *node) {
	to := address(n, "to")
	if participant := address(n, "participant"); !participant.IsEmpty() {
		to = participant // a message to a group, once more for one member
	} else if to.Server == types.GroupServer {
		s.deliverToGroup(ctx, d, n)
		return
	}
	if participants, ok := find(n, "participants"); ok {
		for _, part := range participants.GetChildren() {
			if enc, ok := find(&part, "enc"); ok {
				s.deliverTo(ctx, d, n, address(&part, "jid"), enc)
			}
		}
	}
	if enc, ok := find(n, "enc"); ok { // to one device: the own phone, or somebody who has asked again
		s.deliverTo(ctx, d, n, to, enc)
	}
}

// deliverTo gives one device of somebody's its encrypted part.
func (s *Server) deliverTo(ctx context.Context, d *device, n *node, to types.JID, enc *node) {
	s.mu.Lock()
	who, ok := s.people[to.User]
	if !ok {
		s.mu.Unlock()
		return // clients are not told
	}
	if account, is := who.(*Account); is && to.Device > 0 {
		if other, linked := account.devices[to.Device]; linked {
			copied := s.forward(d, n, enc)
			if account == d.account {
				s.nameChat(copied.Attrs, address(n, "to"))
			}
			s.enqueue(other, copied)
		}
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	m, err := who.signal().decrypt(ctx, d.lid(), enc)
	switch {
	case err == nil:
		s.learn(ctx, who, d, m)
		s.arrive(who, d, n, to, m)
	case errors.Is(err, signalerror.ErrOldCounter):
		// The client was not sure and has sent it again.
	default:
		s.log.Info("fakewa: a phone cannot decrypt a message", slog.String("phone", who.whois().phone), slog.Any("error", err))
		s.askAgain(who, d, n, to)
	}
}

// arrive is what a phone does with a message that it has decrypted.
func (s *Server) arrive(who person, d *device, n *node, to types.JID, m *waE2E.Message) {
	r := Received{ID: text(n, "id"), From: d.account.profile.phone, Device: int(d.id), Chat: d.account.profile.phone, At: s.now()}
	if group := address(n, "to"); group.Server == types.GroupServer {
		r.Chat = group.User
	}
	if copied := m.GetDeviceSentMessage(); copied != nil {
		m = copied.GetMessage()
		r.Copy, r.Chat = true, s.numberOf(copied.GetDestinationJID())
	}
	if text(n, "category") == "peer" {
		return // devices of one account among themselves
	}
	r = received(m, r)
	if r.Kind == "other" && m.GetSenderKeyDistributionMessage() != nil {
		return // the key alone; the message itself follows
	}
	who.receive(r)
	s.confirm(who, d, n, to)
}

// learn takes in a sender's key that comes with a message, if there is one.
func (s *Server) learn(ctx context.Context, who person, d *device, m *waE2E.Message) {
	key := m.GetSenderKeyDistributionMessage()
	if key == nil {
		return
	}
	if err := who.signal().learnSenderKey(ctx, d.lid(), key); err != nil {
		s.log.Info("fakewa: a phone cannot read a sender key", slog.String("phone", who.whois().phone), slog.Any("error", err))
	}
}

// numberOf returns the number of an address, whichever identity it names; its user part for others.
func (s *Server) numberOf(jid string) string {
	j, err := types.ParseJID(jid)
	if err != nil {
		return jid
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if who, ok := s.people[j.User]; ok {
		return who.whois().phone
	}
	return j.User
}

// nameChat says in which chat a copy for another of the account's devices belongs. The caller holds mu.
func (s *Server) nameChat(a attrs, chat types.JID) {
	a["recipient"] = chat
	who, ok := s.people[chat.User]
	switch {
	case !ok:
	case chat.Server == types.HiddenUserServer:
		a["peer_recipient_pn"] = who.whois().pn()
	default:
		a["peer_recipient_lid"] = who.whois().lid()
	}
}

// forward builds the stanza with which a linked device gets what another device sends. The caller holds mu.
func (s *Server) forward(d *device, n, enc *node) node {
	a := attrs{
		"from": d.pn(), "sender_lid": d.lid(), "id": text(n, "id"), "t": s.stamp(), "type": text(n, "type"),
		"notify": d.account.profile.name,
	}
	for _, name := range []string{"category", "edit"} {
		if v := text(n, name); v != "" {
			a[name] = v
		}
	}
	children := []node{*enc}
	if id, ok := find(n, "device-identity"); ok {
		children = append(children, *id)
	}
	return el("message", a, children...)
}
