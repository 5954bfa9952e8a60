package httpapi_test

import (
	"bytes"
	"database/sql"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pombal-api/pombal/internal/app"
	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/httpapi"
	"github.com/pombal-api/pombal/internal/testkit"
	"github.com/pombal-api/pombal/internal/testkit/apitest"
)

// The tests of every operation are derived from openapi.yaml, so that one that is added there is
// tested, or fails for want of an object to call it with.

// mountedElsewhere lists the operations that other packages answer.
func mountedElsewhere() []string { return []string{"fetchInstances"} }

func TestRoutes_AreThoseOfTheContract(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, testkit.Engines()[0])
	documented, mounted := map[string]httpapi.Operation{}, map[string]httpapi.Operation{}
	for _, op := range s.Contract.Operations() {
		documented[op.ID] = httpapi.Operation{ID: op.ID, Method: op.Method, Path: op.Path, Scopes: op.Scopes}
	}
	for _, id := range mountedElsewhere() {
		if _, ok := documented[id]; !ok {
			t.Errorf("openapi.yaml does not document %s", id)
		}
		delete(documented, id)
	}
	for _, op := range s.App.Operations() {
		if _, twice := mounted[op.ID]; twice {
			t.Errorf("%s is mounted twice", op.ID)
		}
		mounted[op.ID] = op
	}
	inOrder := cmpopts.SortSlices(func(a, b string) bool { return a < b })
	if diff := cmp.Diff(documented, mounted, cmpopts.EquateEmpty(), inOrder); diff != "" {
		t.Errorf("openapi.yaml (-) and the route table (+) differ:\n%s", diff)
	}
}

// Every documented route is there and does what it is there for. Each gets a world of its own, as some
// use it up.
func TestEveryOperation_Succeeds(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		for _, op := range s.Contract.Operations() {
			w := newWorld(t, s)
			body, _ := validBodies(t, s.Contract, op, w.ids)
			w.prepare(t, op)
			a := w.as(t, op, w.Key).do(t, op.Method, target(t, op, w.ids), body)
			if a.Status/100 != 2 || !slices.Contains(op.Statuses, a.Status) {
				t.Errorf("%s answered %d: %.500s", op.ID, a.Status, a.Body)
			}
		}
	})
}

// prepare opens a connection, if only one that waits for a phone, for the operations that end it.
func (w *world) prepare(t *testing.T, op testkit.Operation) {
	t.Helper()
	if op.ID == "disconnectInstance" || op.ID == "restartInstance" {
		w.do(t, "POST", "/v1/instances/"+w.ids["Instance"]+"/connect", nil)
	}
}

// HEAD is GET without a body (RFC 9110, 9.3.2).
func TestEveryGet_TakesHead(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, testkit.Engines()[0])
	w := newWorld(t, s)
	for _, op := range s.Contract.Operations() {
		if op.Method != http.MethodGet {
			continue
		}
		from := w.as(t, op, w.Key)
		get, head := from.do(t, op.Method, target(t, op, w.ids), nil), from.do(t, http.MethodHead, target(t, op, w.ids), nil)
		if head.Status != get.Status || len(head.Body) > 0 {
			t.Errorf("%s: HEAD answered %d with %d bytes, GET %d", op.ID, head.Status, len(head.Body), get.Status)
		}
		if got, want := head.Header.Get("Content-Type"), get.Header.Get("Content-Type"); got != want {
			t.Errorf("%s: HEAD announces %q, GET %q", op.ID, got, want)
		}
	}
}

