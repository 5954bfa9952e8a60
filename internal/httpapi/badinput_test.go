package httpapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/pombal-api/pombal/internal/testkit"
	"github.com/pombal-api/pombal/internal/testkit/apitest"
)

const invalid = "invalid_parameters"

// get returns a row for a list request with a bad query.
func get(query, field string) row {
	return row{name: query, method: "GET", target: "/v1/instances?" + query, status: 400, code: invalid, field: field}
}

func TestBadQueries(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		w := newWorld(t, s)
		var page struct{ Pagination struct{ NextCursor string } }
		w.NewInstance(t, "Two")
		if err := json.Unmarshal(w.do(t, "GET", "/v1/instances?limit=1", nil).Body, &page); err != nil {
			t.Fatal(err)
		}
		cursor := page.Pagination.NextCursor
		rows := []row{
			get("limit=0", "limit"), get("limit=101", "limit"), get("limit=-1", "limit"), get("limit=1e9", "limit"),
			get("limit=abc", "limit"), get("limit=50.5", "limit"), get("limit=", "limit"), get("limit", "limit"),
			get("limit=9223372036854775808", "limit"), get("limit=%00", "limit"), get("limit=0x10", "limit"),
			get("limit=+5", "limit"), get("limit=5&limit=5", "limit"), get("limit=٥", "limit"),
			get("offset=-1", "offset"), get("offset=9223372036854775808", "offset"), get("offset=9223372036854775807", "offset"),
			get("offset=1e3", "offset"), get("offset=", "offset"), get("offset=0&offset=0", "offset"),
			get("status=online", "status"), get("status=", "status"), get("status=connected&status=connected", "status"),
			get("status=CONNECTED", "status"), get("status=Connected", "status"), get("status=qr_pending", "status"),
			get("status=connected%20", "status"), get("status=connected%00", "status"), get("status[]=connected", "status[]"),
			get("state=connected", "state"), get("Limit=5", "Limit"), get("page=2", "page"), get("=5", ""), get("%00=5", "\ufffd"),
			get("search=", "search"), get("search=a%00b", "search"), get("search=%ff", "search"), get("search=a%0ab", "search"),
			get("search="+strings.Repeat("a", 101), "search"), get("externalId=", "externalId"), get("externalId=%00", "externalId"),
			get("externalId="+strings.Repeat("a", 201), "externalId"),
			get("cursor=", "cursor"), get("cursor=abc", "cursor"), get("cursor=%00", "cursor"), get("cursor="+strings.Repeat("A", 513), "cursor"),
			get("cursor="+cursor[1:], "cursor"), get("cursor="+cursor+"A", "cursor"), get("cursor="+cursor+"=", "cursor"),
			get("cursor="+cursor+"&offset=0", "offset"), get("cursor="+cursor+"&offset=5", "offset"),
			get("cursor="+cursor+"&status=connected", "cursor"), get("cursor="+cursor+"&search=two", "cursor"),
			get("limit=%zz", ""), get("limit=5;offset=0", ""),
		}
		for i := range rows { // the rows must be distinct as names of tests
			rows[i].name = fmt.Sprintf("%d %.40q", i, rows[i].name)
		}
		w.refuse(t, w.asker, rows)
		if a := w.do(t, "GET", "/v1/instances?limit=1&cursor="+cursor, nil); a.Status != http.StatusOK {
			t.Errorf("the cursor is refused: %s", a.Body)
		}
	})
}

// TestBadBodies sends broken bodies to every operation that takes one.
func TestBadBodies(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		w := newWorld(t, s)
		var rows []row
		for _, op := range s.Contract.Operations() {
			if op.HasBody {
				rows = append(rows, w.badBodies(t, op)...)
			}
		}
		w.refuse(t, w.asker, rows)
	})
}

