package fakewa_test

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	"google.golang.org/protobuf/proto"

	"github.com/pombal-api/pombal/internal/fakewa"
)

// friend adds a contact.
func (h *host) friend(t *testing.T, o fakewa.ContactOptions) *fakewa.Contact {
	t.Helper()
	c, err := h.AddContact(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func text(body string) *waE2E.Message { return &waE2E.Message{Conversation: proto.String(body)} }

// awaitReceived returns the message of the id as soon as list has it.
func awaitReceived(t *testing.T, h *host, list func() []fakewa.Received, id string) fakewa.Received {
	t.Helper()
	var found fakewa.Received
	err := h.WaitFor(soon(t), func() bool {
		for _, m := range list() {
			if m.ID == id {
				found = m
				return true
			}
		}
		return false
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestSendText(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.phone(t, "5511999990001")
	friend := h.friend(t, fakewa.ContactOptions{Phone: "5511988880001", Name: "Friend"})
	c := h.paired(t, a)
	for _, body := range []string{"first", "second"} { // with and without a session
		sent, err := c.SendMessage(soon(t), jid(friend.Phone()), text(body))
		if err != nil {
			t.Fatal(err)
		}
		got := awaitReceived(t, h, friend.Received, sent.ID)
		if got.Kind != "text" || got.Text != body || got.From != a.Phone() || got.Device != int(c.Store.GetJID().Device) {
			t.Errorf("received %+v", got)
		}
		copied := awaitReceived(t, h, a.Received, sent.ID)
		if !copied.Copy || copied.Text != body || copied.Chat != friend.Phone() {
			t.Errorf("the phone's copy: %+v", copied)
		}
		delivered := await(t, c, func(e *events.Receipt) bool { return e.MessageIDs[0] == sent.ID })
		if delivered.Type != types.ReceiptTypeDelivered || delivered.Sender.User != friend.LID() {
			t.Errorf("receipt: %+v", delivered)
		}
		if err := friend.Receipt(a.Phone(), fakewa.ReceiptRead, sent.ID); err != nil {
			t.Fatal(err)
		}
		await(t, c, func(e *events.Receipt) bool {
			return e.MessageIDs[0] == sent.ID && e.Type == types.ReceiptTypeRead
		})
	}
	if err := h.WaitFor(soon(t), func() bool { return h.Stats().Queued == 0 }); err != nil {
		t.Error(err)
	}
}

func TestReadReceiptForSeveral(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.phone(t, "5511999990001")
	friend := h.friend(t, fakewa.ContactOptions{Phone: "5511988880001", NoReceipts: true})
	c := h.paired(t, a)
	if err := friend.Receipt(a.Phone(), fakewa.ReceiptRead, "ONE", "TWO", "THREE"); err != nil {
		t.Fatal(err)
	}
	if e := await[*events.Receipt](t, c, nil); len(e.MessageIDs) != 3 || e.MessageIDs[2] != "THREE" {
		t.Errorf("receipt: %+v", e)
	}
}

func TestAckError(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.phone(t, "5511999990001")
	friend := h.friend(t, fakewa.ContactOptions{Phone: "5511988880001"})
	c := h.paired(t, a)
	add(t, h.Faults(), fakewa.Fault{Kind: fakewa.AckError, Phone: a.Phone(), Code: 479, Times: 1})
	_, err := c.SendMessage(soon(t), jid(friend.Phone()), text("refused"))
	if !errors.Is(err, whatsmeow.ErrServerReturnedError) {
		t.Errorf("SendMessage = %v", err)
	}
	if _, err := c.SendMessage(soon(t), jid(friend.Phone()), text("taken")); err != nil {
		t.Error(err)
	}
	if got := friend.Received(); len(got) != 1 || got[0].Text != "taken" {
		t.Errorf("received %+v", got)
	}
}

func TestSendAcrossCut(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.phone(t, "5511999990001")
	friend := h.friend(t, fakewa.ContactOptions{Phone: "5511988880001"})
	c := h.paired(t, a)
	if _, err := c.SendMessage(soon(t), jid(friend.Phone()), text("before")); err != nil {
		t.Fatal(err)
	}
	// The client sends the same frame again when it is back; the contact gets it once.
	add(t, h.Faults(), fakewa.Fault{Kind: fakewa.Delay, Phone: a.Phone(), Duration: time.Hour})
	result := make(chan error, 1)
	go func() {
		_, err := c.SendMessage(soon(t), jid(friend.Phone()), text("across"))
		result <- err
	}()
	if err := h.WaitFor(soon(t), func() bool { return len(friend.Received()) == 2 }); err != nil {
		t.Fatal(err)
	}
	h.Faults().Clear()
	h.Faults().Cut(a.Phone())
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	if got := friend.Received(); len(got) != 2 || got[1].Text != "across" {
		t.Errorf("received %+v", got)
	}
}

func TestReceiveText(t *testing.T) {
	t.Parallel()
	for name, byLID := range map[string]bool{"by number": false, "by LID": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			a := h.phone(t, "5511999990001")
			friend := h.friend(t, fakewa.ContactOptions{Phone: "5511988880001", Name: "Friend", ByLID: byLID})
			c := h.paired(t, a)
			for _, body := range []string{"first", "second"} {
				id, err := friend.SendText(t.Context(), a.Phone(), body)
				if err != nil {
					t.Fatal(err)
				}
				m := await(t, c, func(e *events.Message) bool { return e.Info.ID == id })
				number, lid := m.Info.Sender, m.Info.SenderAlt
				if byLID {
					number, lid = lid, number
				}
				if m.Message.GetConversation() != body || m.Info.PushName != "Friend" || number.User != friend.Phone() || lid.User != friend.LID() {
					t.Errorf("message %q: %+v", m.Message.GetConversation(), m.Info)
				}
				err = h.WaitFor(soon(t), func() bool {
					for _, r := range friend.Receipts() {
						if r.ID == id && r.Kind == "inactive" {
							return true
						}
					}
					return false
				})
				if err != nil {
					t.Error(err)
				}
			}
			if _, err := c.SendMessage(soon(t), jid(friend.Phone()), text("answer")); err != nil { // in the same session
				t.Fatal(err)
			}
			if got := friend.Received(); len(got) != 1 || got[0].Text != "answer" {
				t.Errorf("received %+v", got)
			}
		})
	}
}

func TestReceiveWhileAway(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.phone(t, "5511999990001")
	friend := h.friend(t, fakewa.ContactOptions{Phone: "5511988880001"})
	c := h.paired(t, a)
	settled(t, h, c)
	c.Disconnect()
	if err := h.WaitForConnections(soon(t), 0); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if _, err := friend.SendText(t.Context(), a.Phone(), "missed"); err != nil {
			t.Fatal(err)
		}
	}
	c.connect(t)
	if e := await[*events.OfflineSyncPreview](t, c, nil); e.Messages != 5 {
		t.Errorf("preview: %+v", e)
	}
	if err := h.WaitFor(soon(t), func() bool { return h.Stats().Queued == 0 }); err != nil {
		t.Fatal(err)
	}
	if n := count[*events.Message](c); n != 5 {
		t.Errorf("%d messages, want 5", n)
	}
}

// TestRedelivery lets a client die while it handles a message: it gets the message again, and what the
// library has kept makes it readable a second time.
func TestRedelivery(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.phone(t, "5511999990001")
	friend := h.friend(t, fakewa.ContactOptions{Phone: "5511988880001"})
	path := filepath.Join(t.TempDir(), "wa.db")
	first := h.newClient(t, openStore(t, path).NewDevice())
	first.pair(t, a)
	settled(t, h, first)
	handled := make(chan struct{})
	first.AddEventHandlerWithSuccessStatus(func(evt any) bool {
		if _, ok := evt.(*events.Message); ok {
			close(handled)
			return false // as if the process had died: no acknowledgement
		}
		return true
	})
	id, err := friend.SendText(t.Context(), a.Phone(), "not lost")
	if err != nil {
		t.Fatal(err)
	}
	<-handled
	first.Disconnect()
	if err = h.WaitForConnections(soon(t), 0); err != nil {
		t.Fatal(err)
	}
	if n := h.Stats().Queued; n != 1 {
		t.Fatalf("%d stanzas wait, want 1", n)
	}

	device, err := openStore(t, path).GetFirstDevice(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	second := h.newClient(t, device)
	second.connect(t)
	m := await(t, second, func(e *events.Message) bool { return e.Info.ID == id })
	if m.Message.GetConversation() != "not lost" {
		t.Errorf("message %+v", m)
	}
	if err := h.WaitFor(soon(t), func() bool { return h.Stats().Queued == 0 }); err != nil {
		t.Error(err)
	}
}

// TestSameIDTwice encrypts one message twice: only the receiver's own books can tell.
func TestSameIDTwice(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.phone(t, "5511999990001")
	friend := h.friend(t, fakewa.ContactOptions{Phone: "5511988880001"})
	c := h.paired(t, a)
	settled(t, h, c)
	for range 2 {
		if err := friend.SendAs(t.Context(), a.Phone(), "SAME", text("again")); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.WaitFor(soon(t), func() bool { return len(friend.Receipts()) == 2 }); err != nil {
		t.Fatal(err)
	}
	if n := count[*events.Message](c); n != 2 {
		t.Errorf("%d messages", n)
	}
}

func TestTypedOnThePhone(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.phone(t, "5511999990001")
	friend := h.friend(t, fakewa.ContactOptions{Phone: "5511988880001"})
	c := h.paired(t, a)
	settled(t, h, c)
	id, err := a.SendText(t.Context(), friend.Phone(), "from the phone")
	if err != nil {
		t.Fatal(err)
	}
	m := await(t, c, func(e *events.Message) bool { return e.Info.ID == id })
	if !m.Info.IsFromMe || m.Info.Chat.User != friend.Phone() || m.Message.GetConversation() != "from the phone" {
		t.Errorf("message %+v", m.Info)
	}
	if got := awaitReceived(t, h, friend.Received, id); got.Text != "from the phone" || got.Device != 0 {
		t.Errorf("received %+v", got)
	}
}

// TestTwoAccounts lets two real clients talk to each other.
func TestTwoAccounts(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	ana, bia := h.phone(t, "5511999990001"), h.phone(t, "5511999990002")
	a, b := h.paired(t, ana), h.paired(t, bia)
	for range 2 {
		sent, err := a.SendMessage(soon(t), jid(bia.Phone()), text("ping"))
		if err != nil {
			t.Fatal(err)
		}
		m := await(t, b, func(e *events.Message) bool { return e.Info.ID == sent.ID })
		if m.Message.GetConversation() != "ping" || m.Info.Sender.User != ana.Phone() {
			t.Errorf("message %+v", m.Info)
		}
		awaitReceived(t, h, bia.Received, sent.ID)
		answer, err := b.SendMessage(soon(t), m.Info.Chat, text("pong"))
		if err != nil {
			t.Fatal(err)
		}
		await(t, a, func(e *events.Message) bool { return e.Info.ID == answer.ID })
	}
}

func TestImages(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.phone(t, "5511999990001")
	friend := h.friend(t, fakewa.ContactOptions{Phone: "5511988880001"})
	c := h.paired(t, a)
	picture := bytes.Repeat([]byte("not really a picture "), 1000)

	id, err := friend.SendImage(t.Context(), a.Phone(), fakewa.Image{Data: picture, Caption: "look"})
	if err != nil {
		t.Fatal(err)
	}
	m := await(t, c, func(e *events.Message) bool { return e.Info.ID == id })
	got, err := c.Download(soon(t), m.Message.GetImageMessage())
	if err != nil || !bytes.Equal(got, picture) {
		t.Errorf("downloaded %d bytes, %v", len(got), err)
	}
	m.Message.ImageMessage.URL = nil // by the path and the host that the server names
	got, err = c.Download(soon(t), m.Message.GetImageMessage())
	if err != nil || !bytes.Equal(got, picture) {
		t.Errorf("downloaded %d bytes by path, %v", len(got), err)
	}

	up, err := c.Upload(soon(t), picture, whatsmeow.MediaImage)
	if err != nil {
		t.Fatal(err)
	}
	sent, err := c.SendMessage(soon(t), jid(friend.Phone()), &waE2E.Message{ImageMessage: &waE2E.ImageMessage{
		Caption: proto.String("look back"), Mimetype: proto.String("image/png"), URL: &up.URL, DirectPath: &up.DirectPath,
		MediaKey: up.MediaKey, FileEncSHA256: up.FileEncSHA256, FileSHA256: up.FileSHA256, FileLength: &up.FileLength,
	}})
	if err != nil {
		t.Fatal(err)
	}
	arrived := awaitReceived(t, h, friend.Received, sent.ID)
	if arrived.Kind != "image" || arrived.Text != "look back" {
		t.Errorf("received %+v", arrived)
	}
	if got, err := h.Media(arrived.Message); err != nil || !bytes.Equal(got, picture) {
		t.Errorf("the contact downloads %d bytes, %v", len(got), err)
	}
}

func TestSendToNobody(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	friend := h.friend(t, fakewa.ContactOptions{Phone: "5511988880001"})
	if _, err := friend.SendText(context.WithoutCancel(t.Context()), "5511999990009", "hello?"); !errors.Is(err, fakewa.ErrNobody) {
		t.Errorf("SendText = %v", err)
	}
}