func TestEveryQuery_AtItsBounds(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		w := newWorld(t, s)
		lists := newWatch(func() map[string]any { return w.state(t) })
		details := newWatch(func() map[string]any { return w.details(t) })
		for _, op := range s.Contract.Operations() {
			from := w.as(t, op, w.Key)
			for _, c := range s.Contract.BoundaryCases(op) {
				if c.Derived && slices.Contains(mountedElsewhere(), op.ID) {
					continue // clients of Evolution API send parameters that are not ours, and repeat them
				}
				t.Run(op.ID+" "+c.Name, func(t *testing.T) {
					a := from.do(t, op.Method, target(t, op, w.ids)+"?"+c.Query.Encode(), nil)
					checkCase(t, a, c.Valid, paramOf(op, c))
				})
			}
			lists.unchanged(t)
		}
		details.unchanged(t)
	})
}

// paramOf returns the parameter that a boundary case is about; "" where errors have no details.
func paramOf(op testkit.Operation, c testkit.BoundaryCase) string {
	if slices.Contains(mountedElsewhere(), op.ID) {
		return ""
	}
	if c.Query.Has("noSuchParameter") {
		return "noSuchParameter"
	}
	name, _, _ := strings.Cut(c.Name, " ")
	return name
}

// checkCase holds the answer to a case against what the document says of it.
func checkCase(t *testing.T, a *answer, valid bool, field string) {
	t.Helper()
	switch {
	case valid && a.Status/100 != 2 && a.Status != http.StatusConflict:
		t.Errorf("a valid request was answered with %d: %.500s", a.Status, a.Body)
	case !valid && a.Status != http.StatusBadRequest:
		t.Errorf("an invalid request was answered with %d: %.500s", a.Status, a.Body)
	case !valid && field != "":
		a.is(t, http.StatusBadRequest, a.refusal().Error.Code, field)
	}
}

func TestEveryBody_AtItsBounds(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		w := newWorld(t, s)
		for _, op := range s.Contract.Operations() {
			cases := s.Contract.BodyCases(op)
			lists := newWatch(func() map[string]any { return w.state(t) })
			details := newWatch(func() map[string]any { return w.details(t) })
			for _, c := range cases {
				if !c.Valid {
					t.Run(op.ID+" "+c.Name, func(t *testing.T) {
						checkCase(t, w.do(t, op.Method, target(t, op, w.ids), adapt(c.Body, w.ids)), false, fieldOf(c))
						lists.unchanged(t)
					})
				}
			}
			details.unchanged(t)
			for _, c := range cases {
				if c.Valid {
					t.Run(op.ID+" "+c.Name, func(t *testing.T) {
						checkCase(t, w.do(t, op.Method, target(t, op, w.ids), adapt(c.Body, w.ids)), true, "")
					})
				}
			}
		}
	})
}

// fieldOf returns the field that a body case is about.
func fieldOf(c testkit.BodyCase) string {
	if where, ok := strings.CutPrefix(c.Name, "unknown field in "); ok {
		return strings.TrimPrefix(where+".noSuchField", "the body.")
	}
	if strings.HasPrefix(c.Name, "the body is") {
		return "body"
	}
	field, _, _ := strings.Cut(c.Name, " ")
	return field
}

// Each documented refusal of each operation can be had, and changes nothing.
func TestEveryOperation_Refuses(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		w := newWorld(t, s)
		limited := s.NewTenant(t, func(n *app.NewAccount) { n.RequestLimit = 1 })
		provocations := map[int]func(*testing.T, testkit.Operation) *answer{
			http.StatusBadRequest:            w.malformed,
			http.StatusUnauthorized:          w.anonymous,
			http.StatusForbidden:             w.forbidden,
			http.StatusNotFound:              w.missing,
			http.StatusConflict:              w.conflicting,
			http.StatusPreconditionFailed:    w.outdated,
			http.StatusRequestEntityTooLarge: w.oversized,
			http.StatusUnsupportedMediaType:  w.unannounced,
			http.StatusUnprocessableEntity:   w.reusing,
			http.StatusTooManyRequests: func(t *testing.T, op testkit.Operation) *answer {
				return w.impatient(t, op, limited.Key)
			},
		}
		for _, op := range s.Contract.Operations() {
			for _, status := range op.Statuses {
				provoke, ok := provocations[status]
				switch {
				case status < 400 || status >= 500: // a 503 takes a broken database, and a 500 must not be
					continue
				case !ok:
					t.Errorf("%s documents %d, which no test knows how to provoke", op.ID, status)
					continue
				}
				t.Run(fmt.Sprintf("%s %d", op.ID, status), func(t *testing.T) {
					if a := provoke(t, op); a != nil && a.Status != status {
						t.Errorf("answered %d, want %d: %.500s", a.Status, status, a.Body)
					}
				})
			}
		}
	})
}