func (w *world) badBodies(t *testing.T, op testkit.Operation) []row {
	t.Helper()
	valid, _ := validBodies(t, w.Server.Contract, op, w.ids)
	const media, tooLarge = "unsupported_media_type", "payload_too_large"
	rows := []row{
		{name: "empty", body: " ", status: 400, code: invalid, field: "body"},
		{name: "null", body: "null", status: 400, code: invalid, field: "body"},
		{name: "array", body: "[]", status: 400, code: invalid, field: "body"},
		{name: "text", body: `"{}"`, status: 400, code: invalid, field: "body"},
		{name: "no JSON", body: "name=x", status: 400, code: invalid, field: "body"},
		{name: "comment", body: "/**/" + string(valid), status: 400, code: invalid, field: "body"},
		{name: "truncated", body: string(valid[:len(valid)-1]), status: 400, code: invalid},
		{name: "two values", body: string(valid) + string(valid), status: 400, code: invalid, field: "body"},
		{name: "trailing comma", body: string(valid[:len(valid)-1]) + ",}", status: 400, code: invalid, field: "body"},
		{name: "member twice", body: twice(t, valid), status: 400, code: invalid, field: firstMember(t, valid)},
		{name: "unknown member", body: `{"noSuchField":1}`, status: 400, code: invalid, field: "noSuchField"},
		{name: "member in another case", body: otherCase(t, valid), status: 400, code: invalid, field: strings.ToUpper(firstMember(t, valid))},
		{name: "deep objects", body: strings.Repeat(`{"settings":`, 50_000), status: 400, code: invalid},
		{name: "deep arrays", body: strings.Repeat(`[`, 500_000), status: 400, code: invalid, field: "body"},
		{name: "deep in a member", body: `{"noSuchField":` + strings.Repeat(`[`, 200_000) + strings.Repeat(`]`, 200_000) + `}`, status: 400, code: invalid},
		{name: "invalid UTF-8", body: "{\"name\":\"\xff\"}", status: 400, code: invalid},
		{name: "byte order mark", body: "\ufeff" + string(valid), status: 400, code: invalid, field: "body"},
		{name: "NUL after the value", body: string(valid) + "\x00", status: 400, code: invalid, field: "body"},
		{name: "2 MiB", body: `{"name":"` + strings.Repeat("a", 2<<20) + `"}`, status: 413, code: tooLarge},
		{name: "2 MiB of spaces", body: string(valid) + strings.Repeat(" ", 2<<20), status: 413, code: tooLarge},
		{name: "no content type", header: []string{"Content-Type", ""}, status: 415, code: media},
		{name: "form", header: []string{"Content-Type", "application/x-www-form-urlencoded"}, status: 415, code: media},
		{name: "text/json", header: []string{"Content-Type", "text/json"}, status: 415, code: media},
		{name: "malformed content type", header: []string{"Content-Type", "application/json; charset"}, status: 415, code: media},
		{name: "Latin 1", header: []string{"Content-Type", "application/json; charset=iso-8859-1"}, status: 415, code: media},
		{name: "gzip", header: []string{"Content-Encoding", "gzip"}, status: 415, code: media},
		{name: "identity", header: []string{"Content-Encoding", "identity"}, status: 415, code: media},
	}
	for i := range rows {
		rows[i].name = op.ID + " " + rows[i].name
		rows[i].method, rows[i].target = op.Method, target(t, op, w.ids)
		if rows[i].body == "" {
			rows[i].body = string(valid)
		}
	}
	return rows
}

// firstMember returns the name of the first member of an object.
func firstMember(t *testing.T, object []byte) string {
	t.Helper()
	name, _, ok := strings.Cut(strings.TrimPrefix(string(object), `{"`), `"`)
	if !ok {
		t.Fatalf("%s has no member", object)
	}
	return name
}

// twice repeats the first member of an object.
func twice(t *testing.T, object []byte) string {
	t.Helper()
	var members map[string]json.RawMessage
	if err := json.Unmarshal(object, &members); err != nil {
		t.Fatal(err)
	}
	name := firstMember(t, object)
	return fmt.Sprintf(`{%q:%s,`, name, members[name]) + string(object[1:])
}

func otherCase(t *testing.T, object []byte) string {
	t.Helper()
	name := firstMember(t, object)
	return strings.Replace(string(object), name, strings.ToUpper(name), 1)
}

// quote writes a text as JSON.
func quote(t *testing.T, text string) string {
	t.Helper()
	quoted, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(quoted)
}

