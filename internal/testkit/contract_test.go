package testkit_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pombal-api/pombal/internal/testkit"
)

// spec is a small document with one of each thing that the harness looks at.
const spec = `
openapi: 3.1.0
info: {title: Dovecote, version: 1.0.0}
paths:
  /v1/doves:
    get:
      operationId: listDoves
      security: [{bearer: ['doves:read']}]
      parameters:
        - {name: limit, in: query, schema: {type: integer, minimum: 1, maximum: 100}, example: 50}
        - {name: state, in: query, schema: {type: string, enum: [home, away]}, example: home}
        - {name: search, in: query, schema: {type: string, minLength: 1, maxLength: 5}, example: bo}
        - {name: loft, in: query, required: true, schema: {type: string, pattern: '^[a-z]+$'}, example: north}
        - {name: X-Loft-Id, in: header, schema: {type: string}}
      responses:
        '200':
          description: The doves.
          headers:
            X-Count: {required: true, schema: {type: integer}}
          content:
            application/json:
              schema: {type: array, items: {$ref: '#/components/schemas/Dove'}}
        '304': {description: Nothing new.}
        '400': {$ref: '#/components/responses/Failure'}
    post:
      operationId: createDove
      security: [{bearer: ['doves:write']}]
      requestBody:
        content:
          application/json:
            schema: {$ref: '#/components/schemas/NewDove'}
            examples:
              small: {value: {name: Bo}}
              full: {value: {name: Bo, rank: 3, ring: {colour: red}, loftIds: [loft_1], tags: [fast]}}
      responses:
        '204': {description: Done.}
        '400': {$ref: '#/components/responses/Failure'}
  /v1/lofts/{loftId}/doves/{doveId}:
    parameters:
      - {name: loftId, in: path, required: true, schema: {$ref: '#/components/schemas/LoftId'}, example: loft_1}
      - {name: doveId, in: path, required: true, schema: {$ref: '#/components/schemas/DoveId'}, example: dove_1}
    get:
      operationId: getDove
      security: []
      responses:
        '200':
          description: The dove.
          content:
            application/json:
              schema: {$ref: '#/components/schemas/Dove'}
        '404': {$ref: '#/components/responses/Failure'}
        '500': {$ref: '#/components/responses/Failure'}
  /v1/lofts/{loftId}/doves/all:
    parameters:
      - {name: loftId, in: path, required: true, schema: {$ref: '#/components/schemas/LoftId'}, example: loft_1}
    get:
      operationId: pageOfDoves
      responses:
        '200':
          description: A page for people.
          content:
            text/html: {}
components:
  securitySchemes:
    bearer: {type: http, scheme: bearer}
  responses:
    Failure:
      description: It failed.
      headers:
        X-Retry: {schema: {type: integer}}
      content:
        application/json:
          schema:
            type: object
            required: [error]
            properties:
              error: {type: object, required: [code], properties: {code: {type: string}}}
  schemas:
    LoftId: {type: string}
    DoveId: {type: string}
    Dove:
      type: object
      required: [name, state, born, mate]
      properties:
        name: {type: string}
        state: {type: string, enum: [home, away]}
        born: {type: string, format: date-time}
        mate: {type: [string, 'null']}
        chip: {type: string, format: uuid}
        flights: {type: integer, format: int64}
    NewDove:
      type: object
      required: [name]
      properties:
        name: {type: string, minLength: 1, maxLength: 4}
        rank: {type: integer, minimum: 1, maximum: 9}
        ring: {type: object, properties: {colour: {type: string, enum: [red, blue]}}}
        loftIds: {type: array, items: {$ref: '#/components/schemas/LoftId'}}
        tags: {type: array, uniqueItems: true, items: {type: string, enum: [fast, calm]}}
`

// complaints is a test that notes its failures instead of failing.
type complaints struct {
	testing.TB
	list []string
}

// Helper implements testing.TB.
func (c *complaints) Helper() {}

// Errorf implements testing.TB.
func (c *complaints) Errorf(format string, args ...any) {
	c.list = append(c.list, fmt.Sprintf(format, args...))
}

const (
	dove    = `{"name":"Bo","state":"home","born":"2026-01-02T03:04:05.678Z","mate":null}`
	failure = `{"error":{"code":"no_dove"}}`
)

// answer is what a server says in a test.
type answer struct {
	method, path string // GET /v1/doves if empty
	status       int
	body         string
	header       map[string]string // Content-Type is JSON and X-Count is 1 unless said otherwise
}

