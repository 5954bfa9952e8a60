package httpapi

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/pkg/api"
)

// binder is a Server that can only bind.
func binder(tb testing.TB) *Server {
	tb.Helper()
	v, err := newValidator()
	if err != nil {
		tb.Fatal(err)
	}
	return &Server{validate: v, now: time.Now, cfg: Config{CursorKey: []byte("0123456789abcdef0123456789abcdef")}}
}

// refusal is an error as callers see it.
type refusal struct {
	Code    domain.Code
	Details map[string]string // field to code
}

func refusalOf(err error) refusal {
	_, e := classify(err)
	r := refusal{Code: e.Code, Details: map[string]string{}}
	for _, d := range e.Details {
		r.Details[d.Field] = d.Code
	}
	return r
}

func TestDecodeBody(t *testing.T) {
	t.Parallel()
	invalid := func(field, code string) refusal {
		return refusal{domain.CodeInvalidParameters, map[string]string{field: code}}
	}
	for name, tt := range map[string]struct {
		body string
		want refusal
	}{
		"empty":                {``, invalid("body", "required")},
		"null":                 {`null`, invalid("body", "wrong_type")},
		"array":                {`[]`, invalid("body", "wrong_type")},
		"broken":               {`{"name":`, invalid("body", "invalid_json")},
		"not JSON":             {`name=x`, invalid("body", "invalid_json")},
		"two values":           {`{"name":"x"} {}`, invalid("body", "invalid_json")},
		"unknown member":       {`{"name":"x","title":"y"}`, invalid("title", "unknown")},
		"unknown deep member":  {`{"name":"x","settings":{"autoread":true}}`, invalid("settings.autoread", "unknown")},
		"another case":         {`{"Name":"x"}`, invalid("Name", "unknown")},
		"duplicate member":     {`{"name":"x","name":"y"}`, invalid("name", "duplicate")},
		"duplicate deep":       {`{"name":"x","settings":{"autoRead":true,"autoRead":false}}`, invalid("settings.autoRead", "duplicate")},
		"wrong type":           {`{"name":5}`, invalid("name", "wrong_type")},
		"wrong deep type":      {`{"name":"x","settings":{"autoRead":"yes"}}`, invalid("settings.autoRead", "wrong_type")},
		"wrong list":           {`{"name":"x","webhookEvents":"message.sent"}`, invalid("webhookEvents", "wrong_type")},
		"null name":            {`{"name":null}`, invalid("name", "wrong_type")},
		"null settings":        {`{"name":"x","settings":null}`, invalid("settings", "wrong_type")},
		"invalid UTF-8":        {"{\"name\":\"\xff\"}", invalid("body", "invalid_utf8")},
		"lone surrogate":       {`{"name":"\ud800"}`, invalid("body", "invalid_json")},
		"deep":                 {strings.Repeat(`{"settings":`, 100_000), invalid("settings.settings", "unknown")},
		"deep arrays":          {strings.Repeat(`[`, 100_000), invalid("body", "wrong_type")},
		"number out of bounds": {`{"name":1e999999}`, invalid("name", "wrong_type")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := decodeBody([]byte(tt.body), new(api.CreateInstance))
			if err == nil {
				t.Fatal("accepted")
			}
			if diff := cmp.Diff(tt.want, refusalOf(err)); diff != "" {
				t.Error(diff)
			}
		})
	}
	if err := decodeBody([]byte(` {"name":"x","webhookUrl":null,"externalId":null} `), new(api.CreateInstance)); err != nil {
		t.Errorf("valid body refused: %v", err)
	}
}

// Who sends a wrong type is told the right one, and whether null would do.
func TestDecodeBody_SaysWhatItExpects(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		dst               any
		field, body, want string
	}{
		{new(api.UpdateInstance), "webhookUrl", `5`, "Expected a string or null."},
		{new(api.UpdateInstance), "externalId", `{}`, "Expected a string or null."},
		{new(api.UpdateInstance), "name", `5`, "Expected a string."},
		{new(api.UpdateInstance), "settings", `5`, "Expected an object."},
		{new(api.UpdateWebhook), "name", `[]`, "Expected a string or null."},
		{new(api.UpdateWebhook), "instanceId", `true`, "Expected a string or null."},
		{new(api.UpdateWebhook), "events", `"message.sent"`, "Expected an array."},
		{new(api.UpdateWebhook), "timeoutSeconds", `"5"`, "Expected a whole number."},
		{new(api.CreateWebhook), "name", `5`, "Expected a string or null."},
		{new(api.CreateWebhook), "secret", `5`, "Expected a string."},
		{new(api.CreateInstance), "webhookUrl", `5`, "Expected a string or null."},
		{new(api.UpdateAccount), "externalId", `5`, "Expected a string or null."},
		{new(api.CreateAPIKey), "expiresAt", `5`, "Expected a time such as 2026-02-03T12:00:00.000Z."},
	} {
		err := decodeBody([]byte(`{"`+tt.field+`":`+tt.body+`}`), tt.dst)
		_, e := classify(err)
		if want := []domain.Detail{{Field: tt.field, Code: "wrong_type", Message: tt.want}}; !cmp.Equal(want, e.Details) {
			t.Errorf("%T: %+v, want %+v", tt.dst, e.Details, want)
		}
	}
}