// refused calls the operation and looks whether it did something.
func (w *world) refused(t *testing.T, op testkit.Operation, from *asker, path string, body []byte, header ...string) *answer {
	t.Helper()
	lists := newWatch(func() map[string]any { return w.state(t) })
	defer lists.unchanged(t)
	return from.do(t, op.Method, path, body, header...)
}

func (w *world) body(t *testing.T, op testkit.Operation) []byte {
	t.Helper()
	body, _ := validBodies(t, w.Server.Contract, op, w.ids)
	return body
}

func (w *world) malformed(t *testing.T, op testkit.Operation) *answer {
	query := "?noSuchParameter=1"
	if slices.Contains(mountedElsewhere(), op.ID) {
		query = "?limit=0"
	}
	return w.refused(t, op, w.as(t, op, w.Key), target(t, op, w.ids)+query, w.body(t, op))
}

func (w *world) anonymous(t *testing.T, op testkit.Operation) *answer {
	return w.refused(t, op, newAsker(t, w.Server), target(t, op, w.ids), w.body(t, op))
}

func (w *world) forbidden(t *testing.T, op testkit.Operation) *answer {
	if len(op.Scopes) == 0 { // any key may do it, but not a child for another account
		return w.refused(t, op, bearer(t, w.Server, w.child.Key), target(t, op, w.ids), w.body(t, op), "X-Account-Id", w.ID)
	}
	var others []string
	for _, name := range domain.ScopeNames() {
		if !slices.Contains(op.Scopes, name) {
			others = append(others, name)
		}
	}
	return w.refused(t, op, w.as(t, op, w.NewKey(t, others...)), target(t, op, w.ids), w.body(t, op))
}

func (w *world) missing(t *testing.T, op testkit.Operation) *answer {
	if op.TenantObject != "" {
		return w.refused(t, op, w.asker, target(t, op, unknownIDs()), w.body(t, op))
	}
	return w.refused(t, op, w.asker, target(t, op, w.ids), w.body(t, op), "X-Account-Id", unknownIDs()["Account"])
}

// conflicting asks for a connection where there can be none, or for the end of one that is not there.
// Otherwise it gives the object of the call the externalId of another one. Where there is none, the
// conflict is with the same call still at work, which TestEveryIdempotentOperation shows.
func (w *world) conflicting(t *testing.T, op testkit.Operation) *answer {
	switch op.ID {
	case "disconnectInstance", "restartInstance":
		return w.refused(t, op, w.asker, target(t, op, w.ids), w.body(t, op))
	case "replayWebhook", "replayWebhookLog":
		w.do(t, "PATCH", "/v1/webhooks/"+w.ids["Webhook"], []byte(`{"status":"disabled"}`))
		return w.refused(t, op, w.asker, target(t, op, w.ids), w.body(t, op))
	case "connectInstance", "getInstanceQrCode":
		var in struct{ ID string }
		w.do(t, "POST", "/v1/instances", []byte(`{"name":"Cloud","integration":"cloud"}`)).decode(t, &in)
		return w.refused(t, op, w.asker, target(t, op, map[string]string{"Instance": in.ID}), w.body(t, op))
	}
	list, body := op.Path, `{"name":"Other","externalId":"taken"}`
	if op.TenantObject != "" {
		list, body = list[:strings.LastIndex(list, "/")], `{"externalId":"taken"}`
	}
	if !strings.HasSuffix(list, "/instances") && !strings.HasSuffix(list, "/accounts") {
		return nil
	}
	w.do(t, "POST", list, []byte(`{"name":"First","externalId":"taken"}`))
	return w.refused(t, op, w.asker, target(t, op, w.ids), []byte(body))
}

