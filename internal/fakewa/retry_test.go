package fakewa_test

import (
	"testing"

	"go.mau.fi/whatsmeow/types/events"

	"github.com/pombal-api/pombal/internal/fakewa"
)

// TestUnreadableMessage lets a client ask for a message again that it cannot decrypt.
func TestUnreadableMessage(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.phone(t, "5511999990001")
	friend := h.friend(t, fakewa.ContactOptions{Phone: "5511988880001"})
	c := h.paired(t, a)
	settled(t, h, c)
	add(t, h.Faults(), fakewa.Fault{Kind: fakewa.Corrupt, Phone: a.Phone(), Times: 1})
	id, err := friend.SendText(t.Context(), a.Phone(), "once more")
	if err != nil {
		t.Fatal(err)
	}
	await(t, c, func(e *events.UndecryptableMessage) bool { return e.Info.ID == id })
	m := await(t, c, func(e *events.Message) bool { return e.Info.ID == id })
	if m.Message.GetConversation() != "once more" || m.RetryCount != 1 {
		t.Errorf("message %+v", m)
	}
	if got := friend.Receipts(); len(got) == 0 || got[0].Kind != "retry" {
		t.Errorf("receipts: %+v", got)
	}
	if err := h.WaitFor(soon(t), func() bool { return h.Stats().Queued == 0 }); err != nil {
		t.Error(err)
	}
}

// TestForgetfulContact lets a contact ask a client for a message again.
func TestForgetfulContact(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.phone(t, "5511999990001")
	friend := h.friend(t, fakewa.ContactOptions{Phone: "5511988880001"})
	c := h.paired(t, a)
	if _, err := friend.SendText(t.Context(), a.Phone(), "hello"); err != nil {
		t.Fatal(err)
	}
	await[*events.Message](t, c, func(e *events.Message) bool { return e.Message.GetConversation() == "hello" })
	friend.ForgetSessions()
	sent, err := c.SendMessage(soon(t), jid(friend.Phone()), text("who?"))
	if err != nil {
		t.Fatal(err)
	}
	if got := awaitReceived(t, h, friend.Received, sent.ID); got.Text != "who?" {
		t.Errorf("received %+v", got)
	}
	// Both begin a new session at once.
	friend.ForgetSessions()
	id, err := friend.SendText(t.Context(), a.Phone(), "new session")
	if err != nil {
		t.Fatal(err)
	}
	await(t, c, func(e *events.Message) bool { return e.Info.ID == id })
	if sent, err = c.SendMessage(soon(t), jid(friend.Phone()), text("fine")); err != nil {
		t.Fatal(err)
	}
	awaitReceived(t, h, friend.Received, sent.ID)
}

// TestForgetfulGroupMember lets a member of a group ask for a message again.
func TestForgetfulGroupMember(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.phone(t, "5511999990001")
	friend := h.friend(t, fakewa.ContactOptions{Phone: "5511988880001"})
	c := h.paired(t, a)
	g, err := h.AddGroup(fakewa.GroupOptions{Subject: "Two", Members: []string{a.Phone(), friend.Phone()}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = c.SendMessage(soon(t), g.JID(), text("hello")); err != nil {
		t.Fatal(err)
	}
	friend.ForgetSessions()
	sent, err := c.SendMessage(soon(t), g.JID(), text("who?"))
	if err != nil {
		t.Fatal(err)
	}
	if got := awaitReceived(t, h, friend.Received, sent.ID); got.Text != "who?" || got.Chat != g.ID() {
		t.Errorf("received %+v", got)
	}
}

func TestChangeProfile(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.phone(t, "5511999990001")
	c := h.paired(t, a)
	settled(t, h, c)
	name, about, picture := "New name", "Free", "https://pictures.invalid/new"
	if err := a.SetProfile(t.Context(), fakewa.ProfileChange{PushName: &name, About: &about, PictureURL: &picture}); err != nil {
		t.Fatal(err)
	}
	if e := await[*events.PushNameSetting](t, c, nil); e.Action.GetName() != name {
		t.Errorf("the name is %q", e.Action.GetName())
	}
	if e := await[*events.UserAbout](t, c, nil); e.Status != about {
		t.Errorf("the text is %q", e.Status)
	}
	shown := await[*events.Picture](t, c, nil)
	found, err := c.GetProfilePictureInfo(soon(t), shown.JID, nil)
	if err != nil {
		t.Fatal(err)
	}
	if found.URL != picture || found.ID != shown.PictureID {
		t.Errorf("the picture is %+v, told %+v", found, shown)
	}
	c.forget()
	none := ""
	if err := a.SetProfile(t.Context(), fakewa.ProfileChange{PictureURL: &none}); err != nil {
		t.Fatal(err)
	}
	if e := await[*events.Picture](t, c, nil); !e.Remove {
		t.Errorf("picture: %+v", e)
	}
	if _, err := c.GetProfilePictureInfo(soon(t), shown.JID, nil); err == nil {
		t.Error("the picture is still there")
	}
}