func TestBadNames(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		w := newWorld(t, s)
		values := map[string]string{ // as JSON
			"empty": `""`, "spaces": `"   "`, "tabs": `"\t\t"`, "NUL": `"a\u0000b"`, "line break": `"a\nb"`, "escape": `"\u001b[31m"`,
			"DEL": `"a\u007f"`, "next line": `"a\u0085b"`, "lone surrogate": `"\ud800"`, "raw control": "\"a\x01b\"",
			"101 letters": quote(t, strings.Repeat("a", 101)), "101 emoji": quote(t, strings.Repeat("🕊", 101)),
			"900 KB": quote(t, strings.Repeat("a", 900_000)), "number": `5`, "null": `null`, "object": `{}`,
		}
		var rows []row
		for name, value := range values {
			for _, call := range []struct{ method, path, body string }{
				{"POST", "/v1/instances", `{"name":%s}`},
				{"PATCH", "/v1/instances/" + w.ids["Instance"], `{"name":%s}`},
				{"POST", "/v1/api-keys", `{"name":%s,"scopes":["instances:read"]}`},
				{"POST", "/v1/accounts", `{"name":%s}`},
				{"PATCH", "/v1/accounts/" + w.ids["Account"], `{"name":%s}`},
			} {
				field := "name"
				if name == "lone surrogate" || name == "raw control" {
					field = "" // the whole body is no JSON then
				}
				rows = append(rows, row{name: call.method + call.path + " " + name, method: call.method, target: call.path,
					body: fmt.Sprintf(call.body, value), status: 400, code: invalid, field: field})
			}
		}
		rows = append(rows, row{name: "1 MiB", method: "POST", target: "/v1/instances",
			body: `{"name":` + quote(t, strings.Repeat("a", 1<<20)) + `}`, status: 413, code: "payload_too_large"})
		for name, value := range map[string]string{"empty": `""`, "NUL": `"\u0000"`, "201 letters": quote(t, strings.Repeat("é", 201)), "number": `1`} {
			rows = append(rows, row{name: "externalId " + name, method: "POST", target: "/v1/instances",
				body: `{"name":"x","externalId":` + value + `}`, status: 400, code: invalid, field: "externalId"})
		}
		w.refuse(t, w.asker, rows)
	})
}

// Every language and every emoji is welcome, and comes back as it was sent.
func TestGoodNames(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		w := newWorld(t, s)
		for _, name := range []string{
			"🕊️ Pombal", strings.Repeat("🕊", 100), strings.Repeat("é", 100), "👩‍👩‍👧‍👦 família", "شركة الحمام الزاجل", "שלום עולם",
			"قسم Sales 2 — \u200fمبيعات", "日本語の名前", "नमस्ते", "e\u0301", "\u202eRTL override", "<b>&amp;'\"\\/`", "a\u2028b", "\ufffd", "'; DROP TABLE instances;--",
			"%_\\%", "𝔓𝔬𝔪𝔟𝔞𝔩", "\U0010fffd",
		} {
			var created, got struct{ ID, Name, ExternalID string }
			body := []byte(`{"name":` + quote(t, "  "+name+" ") + `,"externalId":` + quote(t, name) + `}`)
			w.do(t, "POST", "/v1/instances", body).decode(t, &created)
			w.do(t, "GET", "/v1/instances/"+created.ID, nil).decode(t, &got)
			if created.Name != name || got.Name != name || got.ExternalID != name {
				t.Errorf("%q came back as %q and %q", name, created.Name, got.Name)
			}
			var found []struct{ ID string }
			w.do(t, "GET", "/v1/instances?externalId="+url.QueryEscape(name), nil).decode(t, &found)
			if len(found) != 1 || found[0].ID != created.ID {
				t.Errorf("externalId=%q finds %v", name, found)
			}
			w.do(t, "GET", "/v1/instances?search="+url.QueryEscape(name), nil).decode(t, &found)
			if len(found) != 1 || found[0].ID != created.ID {
				t.Errorf("search=%q finds %v", name, found)
			}
		}
	})
}

