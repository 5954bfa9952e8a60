package fakewa_test

import (
	"testing"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/pombal-api/pombal/internal/fakewa"
)

func TestGroup(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	ana, bia := h.phone(t, "5511999990001"), h.phone(t, "5511999990002")
	friend := h.friend(t, fakewa.ContactOptions{Phone: "5511988880001", Name: "Friend"})
	a, b := h.paired(t, ana), h.paired(t, bia)
	g, err := h.AddGroup(fakewa.GroupOptions{Subject: "Pigeons", Members: []string{ana.Phone(), bia.Phone(), friend.Phone()}})
	if err != nil {
		t.Fatal(err)
	}
	info, err := a.GetGroupInfo(soon(t), g.JID())
	if err != nil {
		t.Fatal(err)
	}
	if info.Name != "Pigeons" || len(info.Participants) != 3 || !info.Participants[0].IsSuperAdmin {
		t.Errorf("group: %+v", info)
	}
	for _, body := range []string{"with a new key", "with a known key"} {
		sent, err := a.SendMessage(soon(t), g.JID(), text(body))
		if err != nil {
			t.Fatal(err)
		}
		got := awaitReceived(t, h, friend.Received, sent.ID)
		if got.Text != body || got.Chat != g.ID() || got.From != ana.Phone() {
			t.Errorf("received %+v", got)
		}
		awaitReceived(t, h, bia.Received, sent.ID)
		m := await(t, b, func(e *events.Message) bool { return e.Info.ID == sent.ID && e.Message.GetConversation() != "" })
		if m.Message.GetConversation() != body || m.Info.Chat != g.JID() || m.Info.Sender.User != ana.LID() || m.Info.SenderAlt.User != ana.Phone() {
			t.Errorf("message %+v", m.Info)
		}
		await(t, a, func(e *events.Receipt) bool {
			return e.MessageIDs[0] == sent.ID && e.Sender.User == friend.LID() && e.Type == types.ReceiptTypeDelivered
		})
	}
	for _, body := range []string{"with a new key", "with a known key"} {
		id, err := friend.SendToGroup(t.Context(), g, body)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []*client{a, b} {
			m := await(t, c, func(e *events.Message) bool { return e.Info.ID == id && e.Message.GetConversation() != "" })
			if m.Message.GetConversation() != body || m.Info.Sender.User != friend.LID() || m.Info.Chat != g.JID() {
				t.Errorf("message %+v", m.Info)
			}
		}
	}
	if err := h.WaitFor(soon(t), func() bool { return h.Stats().Queued == 0 }); err != nil {
		t.Error(err)
	}
}

func TestCreateGroup(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	ana := h.phone(t, "5511999990001")
	friend := h.friend(t, fakewa.ContactOptions{Phone: "5511988880001"})
	c := h.paired(t, ana)
	made, err := c.CreateGroup(soon(t), whatsmeow.ReqCreateGroup{Name: "New", Participants: []types.JID{jid(friend.Phone())}})
	if err != nil {
		t.Fatal(err)
	}
	joined, err := c.GetJoinedGroups(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(joined) != 1 || joined[0].JID != made.JID || joined[0].Name != "New" || len(joined[0].Participants) != 2 {
		t.Errorf("joined: %+v", joined)
	}
	if _, err := c.GetGroupInfo(soon(t), types.NewJID("120363099999999999", types.GroupServer)); err == nil {
		t.Error("a group that does not exist has been described")
	}
}

func TestGroupOfStrangers(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	friend := h.friend(t, fakewa.ContactOptions{Phone: "5511988880001"})
	other := h.friend(t, fakewa.ContactOptions{Phone: "5511988880002"})
	for _, members := range [][]string{nil, {"5511977770001"}} {
		if _, err := h.AddGroup(fakewa.GroupOptions{Subject: "Nobody", Members: members}); err == nil {
			t.Errorf("a group of %v", members)
		}
	}
	g, err := h.AddGroup(fakewa.GroupOptions{Subject: "One", Members: []string{friend.Phone()}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.SendToGroup(t.Context(), g, "hello?"); err == nil {
		t.Error("a stranger speaks in the group")
	}
}
