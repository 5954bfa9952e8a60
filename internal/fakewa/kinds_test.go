package fakewa_test

import (
	"testing"

	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	"google.golang.org/protobuf/proto"

	"github.com/pombal-api/pombal/internal/fakewa"
)

func TestKindsOfMessages(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.phone(t, "5511999990001")
	friend := h.friend(t, fakewa.ContactOptions{Phone: "5511988880001"})
	c := h.paired(t, a)
	chat := types.NewJID(friend.LID(), types.HiddenUserServer)
	caption := proto.String("caption")
	for _, k := range []struct {
		kind, text string
		message    *waE2E.Message
	}{
		{"text", "plain", text("plain")},
		{"text", "long", &waE2E.Message{ExtendedTextMessage: &waE2E.ExtendedTextMessage{Text: proto.String("long")}}},
		{"image", "caption", &waE2E.Message{ImageMessage: &waE2E.ImageMessage{Caption: caption}}},
		{"video", "caption", &waE2E.Message{VideoMessage: &waE2E.VideoMessage{Caption: caption}}},
		{"audio", "", &waE2E.Message{AudioMessage: &waE2E.AudioMessage{}}},
		{"document", "caption", &waE2E.Message{DocumentMessage: &waE2E.DocumentMessage{Caption: caption}}},
		{"sticker", "", &waE2E.Message{StickerMessage: &waE2E.StickerMessage{}}},
		{"reaction", "+1", c.BuildReaction(chat, chat, "ID", "+1")},
		{"edit", "better", c.BuildEdit(chat, "ID", text("better"))},
		{"revoke", "", c.BuildRevoke(chat, types.EmptyJID, "ID")},
		{"other", "", &waE2E.Message{LocationMessage: &waE2E.LocationMessage{}}},
	} {
		sent, err := c.SendMessage(soon(t), chat, k.message)
		if err != nil {
			t.Fatalf("%s: %v", k.kind, err)
		}
		if got := awaitReceived(t, h, friend.Received, sent.ID); got.Kind != k.kind || got.Text != k.text {
			t.Errorf("sent %s %q, received %s %q", k.kind, k.text, got.Kind, got.Text)
		}
		// The contact says the same.
		id, err := friend.Send(t.Context(), a.Phone(), k.message)
		if err != nil {
			t.Fatalf("%s: %v", k.kind, err)
		}
		await(t, c, func(e *events.Message) bool { return e.Info.ID == id })
	}
}

// TestTwoDevicesOfOnePhone links two clients to one phone: both get what comes, and a copy of what the
// other sends.
func TestTwoDevicesOfOnePhone(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.phone(t, "5511999990001")
	friend := h.friend(t, fakewa.ContactOptions{Phone: "5511988880001"})
	first, second := h.paired(t, a), h.paired(t, a)
	if list := a.Devices(); len(list) != 2 || list[0].ID == list[1].ID {
		t.Fatalf("devices: %+v", list)
	}
	id, err := friend.SendText(t.Context(), a.Phone(), "to both")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*client{first, second} {
		await(t, c, func(e *events.Message) bool { return e.Info.ID == id })
	}
	sent, err := first.SendMessage(soon(t), jid(friend.Phone()), text("from the first"))
	if err != nil {
		t.Fatal(err)
	}
	m := await(t, second, func(e *events.Message) bool { return e.Info.ID == sent.ID })
	if !m.Info.IsFromMe || m.Message.GetConversation() != "from the first" || m.Info.Chat.User != friend.LID() {
		t.Errorf("the copy: %+v", m.Info)
	}
}
