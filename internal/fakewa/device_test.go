package fakewa

import (
	"errors"
	"testing"
)

func TestDeviceNumbers(t *testing.T) {
	t.Parallel()
	s, err := New(Config{Seed: []byte("a seed for tests only")})
	if err != nil {
		t.Fatal(err)
	}
	a, err := s.AddAccount(AccountOptions{Phone: "5511999990001"})
	if err != nil {
		t.Fatal(err)
	}
	friend, err := s.AddContact(ContactOptions{Phone: "5511988880001"})
	if err != nil {
		t.Fatal(err)
	}
	for want := 1; want <= maxDevice; want++ {
		d, issued := a.newDevice(&pairing{})
		if issued != nil || int(d.id) != want {
			t.Fatalf("device %v, %v, want %d", d, issued, want)
		}
		a.devices[d.id] = d
	}
	if _, err = a.newDevice(&pairing{}); !errors.Is(err, ErrTooManyDevices) {
		t.Errorf("one more device: %v", err)
	}
	session := a.devices[7].lid().SignalAddress().String()
	friend.peer.vault.sessions[session] = []byte("a session with the old device")
	if err = a.Unlink(7); err != nil {
		t.Fatal(err)
	}
	d, err := a.newDevice(&pairing{})
	if err != nil || d.id != 7 {
		t.Fatalf("device %v, %v, want 7", d, err)
	}
	if len(friend.peer.vault.sessions) != 0 {
		t.Error("the contact goes on with the old device's session")
	}
}
