package httpapi_test

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/testkit"
	"github.com/pombal-api/pombal/internal/testkit/apitest"
)

// asker sends requests that no SDK would send. Every answer is held against openapi.yaml, and none
// may be a 500.
type asker struct {
	url    string
	client *http.Client
	header http.Header // sent with every request
}

func newAsker(tb testing.TB, s *apitest.Server, header ...string) *asker {
	tb.Helper()
	return (&asker{url: s.URL, client: s.HTTP(tb)}).with(header...)
}

// bearer returns an asker with an Authorization header.
func bearer(tb testing.TB, s *apitest.Server, credential string) *asker {
	tb.Helper()
	return newAsker(tb, s, "Authorization", "Bearer "+credential)
}

// looker returns an asker for looking at the same things again and again. Its answers are not held against
// openapi.yaml, which takes most of the time.
func looker(tb testing.TB, s *apitest.Server, credential string) *asker {
	tb.Helper()
	transport := &http.Transport{}
	tb.Cleanup(transport.CloseIdleConnections)
	c := &asker{url: s.URL, client: &http.Client{Transport: transport, Timeout: 30 * time.Second}}
	return c.with("Authorization", "Bearer "+credential)
}

// with returns an asker that sends more headers, given as names and values.
func (c *asker) with(header ...string) *asker {
	more := *c
	more.header = c.header.Clone()
	if more.header == nil {
		more.header = http.Header{}
	}
	addHeaders(more.header, header)
	return &more
}

func addHeaders(h http.Header, pairs []string) {
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
}

// do sends a request. A body is announced as JSON unless the headers say something else; the
// Content-Type "" sends none.
func (c *asker) do(tb testing.TB, method, target string, body []byte, header ...string) *answer {
	tb.Helper()
	var content io.Reader
	if body != nil {
		content = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(tb.Context(), method, c.url+target, content)
	if err != nil {
		tb.Fatal(err)
	}
	maps.Copy(req.Header, c.header.Clone())
	addHeaders(req.Header, header)
	switch values := req.Header.Values("Content-Type"); {
	case len(values) == 0 && body != nil:
		req.Header.Set("Content-Type", "application/json")
	case len(values) == 1 && values[0] == "":
		req.Header.Del("Content-Type")
	}
	res, err := c.client.Do(req)
	if err != nil {
		tb.Fatalf("%s %.200s: %v", method, target, err)
	}
	defer func() { _ = res.Body.Close() }()
	var answered io.Reader = res.Body
	if strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
		answered = io.LimitReader(answered, 1) // it has no end: closing it will do
	}
	got, err := io.ReadAll(answered)
	if err != nil {
		tb.Fatalf("%s %.200s: %v", method, target, err)
	}
	if res.StatusCode == http.StatusInternalServerError {
		tb.Errorf("%s %.200s answered 500: %s", method, target, got)
	}
	return &answer{Status: res.StatusCode, Header: res.Header, Body: got}
}

// answer is what came back.
type answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// refusal is the error envelope.
type refusal struct {
	Success *bool `json:"success"`
	Error   struct {
		Code       string `json:"code"`
		Message    string `json:"message"`
		RequestID  string `json:"requestId"`
		RetryAfter int    `json:"retryAfter"`
		Details    []struct {
			Field, Code, Message string
		} `json:"details"`
	} `json:"error"`
}

func (a *answer) refusal() (r refusal) {
	_ = json.Unmarshal(a.Body, &r) // what is missing is empty then, and reported by whoever looks at it
	return r
}

// names tells whether the details name the field, or an element of it.
func (r refusal) names(field string) bool {
	for _, d := range r.Error.Details {
		if d.Field == field || strings.HasPrefix(d.Field, field+".") {
			return true
		}
	}
	return false
}

// is reports what is wrong with a refusal: its status, its code, its envelope, its request id, and,
// unless field is empty, its details.
func (a *answer) is(tb testing.TB, status int, code, field string) {
	tb.Helper()
	r := a.refusal()
	if a.Status != status || r.Error.Code != code {
		tb.Errorf("answered %d %s, want %d %s: %.500s", a.Status, r.Error.Code, status, code, a.Body)
		return
	}
	if r.Success == nil || *r.Success || r.Error.Message == "" {
		tb.Errorf("the envelope of the error is not complete: %s", a.Body)
	}
	if id := a.Header.Get("X-Request-Id"); id == "" || id != r.Error.RequestID {
		tb.Errorf("requestId is %q, the X-Request-Id header %q", r.Error.RequestID, id)
	}
	if kind := a.Header.Get("Content-Type"); kind != "application/json" {
		tb.Errorf("the error is announced as %q", kind)
	}
	if field != "" && !r.names(field) {
		tb.Errorf("the details do not name %s: %.500s", field, a.Body)
	}
}

