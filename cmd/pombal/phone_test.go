package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/testkit/apitest"
)

func TestPhoneScan(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.wa.Contact(t, "5511988880001")
	t.Run("with a phone that is made up", func(t *testing.T) {
		in := b.NewInstance(t, "First")
		got := b.must(t, "phone", "scan", "First", "--every", "10ms")
		phone := b.wa.Accounts()[0].Phone()
		if want := "First is connected as " + phone + " (Phone " + phone[9:] + ")."; got != want {
			t.Errorf("it prints %q, want %q", got, want)
		}
		if st := b.Await(t, in.ID, domain.StatusConnected); !st.Paired {
			t.Errorf("%+v", st)
		}
	})
	t.Run("with a phone that is free", func(t *testing.T) {
		b.NewInstance(t, "Second")
		b.wa.Phone(t, "5511900000000")
		if got := b.must(t, "phone", "scan", "Second", "--every", "10ms"); got != "Second is connected as 5511900000000 (Owner of 5511900000000)." {
			t.Errorf("it prints %q", got)
		}
	})
	t.Run("with a new number, and a code that is shown", func(t *testing.T) {
		in := b.NewInstance(t, "Third")
		b.must(t, "instances", "connect", in.ID, "--no-wait")
		if got := b.must(t, "phone", "scan", in.ID, "--phone", "+351911111111", "--every", "10ms"); got != "Third is connected as 351911111111 (Phone 1111)." {
			t.Errorf("it prints %q", got)
		}
	})
	t.Run("with a name, instead of a pairing code", func(t *testing.T) {
		in := b.NewInstance(t, "Fourth")
		b.wa.Phone(t, number)
		b.must(t, "instances", "connect", in.ID, "--no-wait", "--pairing-code", "--phone", number)
		if got := b.must(t, "phone", "scan", in.ID, "--phone", "owner of "+number, "--every", "10ms"); !strings.HasPrefix(got, "Fourth is connected as "+number) {
			t.Errorf("it prints %q", got)
		}
	})
	b.NewInstance(t, "Fifth")
	b.refuse(t, []string{"phone", "scan", "Fifth", "--phone", "5511988880001"}, "somebody has this number")
	b.refuse(t, []string{"phone", "scan", "Fifth", "--phone", "nobody"}, "7 to 15 digits")
	b.refuse(t, []string{"phone", "scan", "nothing"}, `"nothing"`)
	b.refuse(t, []string{"phone", "scan", "Fifth", "--api-key", b.Key + "x"}, "invalid_api_key")
}

func TestPhoneType(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	in := b.NewInstance(t, "Sales")
	if got := b.must(t, "phone", "type", "Sales", "--phone", number, "--every", "10ms"); got != "Sales is connected as "+number+" (Phone 0001)." {
		t.Errorf("it prints %q", got)
	}
	checkTable(t, b.must(t, "phone", "list"), 1, "LINKED DEVICES", number, "Phone 0001", "1 connected")
	b.refuse(t, []string{"phone", "unlink", number, "--device", "7"}, "no such linked device")
	b.refuse(t, []string{"phone", "unlink", "351900000000"}, "351900000000")
	if got := b.must(t, "phone", "unlink", number); got != "Unlinked device 1 of "+number {
		t.Errorf("it prints %q", got)
	}
	if st := b.Await(t, in.ID, domain.StatusDisconnected); st.Reason != domain.ReasonLoggedOut {
		t.Errorf("the reason is %s", st.Reason)
	}
}

func TestPhonePeople(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	if got := b.must(t, "phone", "add", "+"+number, "--name", "Ana", "--about", "Busy"); got != number {
		t.Errorf("it prints %q", got)
	}
	madeUp := b.must(t, "phone", "add")
	checkTable(t, b.must(t, "phone", "list"), 2, madeUp, "Ana")
	b.refuse(t, []string{"phone", "add", number}, "somebody has this number")
	if got := b.must(t, "phone", "contacts", "add", "+5511988880001", "--name", "Bia"); got != "5511988880001" {
		t.Errorf("it prints %q", got)
	}
	checkTable(t, b.must(t, "phone", "contacts"), 1, "NAME", "5511988880001", "Bia")
	var contact sandboxContact
	if err := json.Unmarshal([]byte(b.must(t, "phone", "contacts", "--json")), &contact); err != nil || contact.Name != "Bia" {
		t.Errorf("%+v (%v)", contact, err)
	}
	var phone sandboxPhone
	if err := json.Unmarshal([]byte(strings.Split(b.must(t, "phone", "list", "--json"), "\n")[0]), &phone); err != nil || phone.Phone == "" {
		t.Errorf("%+v (%v)", phone, err)
	}
}

func TestPhoneSend(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	phone, contact := b.wa.Phone(t, number), b.wa.Contact(t, "5511988880001")
	id := b.must(t, "phone", "send", "--from", "contact 5511988880001", "--to", number, "Hi!")
	if got := phone.Received(); len(got) != 1 || got[0].ID != id || got[0].Text != "Hi!" {
		t.Errorf("the phone has got %+v, not %s", got, id)
	}
	id = b.must(t, "phone", "send", "--from", "+"+number, "--to", "5511988880001", "Hello!")
	if got := contact.Received(); len(got) != 1 || got[0].ID != id || got[0].Text != "Hello!" {
		t.Errorf("the contact has got %+v, not %s", got, id)
	}
	b.refuse(t, []string{"phone", "send", "--from", "Zoe", "--to", "Yan", "Hi!"}, `"Zoe"`, `"Yan"`, "phone contacts")
}

// TestPhoneNeedsASandbox holds that the commands say what is missing.
func TestPhoneNeedsASandbox(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.NewInstance(t, "Sales")
	empty := t.TempDir()
	for _, args := range [][]string{{"list"}, {"add"}, {"contacts"}, {"scan", "Sales"}, {"type", "Sales"}, {"unlink", number}, {"send", "--from", "1", "--to", "2", "x"}} {
		_, _, err := runHere(t.Context(), append(append([]string{"phone"}, args...), "--data-dir", empty)...)
		checkError(t, args[0], err, "no control address in "+empty, "pombal dev")
	}
	b.refuse(t, []string{"phone", "list", "--control-url", "http://127.0.0.1:1"}, "cannot be reached at http://127.0.0.1:1", "pombal dev")
	b.refuse(t, []string{"phone", "list", "--control-url", b.Server.URL}, "not the control API")
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }))
	t.Cleanup(page.Close)
	b.refuse(t, []string{"phone", "list", "--control-url", page.URL}, "not the control API")
	other := serveControl(t, apitest.NewWhatsApp(t))
	b.refuse(t, []string{"phone", "scan", "Sales", "--control-url", other}, "does not know", "of this sandbox?", other)
}