// ask lets a server give the answer and returns the complaints about it, and the body
// that the client got.
func (a answer) ask(t *testing.T, contract *testkit.Contract) (list []string, body string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if a.path == "" {
			w.Header().Set("X-Count", "1")
		}
		for name, value := range a.header {
			w.Header().Set(name, value)
			if value == "" {
				w.Header().Del(name)
			}
		}
		w.WriteHeader(a.status)
		_, _ = io.WriteString(w, a.body)
	}))
	defer server.Close()
	tb := &complaints{TB: t}
	client := http.Client{Transport: contract.For(tb).Transport(server.Client().Transport)}
	method, path := a.method, a.path
	if method == "" {
		method = http.MethodGet
	}
	if path == "" {
		path = "/v1/doves"
	}
	req, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return tb.list, string(got)
}

func TestContract_AcceptsWhatIsDocumented(t *testing.T) {
	t.Parallel()
	contract := testkit.NewContract(t, []byte(spec))
	one := "/v1/lofts/loft_1/doves/dove_1"
	for name, a := range map[string]answer{
		"a list":            {status: 200, body: "[" + dove + "]"},
		"an empty list":     {status: 200, body: "[]"},
		"an object":         {path: one, status: 200, body: dove},
		"an object, whole":  {path: one, status: 200, body: strings.Replace(dove, "{", `{"chip":"01890000-0000-7000-8000-000000000000","flights":9223372036854775807,`, 1)},
		"an error":          {path: one, status: 404, body: failure, header: map[string]string{"X-Retry": "3"}},
		"nothing new":       {status: 304, header: map[string]string{"X-Count": "", "Content-Type": ""}},
		"no body":           {method: "POST", status: 204, header: map[string]string{"X-Count": "", "Content-Type": ""}},
		"a page":            {path: "/v1/lofts/loft_1/doves/all", status: 200, body: "<p>Bo", header: map[string]string{"Content-Type": "text/html"}},
		"HEAD":              {method: "HEAD", status: 200},
		"a preflight":       {method: "OPTIONS", status: 204, header: map[string]string{"X-Count": ""}},
		"no such path":      {path: "/v1/hawks", status: 404, body: "{}"},
		"no such method":    {method: "PUT", status: 405, body: "{}"},
		"headers of others": {status: 200, body: "[]", header: map[string]string{"Vary": "Origin"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			list, body := a.ask(t, contract)
			if len(list) > 0 {
				t.Errorf("complaints: %s", list)
			}
			if body != a.body {
				t.Errorf("the client got %q, want %q", body, a.body)
			}
		})
	}
}

func TestContract_ReportsEachDrift(t *testing.T) {
	t.Parallel()
	contract := testkit.NewContract(t, []byte(spec))
	one := "/v1/lofts/loft_1/doves/dove_1"
	for name, test := range map[string]struct {
		answer answer
		want   string // in the complaint
	}{
		"another status":           {answer{status: 201, body: "[]"}, "does not document this status"},
		"another path":             {answer{path: "/v1/hawks", status: 200, body: "[]"}, "no such operation"},
		"null for a list":          {answer{status: 200, body: "null"}, "null"},
		"an object for a list":     {answer{status: 200, body: dove}, "array"},
		"a field too many":         {answer{path: one, status: 200, body: strings.Replace(dove, "{", `{"age":3,`, 1)}, "age"},
		"a field too many, nested": {answer{path: one, status: 404, body: `{"error":{"code":"x","hint":"y"}}`}, "hint"},
		"a field too few":          {answer{status: 200, body: "[" + strings.Replace(dove, `,"mate":null`, "", 1) + "]"}, "mate"},
		"null for a text":          {answer{path: one, status: 200, body: strings.Replace(dove, `"Bo"`, "null", 1)}, "/name"},
		"an unknown value":         {answer{path: one, status: 200, body: strings.Replace(dove, "home", "lost", 1)}, "/state"},
		"a time without decimals":  {answer{path: one, status: 200, body: strings.Replace(dove, ".678", "", 1)}, "/born"},
		"a time of no calendar":    {answer{path: one, status: 200, body: strings.Replace(dove, "01-02T", "02-31T", 1)}, "/born"},
		"a local time":             {answer{path: one, status: 200, body: strings.Replace(dove, "Z", "+03:00", 1)}, "/born"},
		"a UUID of no version":     {answer{path: one, status: 200, body: strings.Replace(dove, "{", `{"chip":"01890000-0000-0000-8000-000000000000",`, 1)}, "/chip"},
		"an integer of 65 bits":    {answer{path: one, status: 200, body: strings.Replace(dove, "{", `{"flights":9223372036854775808,`, 1)}, "/flights"},
		"no JSON":                  {answer{path: one, status: 200, body: "{"}, "decode"},
		"another content type":     {answer{path: one, status: 200, body: dove, header: map[string]string{"Content-Type": "text/plain"}}, "text/plain"},
		"a header too few":         {answer{status: 200, body: "[]", header: map[string]string{"X-Count": ""}}, "X-Count"},
		"a header of another type": {answer{status: 200, body: "[]", header: map[string]string{"X-Count": "many"}}, "X-Count"},
		"a header too many":        {answer{status: 200, body: "[]", header: map[string]string{"X-Retry": "3"}}, "X-Retry is not documented"},
		"no body":                  {answer{method: "POST", path: "/v1/doves", status: 400, body: ""}, "decode"},
		"a page instead of JSON":   {answer{path: "/v1/lofts/loft_1/doves/all", status: 200, body: "{}"}, "application/json"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			list, body := test.answer.ask(t, contract)
			if len(list) != 1 || !strings.Contains(list[0], test.want) {
				t.Errorf("complaints: %s, want one about %q", list, test.want)
			}
			if body != test.answer.body {
				t.Errorf("the client got %q, want %q", body, test.answer.body)
			}
		})
	}
}

