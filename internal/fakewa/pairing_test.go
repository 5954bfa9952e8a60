package fakewa_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"go.mau.fi/whatsmeow/appstate"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/pombal-api/pombal/internal/fakewa"
)

func typeName(v any) string { return fmt.Sprintf("%T", v) }

func TestPairByQRCode(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.phone(t, "5511999990001")
	c := h.paired(t, a)

	if id := c.Store.GetJID(); id.User != "5511999990001" || id.Device == 0 {
		t.Errorf("the client is %s", id)
	}
	if lid := c.Store.GetLID(); lid.User != a.LID() || lid.Device != c.Store.GetJID().Device {
		t.Errorf("the client's LID is %s, the account's %s", lid, a.LID())
	}
	awaitName(t, c)
	if got := c.Store.PushName; got != "Owner of 5511999990001" {
		t.Errorf("the name is %q", got)
	}
	await[*events.HistorySync](t, c, nil)
	if err := h.WaitForActive(soon(t), a.Phone(), 1); err != nil {
		t.Fatal(err)
	}
	if list := a.Devices(); len(list) != 1 || !list[0].Connected || list[0].PreKeys < 800 {
		t.Errorf("devices: %+v", list)
	}
	if stats := h.Stats(); stats.Pairings != 1 || stats.Logins != 1 {
		t.Errorf("stats: %+v", stats)
	}
}

// awaitName waits until the client has read the settings that the phone shares with it.
func awaitName(t *testing.T, c *client) {
	t.Helper()
	await(t, c, func(e *events.AppStateSyncComplete) bool { return e.Name == appstate.WAPatchCriticalBlock })
}

func TestReturnAfterRestart(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.phone(t, "5511999990001")
	path := filepath.Join(t.TempDir(), "wa.db")
	first := h.newClient(t, openStore(t, path).NewDevice())
	first.pair(t, a)
	awaitName(t, first)
	first.Disconnect()
	if err := h.WaitForConnections(soon(t), 0); err != nil {
		t.Fatal(err)
	}

	device, err := openStore(t, path).GetFirstDevice(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	second := h.newClient(t, device)
	second.connect(t)
	await[*events.Connected](t, second, nil)
	if second.Store.PushName != "Owner of 5511999990001" {
		t.Errorf("the name is %q", second.Store.PushName)
	}
	if stats := h.Stats(); stats.Logins != 2 {
		t.Errorf("%d logins, want 2", stats.Logins)
	}
}

func TestScanRefusesWhatNobodyShows(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.phone(t, "5511999990001")
	c := h.newClient(t, openStore(t, filepath.Join(t.TempDir(), "wa.db")).NewDevice())
	c.connect(t)
	codes := await[*events.QR](t, c, nil).Codes
	if len(codes) != 6 {
		t.Errorf("%d codes, want 6", len(codes))
	}
	c.Disconnect()
	if err := h.WaitForConnections(soon(t), 0); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "hello", "a,b,c,d", codes[0]} {
		if err := a.ScanQR(t.Context(), text); !errors.Is(err, fakewa.ErrUnknownCode) {
			t.Errorf("ScanQR(%q) = %v", text, err)
		}
	}
}

func TestKeepAlive(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	c := h.paired(t, h.phone(t, "5511999990001"))
	if err := h.WaitFor(soon(t), func() bool { return h.Stats().KeepAlives >= 3 }); err != nil {
		t.Fatal(err)
	}
	if n := count[*events.KeepAliveTimeout](c); n != 0 {
		t.Errorf("%d keepalives timed out", n)
	}
}

func TestIsOnWhatsApp(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	c := h.paired(t, h.phone(t, "5511999990001"))
	friend, err := h.AddContact(fakewa.ContactOptions{Phone: "+5511988880001", Name: "Friend"})
	if err != nil {
		t.Fatal(err)
	}
	found, err := c.IsOnWhatsApp(t.Context(), []string{"+5511988880001", "+5511977770001"})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 2 || !found[0].IsIn || found[1].IsIn {
		t.Fatalf("found %+v", found)
	}
	if found[0].JID.User != friend.LID() || found[0].PhoneNumber != jid(friend.Phone()) {
		t.Errorf("found %+v", found[0])
	}
}

func TestOwnProfile(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.phone(t, "5511999990001")
	c := h.paired(t, a)
	me := c.Store.GetJID().ToNonAD()
	info, err := c.GetUserInfo(t.Context(), []waJID{me})
	if err != nil {
		t.Fatal(err)
	}
	if got := info[me]; got.Status != "Busy" || got.LID.User != a.LID() || len(got.Devices) != 2 {
		t.Errorf("info: %+v", got)
	}
	picture, err := c.GetProfilePictureInfo(t.Context(), me, nil)
	if err != nil {
		t.Fatal(err)
	}
	if picture.URL != "https://pictures.invalid/5511999990001" || picture.ID != info[me].PictureID {
		t.Errorf("picture: %+v, id %s", picture, info[me].PictureID)
	}
}