// Addresses inside our network, and what is no web address at all, are refused before they are kept.
func TestBadWebhookURLs(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		w := newWorld(t, s)
		var rows []row
		for _, bad := range []string{
			"http://localhost/", "http://localhost:3000/hook", "http://127.0.0.1/", "http://127.1/", "http://2130706433/", "http://0x7f000001/",
			"http://0177.0.0.1/", "http://0.0.0.0/", "http://10.0.0.1/", "http://172.16.0.1/", "http://192.168.1.1/", "http://100.64.0.1/",
			"http://169.254.169.254/latest/meta-data/", "http://168.63.129.16/", "http://[::1]/", "http://[::]/", "http://[fe80::1]/",
			"http://[fc00::1]/", "http://[::ffff:127.0.0.1]/", "http://[64:ff9b::7f00:1]/", "http://[2002:7f00:1::]/", "http://224.0.0.1/",
			"http://metadata.google.internal/", "http://printer.local/", "http://intranet/", "http://a.localhost/",
			"ftp://example.com/", "file:///etc/passwd", "javascript:alert(1)", "gopher://example.com/", "data:text/plain,x",
			"https://user:secret@example.com/", "https://example.com/#part", "https://", "https:///path", "//example.com/", "example.com", "/hook",
			"https://exämple.com/", "https://example.com/a b", "https://example.com/\u0000", "https://example.com:99999/", "not a url", "",
		} {
			body := `{"name":"x","webhookUrl":` + quote(t, bad) + `}`
			rows = append(rows,
				row{name: fmt.Sprintf("create %.40q", bad), method: "POST", target: "/v1/instances", body: body, status: 400, code: "invalid_webhook_url", field: "webhookUrl"},
				row{name: fmt.Sprintf("update %.40q", bad), method: "PATCH", target: "/v1/instances/" + w.ids["Instance"], body: body, status: 400, code: "invalid_webhook_url", field: "webhookUrl"})
		}
		long := `{"name":"x","webhookUrl":"https://example.com/` + strings.Repeat("a", 2048) + `"}`
		rows = append(rows, row{name: "too long", method: "POST", target: "/v1/instances", body: long, status: 400, code: invalid, field: "webhookUrl"})
		w.refuse(t, w.asker, rows)
		for _, good := range []string{"https://example.com/hook?a=b", "http://hooks.example.com:8443/", "https://93.184.215.14/x", "https://[2606:4700::1111]/"} {
			w.do(t, "PATCH", "/v1/instances/"+w.ids["Instance"], []byte(`{"webhookUrl":`+quote(t, good)+`}`)).decode(t, new(any))
		}
	})
}

func TestBadRoutes(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		w := newWorld(t, s)
		var rows []row
		for _, path := range []string{
			"/", "/v1", "/v1/", "/v2/instances", "/V1/instances", "/v1/Instances", "/v1/instances/", "/v1/instances//", "//v1/instances",
			"/v1/instances/" + w.ids["Instance"] + "/", "/v1/instances/" + w.ids["Instance"] + "/nothing", "/v1/instances/" + w.ids["Instance"] + "/status/",
			"/v1/api-keys/", "/v1/accounts/", "/v1/tokens/", "/v1/limits/", "/livez/", "/openapi.json/", "/.git/config",
			"/%00", "/v1/%ff", "/v1/instances%2f" + w.ids["Instance"] + "%2fnothing",
		} {
			rows = append(rows, row{name: fmt.Sprintf("%.60q", path), method: "GET", target: path, status: 404, code: "not_found"})
		}
		for _, id := range []string{
			"x", "inst_", strings.ToUpper(w.ids["Instance"]), w.ids["Instance"] + "0", w.ids["Instance"][:30], " " + w.ids["Instance"], w.ids["Account"],
			"inst_8zzzzzzzzzzzzzzzzzzzzzzzzz", "inst_00000000000000000000000000", "inst_iiiiiiiiiiiiiiiiiiiiiiiiii", "%00", "%ff", "..%2fx", "*", strings.Repeat("a", 8000),
		} {
			for _, suffix := range []string{"", "/status"} {
				path := "/v1/instances/" + strings.ReplaceAll(id, " ", "%20") + suffix
				rows = append(rows, row{name: fmt.Sprintf("id %.60q", path), method: "GET", target: path, status: 404, code: "instance_not_found"})
			}
		}
		w.refuse(t, w.asker, rows)
	})
}