// decode reads the data of a success.
func (a *answer) decode(tb testing.TB, data any) {
	tb.Helper()
	envelope := struct {
		Data any `json:"data"`
	}{data}
	if a.Status/100 != 2 {
		tb.Fatalf("answered %d: %.500s", a.Status, a.Body)
	}
	if err := json.Unmarshal(a.Body, &envelope); err != nil {
		tb.Fatalf("%v in %.500s", err, a.Body)
	}
}

// world is a tenant that may do everything, being a partner, with one object of each kind.
type world struct {
	*apitest.Tenant
	*asker
	looker *asker
	child  *apitest.Tenant
	ids    map[string]string // by the name of the object in openapi.yaml
}

func newWorld(tb testing.TB, s *apitest.Server) *world {
	tb.Helper()
	partner := s.NewPartner(tb)
	w := &world{Tenant: partner, asker: bearer(tb, s, partner.Key), looker: looker(tb, s, partner.Key), child: partner.NewChild(tb)}
	w.renew(tb)
	return w
}

// renew makes new objects, when the old ones were used up.
func (w *world) renew(tb testing.TB) {
	tb.Helper()
	var key struct{ ID string }
	w.do(tb, "POST", "/v1/api-keys", []byte(`{"name":"spare","scopes":["instances:read"]}`)).decode(tb, &key)
	w.ids = map[string]string{
		"Instance": w.NewInstance(tb, "One").ID,
		"ApiKey":   key.ID,
		"Account":  w.child.ID,
	}
	maps.Copy(w.ids, furnish(tb, w.looker, w.Tenant, w.ids["Instance"], "spare"))
}

// furnish makes an event of the tenant's instance and what delivers it, with the text in each place, and returns the
// ids. Of a webhook that was made for the same test before, only the new one is left.
func furnish(tb testing.TB, c *asker, tenant *apitest.Tenant, instance, text string) map[string]string {
	tb.Helper()
	var before []struct{ ID, Name string }
	c.do(tb, "GET", "/v1/webhooks?limit=100", nil).decode(tb, &before)
	for _, w := range before {
		if w.Name == text {
			c.do(tb, "DELETE", "/v1/webhooks/"+w.ID, nil)
		}
	}
	var hook, inbound struct{ ID string }
	c.do(tb, "POST", "/v1/webhooks", []byte(`{"name":"`+text+`","url":"https://`+text+`.invalid/","events":["message.read"]}`)).decode(tb, &hook)
	c.do(tb, "POST", "/v1/webhooks/inbound", []byte(`{"name":"`+text+`","instanceId":"`+instance+`"}`)).decode(tb, &inbound)
	id, err := domain.ParsePrefixed(domain.PrefixInstance, instance)
	if err != nil {
		tb.Fatal(err)
	}
	event := domain.Event{InstanceID: id, Type: domain.EventMessageRead, At: time.Now(), Data: []byte(`{"messageId":"` + text + `"}`)}
	if err = tenant.Server.App.Publish(tb.Context(), tenant.Account.ID, []domain.Event{event}); err != nil {
		tb.Fatal(err)
	}
	var logs []struct{ ID, EventID string }
	c.do(tb, "GET", "/v1/webhooks/"+hook.ID+"/logs", nil).decode(tb, &logs)
	if len(logs) != 1 {
		tb.Fatalf("the log of the webhook: %v", logs)
	}
	return map[string]string{"Webhook": hook.ID, "InboundWebhook": inbound.ID, "Log": logs[0].ID, "Event": logs[0].EventID}
}

// as returns the asker with the credential where the operation wants it.
func (w *world) as(tb testing.TB, op testkit.Operation, credential string) *asker {
	tb.Helper()
	switch {
	case slices.Contains(op.Schemes, "apikey"):
		return newAsker(tb, w.Server, "apikey", credential)
	case len(op.Schemes) > 0:
		return bearer(tb, w.Server, credential)
	}
	return newAsker(tb, w.Server)
}

// target returns the operation's path with the ids of objects in it.
func target(tb testing.TB, op testkit.Operation, ids map[string]string) string {
	tb.Helper()
	values := map[string]string{}
	for _, name := range op.PathParams {
		i := slices.IndexFunc(op.IDs, func(p testkit.IDPosition) bool { return p.In == "path" && p.Name == name })
		if i < 0 || ids[op.IDs[i].Object] == "" {
			tb.Fatalf("%s: the tests have no object for {%s}: add one to newWorld", op.ID, name)
		}
		values[name] = ids[op.IDs[i].Object]
	}
	return op.URL(values)
}

// What the examples of openapi.yaml name is not there, and their dates will be over one day.
var (
	exampleInstance = regexp.MustCompile(`inst_[0-7][0-9a-hjkmnp-tv-z]{25}`)
	exampleExpiry   = regexp.MustCompile(`("expiresAt":")\d{4}(-\d\d-\d\dT[0-9:.]+Z")`)
)

