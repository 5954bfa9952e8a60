package fakewa_test

import (
	"net/http"
	"path/filepath"
	"testing"

	"github.com/coder/websocket"
	"go.mau.fi/whatsmeow/proto/waWa6"
	"go.mau.fi/whatsmeow/socket"
	"go.mau.fi/whatsmeow/types/events"
	"google.golang.org/protobuf/proto"
)

// frame puts the length in front.
func frame(body []byte) []byte {
	return append([]byte{byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, body...)
}

// TestStrangers lets others than WhatsApp's clients talk to the server: each is hung up on, and the server
// goes on.
func TestStrangers(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	header := socket.WAConnHeader
	hello, err := proto.Marshal(&waWa6.HandshakeMessage{ClientHello: &waWa6.HandshakeMessage_ClientHello{Ephemeral: make([]byte, 32)}})
	if err != nil {
		t.Fatal(err)
	}
	short, err := proto.Marshal(&waWa6.HandshakeMessage{ClientHello: &waWa6.HandshakeMessage_ClientHello{Ephemeral: []byte("short")}})
	if err != nil {
		t.Fatal(err)
	}
	for name, sent := range map[string][]byte{
		"another protocol":     []byte("GET / HTTP/1.1\r\n\r\n"),
		"not a message":        append(header, frame([]byte{0xff, 0xff, 0xff})...),
		"an empty message":     append(header, frame(nil)...),
		"a weak ephemeral key": append(header, frame(hello)...),
		"a short key":          append(header, frame(short)...),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ws, res, err := websocket.Dial(soon(t), "ws://"+h.addr+"/ws/chat", nil)
			if err != nil {
				t.Fatal(err)
			}
			if res.Body != nil {
				defer func() { _ = res.Body.Close() }()
			}
			defer func() { _ = ws.CloseNow() }()
			if err := ws.Write(soon(t), websocket.MessageBinary, sent); err != nil {
				t.Fatal(err)
			}
			if _, answer, err := ws.Read(soon(t)); err == nil {
				t.Errorf("the server answers %x", answer)
			}
		})
	}
}

// TestFramesInPieces sends a client's first frame byte by byte.
func TestFramesInPieces(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	key := make([]byte, 32)
	key[0] = 9
	hello, err := proto.Marshal(&waWa6.HandshakeMessage{ClientHello: &waWa6.HandshakeMessage_ClientHello{Ephemeral: key}})
	if err != nil {
		t.Fatal(err)
	}
	ws, res, err := websocket.Dial(soon(t), "ws://"+h.addr+"/ws/chat", nil)
	if err != nil {
		t.Fatal(err)
	}
	if res.Body != nil {
		defer func() { _ = res.Body.Close() }()
	}
	defer func() { _ = ws.CloseNow() }()
	for _, b := range append(append([]byte{}, socket.WAConnHeader...), frame(hello)...) {
		if err = ws.Write(soon(t), websocket.MessageBinary, []byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	_, answer, err := ws.Read(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	var m waWa6.HandshakeMessage
	if err := proto.Unmarshal(answer[3:], &m); err != nil || len(m.GetServerHello().GetEphemeral()) != 32 {
		t.Errorf("answer %x, %v", answer, err)
	}
}

// TestMediaHost asks the media host for what it does not have.
func TestMediaHost(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, path := range []string{"/", "/mms/image", "/mms/image/unknown", "/mms/../../etc/passwd"} {
		req, err := http.NewRequestWithContext(soon(t), http.MethodGet, "http://"+h.addr+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusNotFound {
			t.Errorf("GET %s: %s", path, res.Status)
		}
	}
}

// TestForeignKey lets a client log in as a device whose key it does not have.
func TestForeignKey(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	c := h.paired(t, h.phone(t, "5511999990001"))
	settled(t, h, c)
	thief := openStore(t, filepath.Join(t.TempDir(), "wa.db")).NewDevice()
	id := c.Store.GetJID()
	thief.ID = &id
	other := h.newClient(t, thief)
	other.connect(t)
	if e := await[*events.LoggedOut](t, other, nil); !e.OnConnect || e.Reason != events.ConnectFailureLoggedOut {
		t.Errorf("logged out: %+v", e)
	}
	if err := h.WaitForActive(soon(t), "", 1); err != nil { // the owner of the key stays
		t.Fatal(err)
	}
}