func TestBadMethods(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, testkit.Engines()[0])
	w := newWorld(t, s)
	methods := map[string][]string{} // documented, by path
	for _, op := range s.Contract.Operations() {
		path := target(t, op, w.ids)
		methods[path] = append(methods[path], op.Method)
		if op.Method == http.MethodGet {
			methods[path] = append(methods[path], http.MethodHead)
		}
	}
	for path, known := range methods {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PROPFIND", "BREW", "get"} {
			if slices.Contains(known, method) || method == "CONNECT" { // which names no path
				continue
			}
			a := w.do(t, method, path, nil)
			if method == http.MethodHead {
				if a.Status != http.StatusMethodNotAllowed {
					t.Errorf("%s %s answered %d", method, path, a.Status)
				}
				continue
			}
			a.is(t, http.StatusMethodNotAllowed, "method_not_allowed", "")
			for _, allowed := range known {
				if !strings.Contains(a.Header.Get("Allow"), allowed) {
					t.Errorf("%s %s: Allow is %q, without %s", method, path, a.Header.Get("Allow"), allowed)
				}
			}
		}
	}
}

func TestBadAccountHeaders(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		w := newWorld(t, s)
		const header, unknown, forbidden = "X-Account-Id", "account_not_found", "insufficient_permissions"
		var rows []row
		for name, r := range map[string]row{
			"malformed":      {header: []string{header, "acct_x"}, status: 404, code: unknown},
			"of another":     {header: []string{header, w.ids["Instance"]}, status: 404, code: unknown},
			"upper case":     {header: []string{header, strings.ToUpper(w.child.ID)}, status: 404, code: unknown},
			"list":           {header: []string{header, w.child.ID + ", " + w.child.ID}, status: 404, code: unknown},
			"own":            {header: []string{header, w.ID}, status: 404, code: unknown},
			"unknown":        {header: []string{header, unknownIDs()["Account"]}, status: 404, code: unknown},
			"no ASCII":       {header: []string{header, "acct_é"}, status: 404, code: unknown},
			"empty":          {header: []string{header, ""}, status: 400, code: invalid, field: header},
			"doubled":        {header: []string{header, w.child.ID, header, w.child.ID}, status: 400, code: invalid, field: header},
			"all and one":    {header: []string{header, "*", header, w.child.ID}, status: 400, code: invalid, field: header},
			"all on one":     {method: "GET", target: "/v1/instances/" + w.ids["Instance"], header: []string{header, "*"}, status: 400, code: invalid, field: header},
			"all on create":  {method: "POST", target: "/v1/instances", body: `{"name":"x"}`, header: []string{header, "*"}, status: 400, code: invalid, field: header},
			"all on delete":  {method: "DELETE", target: "/v1/instances/" + w.ids["Instance"], header: []string{header, "*"}, status: 400, code: invalid, field: header},
			"all on keys":    {method: "GET", target: "/v1/api-keys", header: []string{header, "*"}, status: 400, code: invalid, field: header},
			"all on tokens":  {method: "POST", target: "/v1/tokens", body: `{}`, header: []string{header, "*"}, status: 400, code: invalid, field: header},
			"all on limits":  {method: "GET", target: "/v1/limits", header: []string{header, "*"}, status: 400, code: invalid, field: header},
			"on accounts":    {method: "GET", target: "/v1/accounts", header: []string{header, w.child.ID}, status: 400, code: invalid, field: header},
			"on own account": {method: "PATCH", target: "/v1/accounts/" + w.child.ID, body: `{"name":"x"}`, header: []string{header, w.child.ID}, status: 400, code: invalid, field: header},
		} {
			r.name = name
			if r.method == "" {
				r.method, r.target, r.body = "POST", "/v1/instances", `{"name":"x"}`
			}
			rows = append(rows, r)
		}
		w.refuse(t, w.asker, rows)
		child := []row{
			{name: "child, its own", method: "POST", target: "/v1/instances", body: `{"name":"x"}`, header: []string{header, w.child.ID}, status: 403, code: forbidden},
			{name: "child, its partner", method: "POST", target: "/v1/instances", body: `{"name":"x"}`, header: []string{header, w.ID}, status: 403, code: forbidden},
			{name: "child, all", method: "GET", target: "/v1/instances", header: []string{header, "*"}, status: 403, code: forbidden},
		}
		w.refuse(t, bearer(t, s, w.child.Key), child)
		token := []row{
			{name: "token, child", method: "POST", target: "/v1/instances", body: `{"name":"x"}`, header: []string{header, w.child.ID}, status: 403, code: forbidden},
			{name: "token, all", method: "GET", target: "/v1/instances", header: []string{header, "*"}, status: 403, code: forbidden},
		}
		w.refuse(t, bearer(t, s, mint(t, w.asker, `{}`)), token)
	})
}