func (w *world) outdated(t *testing.T, op testkit.Operation) *answer {
	return w.refused(t, op, w.asker, target(t, op, w.ids), w.body(t, op), "If-Match", `"v999"`)
}

func (w *world) oversized(t *testing.T, op testkit.Operation) *answer {
	body := append(bytes.Repeat([]byte(" "), 2<<20), w.body(t, op)...)
	return w.refused(t, op, w.asker, target(t, op, w.ids), body)
}

func (w *world) unannounced(t *testing.T, op testkit.Operation) *answer {
	return w.refused(t, op, w.asker, target(t, op, w.ids), w.body(t, op), "Content-Type", "text/plain")
}

func (w *world) reusing(t *testing.T, op testkit.Operation) *answer {
	w.renew(t)
	one, other := validBodies(t, w.Server.Contract, op, w.ids)
	key := "reused-for-" + op.ID
	w.do(t, op.Method, target(t, op, w.ids), one, "Idempotency-Key", key)
	return w.refused(t, op, w.asker, target(t, op, w.ids), other, "Idempotency-Key", key)
}

// impatient calls until the limit is reached. A minute may end meanwhile, but not each time.
func (w *world) impatient(t *testing.T, op testkit.Operation, key string) (a *answer) {
	from := w.as(t, op, key)
	for range 5 {
		if a = from.do(t, op.Method, target(t, op, unknownIDs()), w.body(t, op)); a.Status == http.StatusTooManyRequests {
			if a.Header.Get("Retry-After") == "" {
				t.Error("there is no Retry-After")
			}
			break
		}
	}
	return a
}

// A call whose server dies leaves its claim on the Idempotency-Key behind. Until that lapses, a repetition
// has to wait; after that it does the work, on what the first call may have made already.
func TestEveryIdempotentOperation_WhoseServerDies(t *testing.T) {
	t.Parallel()
	for _, engine := range testkit.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			db := apitest.NewDatabase(t, engine)
			w := newWorld(t, apitest.StartOn(t, db))
			forget, lapse := amnesia(t, db)
			for _, op := range w.Server.Contract.Operations() {
				if slices.Contains(op.Statuses, http.StatusUnprocessableEntity) {
					w.dieDuring(t, op, forget, lapse)
				}
			}
		})
	}
}

// amnesia returns what makes the servers of a database forget their answers to calls with an Idempotency-Key, and what
// lets the claims of these calls lapse besides.
func amnesia(t *testing.T, db testkit.Database) (forget, lapse func()) {
	t.Helper()
	driver, source, long := "sqlite", "file:"+filepath.Join(db.Dir, "pombal.db")+"?_pragma=busy_timeout(10000)", "0"
	if db.URL != "" {
		driver, source, long = "pgx", db.URL, "'1970-01-01Z'"
	}
	rows, err := sql.Open(driver, source)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rows.Close() })
	change := func(columns string) {
		t.Helper()
		if _, err := rows.ExecContext(t.Context(), "UPDATE idempotency_keys SET "+columns); err != nil {
			t.Fatal(err)
		}
	}
	return func() { change("status = 0") }, func() { change("status = 0, locked_until = " + long) }
}