// Who sends a bad id is shown one of the right kind.
func TestCheck_ShowsIDsOfTheKind(t *testing.T) {
	t.Parallel()
	s := binder(t)
	for _, text := range []string{"foo", "evt_foo", "inst_foo", "evt_", "evt_" + sampleID + "0"} {
		for want, params := range map[string]any{
			"evt_" + sampleID:  &api.ListEventsParams{Limit: 1, After: &text},
			"inst_" + sampleID: &api.CreateInboundWebhook{Name: "x", InstanceID: text},
		} {
			_, e := classify(s.check(params))
			if len(e.Details) != 1 || e.Details[0].Message != "Send an id as the API spells it, such as "+want+"." {
				t.Errorf("%T with %q: %+v", params, text, e.Details)
			}
		}
	}
	for types, ok := range map[string]bool{
		"message.sent": true, "message.sent,message.read": true,
		",": false, "message.sent,": false, ",message.sent": false, "message.sent,,message.read": false,
	} {
		_, e := classify(s.check(&api.ListEventsParams{Limit: 1, Types: &types}))
		if !ok && (len(e.Details) != 1 || !strings.HasPrefix(e.Details[0].Message, "A name in this list is empty.")) || ok && len(e.Details) > 0 {
			t.Errorf("types %q: %+v", types, e.Details)
		}
	}
}

func bindListQuery(s *Server, query string) (listInstancesRequest, error) {
	var req listInstancesRequest
	r := httptest.NewRequest(http.MethodGet, "/v1/instances", nil)
	r.URL.RawQuery = query
	_, err := s.bind(echo.New().NewContext(r, httptest.NewRecorder()), &listPlan, &req)
	return req, err
}

func FuzzBindQuery(f *testing.F) {
	for _, q := range []string{"", "limit=1&offset=2", "status=connected", "search=%00", "limit=+5", "a;b", "%zz", "limit=1&limit=2", "cursor=x&offset=0"} {
		f.Add(q)
	}
	s := binder(f)
	f.Fuzz(func(t *testing.T, query string) {
		req, err := bindListQuery(s, query)
		if err != nil {
			if status, _ := classify(err); status != http.StatusBadRequest {
				t.Errorf("%q: status %d: %v", query, status, err)
			}
			return
		}
		if req.Query.Limit < 1 || req.Query.Limit > 100 || req.Query.Offset < 0 {
			t.Errorf("%q: accepted %+v", query, req.Query)
		}
	})
}

func FuzzDecodeBody(f *testing.F) {
	for _, body := range []string{`{"name":"x"}`, `{"name":"x","settings":{"autoRead":true}}`, `{`, `[[[[`, `{"a":1,"a":2}`, `{"name":null}`} {
		f.Add([]byte(body))
	}
	s := binder(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		dst := new(api.CreateInstance)
		dst.SetDefaults()
		err := decodeBody(body, dst)
		if err == nil {
			dst.Normalize()
			err = s.check(dst)
		}
		if err == nil && !isPlainText(dst.Name) {
			t.Errorf("accepted the name %q", dst.Name)
		}
		if err != nil {
			if status, _ := classify(err); status != http.StatusBadRequest {
				t.Errorf("%q: status %d: %v", body, status, err)
			}
		}
	})
}

func FuzzDecodeCursor(f *testing.F) {
	s := binder(f)
	scope := []byte("instances")
	at := domain.Cursor{CreatedAt: time.UnixMilli(1_770_120_000_123).UTC(), ID: domain.NewID(time.Now())}
	f.Add(s.encodeCursor(scope, at))
	f.Add("")
	f.Add("AAAA")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := s.decodeCursor(scope, text)
		if err == nil && s.encodeCursor(scope, *got) != text {
			t.Errorf("%q is accepted but not what encoding gives", text)
		}
	})
}

func TestCursor_IsBoundToItsList(t *testing.T) {
	t.Parallel()
	s := binder(t)
	mine := &domain.Principal{Account: domain.Account{ID: domain.NewID(time.Now())}}
	other := &domain.Principal{Account: domain.Account{ID: domain.NewID(time.Now())}}
	at := domain.Cursor{CreatedAt: time.UnixMilli(1_770_120_000_123).UTC(), ID: domain.NewID(time.Now())}
	text := s.encodeCursor(listScope("instances", mine, "all", "", ""), at)
	got, err := s.decodeCursor(listScope("instances", mine, "all", "", ""), text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(at, *got); diff != "" {
		t.Error(diff)
	}
	for name, scope := range map[string][]byte{
		"another account": listScope("instances", other, "all", "", ""),
		"another filter":  listScope("instances", mine, "connected", "", ""),
		"shifted filters": listScope("instances", mine, "", "all", ""),
		"another list":    listScope("api-keys", mine, "all", "", ""),
		"all children":    listScope("instances", &domain.Principal{Account: mine.Account, Children: true}, "all", "", ""),
	} {
		if _, err := s.decodeCursor(scope, text); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for i := range len(text) {
		forged := []byte(text)
		forged[i] ^= 1
		if bytes.Equal(forged, []byte(text)) {
			continue
		}
		if got, err := s.decodeCursor(listScope("instances", mine, "all", "", ""), string(forged)); err == nil {
			t.Errorf("forged at %d: accepted as %+v", i, got)
		}
	}
}
