package fakewa_test

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"go.mau.fi/whatsmeow/types/events"

	"github.com/pombal-api/pombal/internal/fakewa"
)

// TestRestart stops a server and starts another with its state file: clients come back, and what was on
// its way arrives.
func TestRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	state := filepath.Join(dir, "state", "fakewa.json")
	first := startHost(t, fakewa.Config{Seed: []byte(seed), StateFile: state})
	a := first.phone(t, "5511999990001")
	friend := first.friend(t, fakewa.ContactOptions{Phone: "5511988880001", Name: "Friend"})
	c := first.newClient(t, openStore(t, filepath.Join(dir, "wa.db")).NewDevice())
	c.pair(t, a)
	settled(t, first, c)
	group, err := first.AddGroup(fakewa.GroupOptions{Subject: "Stay", Members: []string{a.Phone(), friend.Phone()}})
	if err != nil {
		t.Fatal(err)
	}
	sent, err := c.SendMessage(soon(t), jid(friend.Phone()), text("before"))
	if err != nil {
		t.Fatal(err)
	}
	await(t, c, func(e *events.Receipt) bool { return e.MessageIDs[0] == sent.ID })
	c.Disconnect()
	if err = first.WaitForConnections(soon(t), 0); err != nil {
		t.Fatal(err)
	}
	missed, err := friend.SendText(t.Context(), a.Phone(), "missed")
	if err != nil {
		t.Fatal(err)
	}
	first.stop(t)

	second := startHost(t, fakewa.Config{Seed: []byte(seed), StateFile: state})
	*c.addr = second.addr
	c.forget()
	c.connect(t)
	await(t, c, func(e *events.Message) bool { return e.Info.ID == missed })
	checkAfterRestart(t, second, c, group.ID())
}

// checkAfterRestart sends and receives, and changes the shared settings.
func checkAfterRestart(t *testing.T, h *host, c *client, group string) {
	t.Helper()
	a, ok := h.Account("5511999990001")
	if !ok {
		t.Fatal("the account is gone")
	}
	friend, ok := h.Contact("5511988880001")
	if !ok {
		t.Fatal("the contact is gone")
	}
	if g, ok := h.Group(group); !ok || len(g.Members()) != 2 {
		t.Error("the group is gone")
	}
	id, err := friend.SendText(t.Context(), a.Phone(), "after")
	if err != nil {
		t.Fatal(err)
	}
	await(t, c, func(e *events.Message) bool { return e.Info.ID == id })
	sent, err := c.SendMessage(soon(t), jid(friend.Phone()), text("after"))
	if err != nil {
		t.Fatal(err)
	}
	awaitReceived(t, h, friend.Received, sent.ID)
	name := "New name"
	if err := a.SetProfile(t.Context(), fakewa.ProfileChange{PushName: &name}); err != nil {
		t.Fatal(err)
	}
	if e := await[*events.PushNameSetting](t, c, nil); e.Action.GetName() != name {
		t.Errorf("the name is %q", e.Action.GetName())
	}
}

func TestStateOfAnotherServer(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "fakewa.json")
	startHost(t, fakewa.Config{Seed: []byte(seed), StateFile: path}).stop(t)
	if _, err := fakewa.New(fakewa.Config{Seed: []byte("another seed for tests"), StateFile: path}); err == nil {
		t.Error("a server has taken another's state")
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := fakewa.New(fakewa.Config{Seed: []byte(seed), StateFile: path}); err == nil {
		t.Error("a server has taken half a state")
	}
}

func TestSeedMustBeLong(t *testing.T) {
	t.Parallel()
	if _, err := fakewa.New(fakewa.Config{Seed: []byte("short")}); err == nil {
		t.Error("a short seed is good enough")
	}
}

// TestServeAgain takes the listener away and gives the server another.
func TestServeAgain(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	c := h.paired(t, h.phone(t, "5511999990001"))
	settled(t, h, c)
	if err := h.listener.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-h.served; err == nil {
		t.Error("Serve ended without an error although its listener was closed")
	}
	h.Faults().Cut("")
	await[*events.Disconnected](t, c, nil)
	l, err := net.Listen("tcp", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	go func() { h.served <- h.Serve(l) }()
	await[*events.Connected](t, c, nil)
}