// A request that is refused for what it says may be corrected under the same key: nothing was done.
func TestIdempotentRefusals_MayBeCorrected(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		w := newWorld(t, s)
		narrow, child := bearer(t, s, w.NewKey(t, "keys:write", "instances:write")), bearer(t, s, w.child.Key)
		instances := `"instanceIds":["` + unknownIDs()["Instance"] + `"]`
		for i, call := range []struct {
			from         *asker
			target, body string
			status       int
			corrected    string // "" where no body helps
		}{
			{narrow, "/v1/instances", `{"name":"x","webhookUrl":"http://10.0.0.1/"}`, 400, `{"name":"x"}`},
			{narrow, "/v1/api-keys", `{"name":"x","scopes":["instances:read"]}`, 403, `{"name":"x","scopes":["keys:write"]}`},
			{narrow, "/v1/api-keys", `{"name":"x","scopes":["keys:write"],"expiresAt":"2020-01-01T00:00:00.000Z"}`, 400, `{"name":"x","scopes":["keys:write"]}`},
			{narrow, "/v1/api-keys", `{"name":"x","scopes":["keys:write"],` + instances + `}`, 404, `{"name":"x","scopes":["keys:write"]}`},
			{narrow, "/v1/api-keys/" + unknownIDs()["ApiKey"] + "/rotate", `{}`, 404, ""},
			{narrow, "/v1/tokens", `{"scopes":["instances:read"]}`, 403, `{}`},
			{narrow, "/v1/tokens", `{` + instances + `}`, 404, `{}`},
			{child, "/v1/accounts", `{"name":"x"}`, 403, ""},
		} {
			key := fmt.Sprintf("refused-%d", i)
			first := call.from.do(t, "POST", call.target, []byte(call.body), "Idempotency-Key", key)
			again := call.from.do(t, "POST", call.target, []byte(call.body), "Idempotency-Key", key)
			if first.Status != call.status {
				t.Errorf("POST %s %s: %d %s", call.target, call.body, first.Status, first.Body)
			}
			again.is(t, call.status, first.refusal().Error.Code, "")
			if call.corrected == "" {
				continue
			}
			if a := call.from.do(t, "POST", call.target, []byte(call.corrected), "Idempotency-Key", key); a.Status != 201 {
				t.Errorf("POST %s %s after the correction: %d %s", call.target, call.corrected, a.Status, a.Body)
			}
		}
	})
}

// dieDuring makes the call three times: the first one's answer is forgotten, then its claim lapses.
func (w *world) dieDuring(t *testing.T, op testkit.Operation, forget, lapse func()) {
	t.Helper()
	call := func() *answer {
		return w.do(t, op.Method, target(t, op, w.ids), w.body(t, op), "Idempotency-Key", "died-during-"+op.ID)
	}
	var first, last struct{ ID string }
	call().decode(t, &first)
	lists := newWatch(func() map[string]any { return w.counts(t) })
	forget()
	a := call()
	a.is(t, http.StatusConflict, "idempotency_in_progress", "")
	if a.Header.Get("Retry-After") == "" {
		t.Errorf("%s: there is no Retry-After", op.ID)
	}
	lapse()
	call().decode(t, &last)
	if first != last {
		t.Errorf("%s made %s, and %s when it was repeated", op.ID, first.ID, last.ID)
	}
	lists.unchanged(t)
}

// counts is how many objects of each kind there are.
func (w *world) counts(t *testing.T) map[string]any {
	t.Helper()
	counts := map[string]any{}
	for path, page := range w.state(t) {
		counts[path] = page.(map[string]any)["pagination"].(map[string]any)["total"]
	}
	return counts
}

// unknownIDs returns ids that no object has.
func unknownIDs() map[string]string {
	return map[string]string{
		"Instance": "inst_01kdwfzy80e17b5410xamp3tcx", "ApiKey": "key_01kdwcv7k0fawv3twffmsrhx7s", "Account": "acct_01kdyyysm0fq4tct8s89acxw0s",
		"Webhook": "wh_01kghnzcg0e58bm3hfbsmxbqx4", "Log": "log_01kghnzcg0e58bm3hfbsmxbqx4", "Event": "evt_01kghnzcg0e58bm3hfbsmxbqx4",
		"InboundWebhook": "whin_01kghnzcg0e58bm3hfbsmxbqx4",
	}
}