// adapt puts objects that exist into a body that was derived from the examples.
func adapt(body []byte, ids map[string]string) []byte {
	body = exampleInstance.ReplaceAll(body, []byte(ids["Instance"]))
	return exampleExpiry.ReplaceAll(body, []byte("${1}2999${2}"))
}

// bodies remembers two valid bodies of each operation, which take long to derive.
var bodies sync.Map // of [2][]byte by operation id

// validBodies returns two different bodies that the operation accepts, or nils if it takes none.
func validBodies(tb testing.TB, c *testkit.Contract, op testkit.Operation, ids map[string]string) (one, other []byte) {
	tb.Helper()
	if !op.HasBody {
		return nil, nil
	}
	known, ok := bodies.Load(op.ID)
	if !ok {
		known, _ = bodies.LoadOrStore(op.ID, deriveBodies(tb, c, op))
	}
	two := known.([2][]byte)
	return adapt(two[0], ids), adapt(two[1], ids)
}

func deriveBodies(tb testing.TB, c *testkit.Contract, op testkit.Operation) [2][]byte {
	tb.Helper()
	var one []byte
	for _, body := range c.BodyCases(op) {
		switch {
		case !body.Valid:
		case one == nil:
			one = body.Body
		case !bytes.Equal(one, body.Body):
			return [2][]byte{one, body.Body}
		}
	}
	tb.Fatalf("%s: openapi.yaml allows fewer than two bodies", op.ID)
	return [2][]byte{}
}

// state is what the API lists of the tenant. It leaves out when a key was last used, which asking changes.
func (w *world) state(tb testing.TB) map[string]any {
	tb.Helper()
	return stateOf(tb, w.looker, "/v1/instances?limit=100", "/v1/api-keys?limit=100", "/v1/accounts?limit=100",
		"/v1/webhooks?limit=100", "/v1/webhooks/inbound?limit=100")
}

// details is what else there is to see of the tenant: the counts behind each filter, its account and
// those of its children.
func (w *world) details(tb testing.TB) map[string]any {
	tb.Helper()
	paths := []string{"/v1/accounts/" + w.ID, "/v1/accounts/" + w.child.ID}
	for _, status := range []string{"connected", "connecting", "disconnected"} {
		paths = append(paths, "/v1/instances?limit=1&status="+status)
	}
	return stateOf(tb, w.looker, paths...)
}

func stateOf(tb testing.TB, c *asker, paths ...string) map[string]any {
	tb.Helper()
	state := map[string]any{}
	for _, path := range paths {
		a := c.do(tb, "GET", path, nil)
		var got map[string]any
		if err := json.Unmarshal(a.Body, &got); err != nil || a.Status != http.StatusOK {
			tb.Fatalf("GET %s answered %d: %v %s", path, a.Status, err, a.Body)
		}
		if items, ok := got["data"].([]any); ok {
			for _, item := range items {
				for _, name := range []string{"lastUsedAt", "failingSince"} { // these change by themselves
					delete(item.(map[string]any), name)
				}
			}
		}
		state[path] = got
	}
	return state
}

// watch notices what changes between two looks.
type watch struct {
	look func() map[string]any
	last map[string]any
}

func newWatch(look func() map[string]any) *watch { return &watch{look: look, last: look()} }

// unchanged reports what has changed since the last look.
func (w *watch) unchanged(tb testing.TB) {
	tb.Helper()
	now := w.look()
	if diff := cmp.Diff(w.last, now); diff != "" {
		tb.Errorf("something changed:\n%s", diff)
	}
	w.last = now
}

// row is a request that must be refused, and how.
type row struct {
	name, method, target string
	body                 string // "" for none
	header               []string
	status               int
	code                 string
	field                string // that the details name; "" for any
}

// refuse sends each row, one after another, and looks each time whether it changed anything.
func (w *world) refuse(t *testing.T, from *asker, rows []row) {
	t.Helper()
	lists := newWatch(func() map[string]any { return w.state(t) })
	details := newWatch(func() map[string]any { return w.details(t) })
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			var body []byte
			if r.body != "" {
				body = []byte(r.body)
			}
			from.do(t, r.method, r.target, body, r.header...).is(t, r.status, r.code, r.field)
			lists.unchanged(t)
		})
	}
	details.unchanged(t)
}

// decodeWhole reads an answer with its envelope.
func decodeWhole(tb testing.TB, a *answer, into any) {
	tb.Helper()
	if err := json.Unmarshal(a.Body, into); err != nil || a.Status/100 != 2 {
		tb.Fatalf("answered %d: %v in %.500s", a.Status, err, a.Body)
	}
}
