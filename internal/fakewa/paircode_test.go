package fakewa_test

import (
	"errors"
	"path/filepath"
	"testing"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/pombal-api/pombal/internal/fakewa"
)

// showCode connects a new client that shows a code to the phone.
func showCode(t *testing.T, h *host, phone string) (c *client, code string) {
	t.Helper()
	c = h.newClient(t, openStore(t, filepath.Join(t.TempDir(), "wa.db")).NewDevice())
	c.connect(t)
	await[*events.QR](t, c, nil)
	code, err := c.PairPhone(t.Context(), phone, true, whatsmeow.PairClientChrome, "Chrome (Linux)")
	if err != nil {
		t.Fatal(err)
	}
	return c, code
}

func TestPairByCode(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.phone(t, "5511999990001")
	c, code := showCode(t, h, "+55 11 99999-0001")
	if err := a.WaitForCode(soon(t)); err != nil {
		t.Fatal(err)
	}
	if err := a.TypeCode(soon(t), code); err != nil {
		t.Fatal(err)
	}
	await[*events.PairSuccess](t, c, nil)
	await[*events.Connected](t, c, nil)
	awaitName(t, c)
}

func TestPairByWrongCode(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.phone(t, "5511999990001")
	c, code := showCode(t, h, a.Phone())
	wrong := "AAAA-AAAA"
	if err := a.TypeCode(soon(t), wrong); !errors.Is(err, fakewa.ErrWrongCode) {
		t.Errorf("TypeCode(%q) = %v while the client shows %q", wrong, err, code)
	}
	if n := len(a.Devices()); n != 0 {
		t.Errorf("%d devices", n)
	}
	if err := a.TypeCode(soon(t), code); err != nil {
		t.Fatalf("after a wrong code: %v", err)
	}
	await[*events.Connected](t, c, nil)
}

func TestPairByCodeOfNobody(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.phone(t, "5511999990001")
	if err := a.TypeCode(t.Context(), "ABCD-EFGH"); !errors.Is(err, fakewa.ErrUnknownCode) {
		t.Errorf("TypeCode = %v", err)
	}
	c := h.newClient(t, openStore(t, filepath.Join(t.TempDir(), "wa.db")).NewDevice())
	c.connect(t)
	await[*events.QR](t, c, nil)
	_, err := c.PairPhone(t.Context(), "5511977770001", true, whatsmeow.PairClientChrome, "Chrome (Linux)")
	if !errors.Is(err, whatsmeow.ErrIQBadRequest) {
		t.Errorf("PairPhone for a number without WhatsApp: %v", err)
	}
}