func TestContract_ReportsABodyWhereNoneIsDocumented(t *testing.T) {
	t.Parallel()
	contract := testkit.NewContract(t, []byte(spec))
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/doves", nil)
	header := http.Header{"Content-Type": {"application/json"}}
	if err := contract.Check(req, http.StatusNoContent, header, []byte("{}")); err == nil {
		t.Error("no complaint")
	}
}

func TestContract_LeavesACutConnectionToTheClient(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "[{")
	}))
	defer server.Close()
	client := http.Client{Transport: testkit.NewContract(t, []byte(spec)).Transport(nil)}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/v1/doves", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if body, err := io.ReadAll(res.Body); err == nil || string(body) != "[{" {
		t.Errorf("got %q and the error %v", body, err)
	}
}

func TestContract_RemembersWhatItSaw(t *testing.T) {
	t.Parallel()
	contract := testkit.NewContract(t, []byte(spec))
	answer{status: 200, body: "[]"}.ask(t, contract)
	answer{status: 200, body: "[]"}.ask(t, contract)
	answer{path: "/v1/lofts/loft_1/doves/dove_1", status: 404, body: failure}.ask(t, contract)
	answer{path: "/v1/lofts/loft_1/doves/all", status: 200, header: map[string]string{"Content-Type": "text/html"}}.ask(t, contract)

	if n := contract.Seen("listDoves", 200); n != 2 {
		t.Errorf("saw listDoves 200 %d times", n)
	}
	if diff := cmp.Diff([]string{"createDove 204", "getDove 200"}, contract.Uncovered2xx()); diff != "" {
		t.Errorf("successes to see (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"listDoves 400", "createDove 400"}, contract.UncoveredErrors()); diff != "" {
		t.Errorf("failures to see (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"no_dove"}, contract.SeenCodes()); diff != "" {
		t.Errorf("codes (-want +got):\n%s", diff)
	}
}

func TestContract_DerivesTheOperations(t *testing.T) {
	t.Parallel()
	contract := testkit.NewContract(t, []byte(spec))
	loft := testkit.IDPosition{In: "path", Name: "loftId", Object: "Loft"}
	want := []testkit.Operation{
		{
			ID: "listDoves", Method: "GET", Path: "/v1/doves", Schemes: []string{"bearer"}, Scopes: []string{"doves:read"},
			QueryParams: []string{"limit", "state", "search", "loft"}, Statuses: []int{200, 304, 400},
			IDs: []testkit.IDPosition{{In: "header", Name: "X-Loft-Id", Object: "Loft"}},
		},
		{
			ID: "createDove", Method: "POST", Path: "/v1/doves", Schemes: []string{"bearer"}, Scopes: []string{"doves:write"},
			HasBody: true, Statuses: []int{204, 400}, IDs: []testkit.IDPosition{{In: "body", Name: "loftIds", Object: "Loft"}},
		},
		{
			ID: "pageOfDoves", Method: "GET", Path: "/v1/lofts/{loftId}/doves/all", PathParams: []string{"loftId"},
			TenantObject: "Loft", IDs: []testkit.IDPosition{loft}, Statuses: []int{200},
		},
		{
			ID: "getDove", Method: "GET", Path: "/v1/lofts/{loftId}/doves/{doveId}", PathParams: []string{"loftId", "doveId"},
			TenantObject: "Dove", IDs: []testkit.IDPosition{loft, {In: "path", Name: "doveId", Object: "Dove"}}, Statuses: []int{200, 404, 500},
		},
	}
	got := contract.Operations()
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(testkit.Operation{})); diff != "" {
		t.Errorf("operations (-want +got):\n%s", diff)
	}
	if path := contract.Operation("getDove").URL(map[string]string{"doveId": "a/b"}); path != "/v1/lofts/loft_1/doves/a%2Fb" {
		t.Errorf("path %s", path)
	}
}

func TestContract_DerivesTheBoundariesOfAQuery(t *testing.T) {
	t.Parallel()
	contract := testkit.NewContract(t, []byte(spec))
	got := map[bool][]string{}
	for _, c := range contract.BoundaryCases(contract.Operation("listDoves")) {
		if c.Query.Get("loft") == "" && c.Name != "loft empty" {
			t.Errorf("%s: without the required parameter", c.Name)
		}
		if !strings.HasPrefix(c.Name, "loft") {
			c.Query.Del("loft")
		}
		got[c.Valid] = append(got[c.Valid], c.Query.Encode())
	}
	want := map[bool][]string{
		true: {"limit=1", "limit=100", "state=home", "state=away", "search=a", "search=aaaaa"},
		false: {
			"limit=", "limit=abc", "limit=1.5", "limit=1e1", "limit=0x10", "limit=9223372036854775808", "limit=0", "limit=101", "limit=50&limit=50",
			"state=", "state=no-such-value", "state=HOME", "state=home&state=home",
			"search=", "search=aaaaaa", "search=bo&search=bo",
			"loft=", "loft=%21%01", "loft=north&loft=north", "noSuchParameter=1",
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("queries (-want +got):\n%s", diff)
	}
}

func TestContract_DerivesTheBoundariesOfABody(t *testing.T) {
	t.Parallel()
	contract := testkit.NewContract(t, []byte(spec))
	valid, invalid := []string{}, []string{}
	for _, c := range contract.BodyCases(contract.Operation("createDove")) {
		if c.Valid {
			valid = append(valid, c.Name)
		} else {
			invalid = append(invalid, c.Name)
		}
	}
	want := []string{
		"example 1", "example 2", "name as short as allowed", "name as long as allowed", "rank at the minimum", "rank at the maximum",
		"ring.colour red", "ring.colour blue", "tags with each value",
	}
	less := func(a, b string) bool { return a < b }
	if diff := cmp.Diff(want, valid, cmpopts.SortSlices(less)); diff != "" {
		t.Errorf("valid bodies (-want +got):\n%s", diff)
	}
	for _, name := range []string{
		"the body is <nil>", "name absent", "name empty", "name too long", "name is 5", "rank below the minimum", "rank is 1.5",
		"ring is []", "ring.colour none of the values", "unknown field in the body", "unknown field in ring", "tags repeated", "loftIds is 5",
	} {
		if !slices.Contains(invalid, name) {
			t.Errorf("no case %q among %q", name, invalid)
		}
	}
	if cases := contract.BodyCases(contract.Operation("getDove")); cases != nil {
		t.Errorf("an operation without a body has cases: %v", cases)
	}
}

func TestLoadContract_RefusesABadDocument(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(string) string{
		"no document":           func(string) string { return "{" },
		"a wrong example":       func(s string) string { return strings.Replace(s, "rank: 3", "rank: 30", 1) },
		"a nameless operation":  func(s string) string { return strings.Replace(s, "operationId: getDove", "summary: x", 1) },
		"a range of statuses":   func(s string) string { return strings.Replace(s, "'304'", "'3XX'", 1) },
		"two operations of one": func(s string) string { return strings.Replace(s, "operationId: getDove", "operationId: listDoves", 1) },
	} {
		if _, err := testkit.LoadContract([]byte(change(spec))); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
