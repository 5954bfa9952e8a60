package fakewa_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"go.mau.fi/whatsmeow/types/events"

	"github.com/pombal-api/pombal/internal/fakewa"
)

// remote speaks to the control API.
type remote struct {
	url    string
	client *http.Client
}

func newRemote(t *testing.T, h *host) *remote {
	t.Helper()
	s := httptest.NewServer(h.Control())
	t.Cleanup(s.Close)
	return &remote{url: s.URL, client: s.Client()}
}

// do sends a request and decodes the answer into got, unless that is nil.
func (r *remote) do(t *testing.T, method, path, body string, want int, got any) {
	t.Helper()
	req, err := http.NewRequestWithContext(soon(t), method, r.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != want {
		t.Fatalf("%s %s: %s %s, want %d", method, path, res.Status, raw, want)
	}
	if got == nil {
		return
	}
	if err := json.Unmarshal(raw, got); err != nil {
		t.Fatalf("%s %s: %v in %s", method, path, err, raw)
	}
}

func TestControl(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	r := newRemote(t, h)
	r.do(t, "POST", "/accounts", `{"phone":"+5511999990001","pushName":"Ana"}`, 200, nil)
	r.do(t, "POST", "/contacts", `{"phone":"5511988880001","name":"Bia"}`, 200, nil)

	c := h.newClient(t, openStore(t, filepath.Join(t.TempDir(), "wa.db")).NewDevice())
	c.connect(t)
	scan, err := json.Marshal(map[string]string{"text": await[*events.QR](t, c, nil).Codes[0]})
	if err != nil {
		t.Fatal(err)
	}
	r.do(t, "POST", "/accounts/5511999990001/scan", string(scan), 200, nil)
	await[*events.Connected](t, c, nil)
	if err := h.WaitForActive(soon(t), "", 1); err != nil {
		t.Fatal(err)
	}

	var sent struct{ ID string }
	r.do(t, "POST", "/contacts/5511988880001/messages", `{"to":"5511999990001","text":"Hi!"}`, 200, &sent)
	m := await(t, c, func(e *events.Message) bool { return e.Info.ID == sent.ID })
	if got := m.Message.GetConversation(); got != "Hi!" {
		t.Errorf("the text is %q", got)
	}
	var receipts []fakewa.GotReceipt
	r.do(t, "GET", "/contacts/5511988880001/receipts?wait=30s", "", 200, &receipts)
	if len(receipts) != 1 || receipts[0].ID != sent.ID || receipts[0].Kind != "inactive" {
		t.Errorf("receipts: %+v", receipts)
	}

	var connections []fakewa.ConnectionInfo
	r.do(t, "GET", "/connections", "", 200, &connections)
	if len(connections) != 1 || connections[0].Phone != "5511999990001" || connections[0].State != fakewa.StateActive {
		t.Errorf("connections: %+v", connections)
	}
	var hit struct{ Connections int }
	r.do(t, "POST", "/faults/cut", `{"phone":"5511999990001"}`, 200, &hit)
	if hit.Connections != 1 {
		t.Errorf("%d connections cut", hit.Connections)
	}
	await[*events.Disconnected](t, c, nil)
}

func TestControlFaults(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	r := newRemote(t, h)
	r.do(t, "POST", "/faults", `{"kind":"delay","duration":"300ms","times":2}`, 200, nil)
	r.do(t, "POST", "/faults", `{"kind":"refuse_login","phone":"5511999990001","code":402,"attrs":{"code":"101","expire":"60"}}`, 200, nil)
	var list []map[string]any
	r.do(t, "GET", "/faults", "", 200, &list)
	if len(list) != 2 || list[0]["duration"] != "300ms" || list[1]["code"] != 402.0 {
		t.Errorf("faults: %v", list)
	}
	for _, blow := range []string{"cut", "close", "stall", "resume", "stream-error", "end-stream"} {
		r.do(t, "POST", "/faults/"+blow, `{}`, 200, nil)
	}
	r.do(t, "DELETE", "/faults", "", 200, nil)
	r.do(t, "GET", "/faults", "", 200, &list)
	if len(list) != 0 {
		t.Errorf("faults: %v", list)
	}
}

func TestControlRefuses(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.phone(t, "5511999990001")
	r := newRemote(t, h)
	for _, c := range []struct {
		method, path, body string
		want               int
	}{
		{"POST", "/accounts", `{"phone":"5511999990001"}`, 409},
		{"POST", "/accounts", `{"phone":"0119"}`, 400},
		{"POST", "/accounts", `{"number":"5511999990002"}`, 400},
		{"POST", "/accounts", `[]`, 400},
		{"GET", "/accounts/5511999990002", "", 404},
		{"POST", "/accounts/5511999990001/scan", `{"text":"nothing"}`, 404},
		{"POST", "/accounts/5511999990001/code", `{"code":"ABCD-EFGH"}`, 404},
		{"POST", "/accounts/5511999990001/unlink", `{"device":1}`, 404},
		{"GET", "/accounts/5511999990001/messages?after=x", "", 400},
		{"GET", "/contacts/5511999990001/messages", "", 404},
		{"POST", "/contacts", `{"phone":"5511999990001"}`, 409},
		{"POST", "/faults", `{"kind":"flood"}`, 400},
		{"POST", "/faults", `{"kind":"delay","duration":"long"}`, 400},
		{"POST", "/faults/bite", `{}`, 400},
	} {
		var refusal struct{ Error string }
		r.do(t, c.method, c.path, c.body, c.want, &refusal)
		if refusal.Error == "" {
			t.Errorf("%s %s does not say why", c.method, c.path)
		}
	}
}

func TestControlState(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.phone(t, "5511999990001")
	r := newRemote(t, h)
	r.do(t, "POST", "/contacts", `{"phone":"5511988880001","name":"Bia"}`, 200, nil)
	var state struct {
		Accounts []struct {
			Phone, LID string
			Devices    []fakewa.DeviceInfo
		}
		Contacts []struct{ Phone, LID, Name string }
		Stats    fakewa.Stats
	}
	r.do(t, "GET", "/state", "", 200, &state)
	if len(state.Accounts) != 1 || state.Accounts[0].LID == "" || state.Accounts[0].Devices == nil {
		t.Errorf("accounts: %+v", state.Accounts)
	}
	if len(state.Contacts) != 1 || state.Contacts[0].Name != "Bia" {
		t.Errorf("contacts: %+v", state.Contacts)
	}
	r.do(t, "GET", "/accounts/5511999990001/messages", "", 200, &[]fakewa.Received{})
	r.do(t, "PATCH", "/accounts/5511999990001", `{"pushName":"New name"}`, 200, nil)
	var account struct{ PushName string }
	r.do(t, "GET", "/accounts/5511999990001", "", 200, &account)
	if account.PushName != "New name" {
		t.Errorf("the name is %q", account.PushName)
	}
	var group struct {
		ID      string
		Members []string
	}
	r.do(t, "POST", "/groups", `{"subject":"Pigeons","members":["5511988880001","5511999990001"]}`, 200, &group)
	r.do(t, "POST", "/contacts/5511988880001/messages", `{"group":"`+group.ID+`","text":"Hi, all!"}`, 200, nil)
	var got []fakewa.Received
	r.do(t, "GET", "/accounts/5511999990001/messages?wait=30s", "", 200, &got)
	if len(got) != 1 || got[0].Chat != group.ID || got[0].Text != "Hi, all!" {
		t.Errorf("received %+v", got)
	}
	r.do(t, "POST", "/contacts/5511988880001/messages", `{"group":"1","text":"Hi?"}`, 404, nil)
	r.do(t, "POST", "/contacts/5511988880001/messages", `{"to":"5511999990001","image":"aGVsbG8=","text":"look"}`, 200, nil)
	r.do(t, "GET", "/accounts/5511999990001/messages?after=1&wait=30s", "", 200, &got)
	if len(got) != 1 || got[0].Kind != "image" || got[0].Text != "look" {
		t.Errorf("received %+v", got)
	}
	r.do(t, "POST", "/accounts/5511999990001/messages", `{"to":"5511988880001","text":"typed"}`, 200, nil)
	r.do(t, "GET", "/contacts/5511988880001/messages", "", 200, &got)
	if len(got) != 1 || got[0].Text != "typed" {
		t.Errorf("received %+v", got)
	}
	var groups []any
	r.do(t, "GET", "/groups", "", 200, &groups)
	if len(groups) != 1 {
		t.Errorf("groups: %v", groups)
	}
	r.do(t, "DELETE", "/stats", "", 200, nil)
	r.do(t, "GET", "/stats", "", 200, &state.Stats)
}
