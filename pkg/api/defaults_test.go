package api_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/go-playground/validator/v10"
	"github.com/google/go-cmp/cmp"

	"github.com/pombal-api/pombal/pkg/api"
)

// newValidator is what a server needs to understand the validate tags.
func newValidator(t *testing.T) *validator.Validate {
	t.Helper()
	v := validator.New(validator.WithRequiredStructEnabled())
	err := errors.Join(
		v.RegisterValidation("nocontrol", func(fl validator.FieldLevel) bool {
			return !strings.ContainsFunc(fl.Field().String(), unicode.IsControl)
		}),
		v.RegisterValidation("id", func(fl validator.FieldLevel) bool {
			rest, ok := strings.CutPrefix(fl.Field().String(), fl.Param()+"_")
			return ok && len(rest) == 26
		}),
		v.RegisterValidation("names", func(fl validator.FieldLevel) bool {
			return !slices.Contains(strings.Split(fl.Field().String(), ","), "")
		}))
	if err != nil {
		t.Fatal(err)
	}
	v.RegisterCustomTypeFunc(func(field reflect.Value) any {
		patch, _ := field.Interface().(api.Patch[string])
		return patch.Ptr()
	}, api.Patch[string]{})
	return v
}

// decode does what a server does with a body before it looks at it.
func decode[T any](t *testing.T, body string) *T {
	t.Helper()
	value := new(T)
	if d, ok := any(value).(interface{ SetDefaults() }); ok {
		d.SetDefaults()
	}
	if err := json.Unmarshal([]byte(body), value); err != nil {
		t.Fatal(err)
	}
	if n, ok := any(value).(interface{ Normalize() }); ok {
		n.Normalize()
	}
	return value
}

func TestValidateTags_Bodies(t *testing.T) {
	t.Parallel()
	const id = `"inst_01kdwfzy80e17b5410xamp3tcx"`
	long := strings.Repeat("ã", 101)
	tests := []struct {
		name  string
		value any
		field string // the first field that is wrong; empty if none is
	}{
		{"smallest instance", decode[api.CreateInstance](t, `{"name":"a"}`), ""},
		{"name of 100 characters and spaces", decode[api.CreateInstance](t, `{"name":"  `+long[2:]+` "}`), ""},
		{"name too long", decode[api.CreateInstance](t, `{"name":"`+long+`"}`), "Name"},
		{"blank name", decode[api.CreateInstance](t, `{"name":" \t "}`), "Name"},
		{"control character", decode[api.CreateInstance](t, `{"name":"a\u0000b"}`), "Name"},
		{"emoji", decode[api.CreateInstance](t, `{"name":"🕊️ pombal"}`), ""},
		{"webhook", decode[api.CreateInstance](t, `{"name":"a","webhookUrl":"https://a.example/hook"}`), ""},
		{"null webhook", decode[api.CreateInstance](t, `{"name":"a","webhookUrl":null}`), ""},
		{"empty webhook", decode[api.CreateInstance](t, `{"name":"a","webhookUrl":""}`), "WebhookURL"},
		{"other scheme", decode[api.CreateInstance](t, `{"name":"a","webhookUrl":"ftp://a.example"}`), "WebhookURL"},
		{"no events", decode[api.CreateInstance](t, `{"name":"a","webhookEvents":[]}`), ""},
		{"unknown event", decode[api.CreateInstance](t, `{"name":"a","webhookEvents":["message.sung"]}`), "WebhookEvents[0]"},
		{"event twice", decode[api.CreateInstance](t, `{"name":"a","webhookEvents":["message.sent","message.sent"]}`), "WebhookEvents"},
		{"empty externalId", decode[api.CreateInstance](t, `{"name":"a","externalId":""}`), "ExternalID"},
		{"unknown integration", decode[api.CreateInstance](t, `{"name":"a","integration":""}`), "Integration"},
		{"empty patch", decode[api.UpdateInstance](t, `{}`), ""},
		{"clearing patch", decode[api.UpdateInstance](t, `{"webhookUrl":null,"externalId":null}`), ""},
		{"patch to a blank name", decode[api.UpdateInstance](t, `{"name":"  "}`), "Name"},
		{"patch to no URL", decode[api.UpdateInstance](t, `{"webhookUrl":"a"}`), "WebhookURL"},
		{"patch to an empty externalId", decode[api.UpdateInstance](t, `{"externalId":""}`), "ExternalID"},
		{"key", decode[api.CreateAPIKey](t, `{"name":"a","scopes":["instances:read"],"instanceIds":[`+id+`]}`), ""},
		{"key without scopes", decode[api.CreateAPIKey](t, `{"name":"a","scopes":[]}`), "Scopes"},
		{"key for no instance", decode[api.CreateAPIKey](t, `{"name":"a","scopes":["instances:read"],"instanceIds":[]}`), "InstanceIDs"},
		{"key for another thing", decode[api.CreateAPIKey](t, `{"name":"a","scopes":["instances:read"],"instanceIds":["acct_01kdwfzy80e17b5410xamp3tcx"]}`), "InstanceIDs[0]"},
		{"rotation at once", decode[api.RotateAPIKey](t, `{"overlapSeconds":0}`), ""},
		{"rotation too slow", decode[api.RotateAPIKey](t, `{"overlapSeconds":604801}`), "OverlapSeconds"},
		{"token", decode[api.CreateToken](t, `{}`), ""},
		{"token too short", decode[api.CreateToken](t, `{"expiresIn":0}`), "ExpiresIn"},
		{"token for a site", decode[api.CreateToken](t, `{"origin":"https://app.example.com"}`), ""},
		{"token for a page", decode[api.CreateToken](t, `{"origin":"https://app.example.com/page"}`), "Origin"},
		{"token for no site", decode[api.CreateToken](t, `{"origin":""}`), "Origin"},
		{"account", decode[api.CreateAccount](t, `{"name":"a","allowedOrigins":["https://a.example","http://localhost:3000"]}`), ""},
		{"account with any origin", decode[api.CreateAccount](t, `{"name":"a","allowedOrigins":["*"]}`), "AllowedOrigins[0]"},
		{"unknown account status", decode[api.UpdateAccount](t, `{"status":"gone"}`), "Status"},
	}
	v := newValidator(t)
	for _, tt := range tests {
		if got := firstInvalid(t, v, tt.value); got != tt.field {
			t.Errorf("%s: invalid field %q, want %q", tt.name, got, tt.field)
		}
	}
}

func TestValidateTags_Parameters(t *testing.T) {
	t.Parallel()
	list := func(change func(*api.ListInstancesParams)) *api.ListInstancesParams {
		p := new(api.ListInstancesParams)
		p.SetDefaults()
		change(p)
		return p
	}
	tests := []struct {
		name  string
		value any
		field string
	}{
		{"defaults", list(func(*api.ListInstancesParams) {}), ""},
		{"limit 0", list(func(p *api.ListInstancesParams) { p.Limit = 0 }), "Limit"},
		{"limit 101", list(func(p *api.ListInstancesParams) { p.Limit = 101 }), "Limit"},
		{"largest offset", list(func(p *api.ListInstancesParams) { p.Offset = 1<<53 - 1 }), ""},
		{"larger offset", list(func(p *api.ListInstancesParams) { p.Offset = 1 << 53 }), "Offset"},
		{"offset -1", list(func(p *api.ListInstancesParams) { p.Offset = -1 }), "Offset"},
		{"cursor", list(func(p *api.ListInstancesParams) { p.Cursor = new("abc") }), ""},
		{"cursor and offset", list(func(p *api.ListInstancesParams) { p.Cursor, p.Offset = new("abc"), 1 }), "Offset"},
		{"empty status", list(func(p *api.ListInstancesParams) { p.Status = "" }), "Status"},
		{"upper case status", list(func(p *api.ListInstancesParams) { p.Status = "CONNECTED" }), "Status"},
		{"empty search", list(func(p *api.ListInstancesParams) { p.Search = new("") }), "Search"},
		{"NUL in search", list(func(p *api.ListInstancesParams) { p.Search = new("a\x00") }), "Search"},
		{"Evolution defaults", new(api.FetchInstancesParams), ""},
		{"Evolution limit 0", &api.FetchInstancesParams{Limit: new(0)}, "Limit"},
		{"Evolution limit 1001", &api.FetchInstancesParams{Limit: new(1001)}, "Limit"},
	}
	v := newValidator(t)
	for _, tt := range tests {
		if got := firstInvalid(t, v, tt.value); got != tt.field {
			t.Errorf("%s: invalid field %q, want %q", tt.name, got, tt.field)
		}
	}
}

// firstInvalid returns the field of the first complaint about value.
func firstInvalid(t *testing.T, v *validator.Validate, value any) string {
	t.Helper()
	err := v.Struct(value)
	if err == nil {
		return ""
	}
	complaints, ok := err.(validator.ValidationErrors) //nolint:errorlint // Struct returns it unwrapped
	if !ok {
		t.Fatal(err)
	}
	return complaints[0].Field()
}

func TestDefaults_GiveWayToTheRequest(t *testing.T) {
	t.Parallel()
	absent := decode[api.CreateInstance](t, `{"name":" a "}`)
	if absent.Name != "a" || absent.Integration != api.IntegrationWeb {
		t.Errorf("got %+v", absent)
	}
	if diff := cmp.Diff(api.AllWebhookEvents(), absent.WebhookEvents); diff != "" {
		t.Errorf("absent events (-want +got):\n%s", diff)
	}
	if got := absent.Settings.WithDefaults(); got != (api.InstanceSettings{AutoRead: false, AutoTyping: true}) {
		t.Errorf("absent settings: %+v", got)
	}
	given := decode[api.CreateInstance](t, `{"name":"a","webhookEvents":[],"settings":{"autoRead":true,"autoTyping":false},"integration":"cloud"}`)
	if len(given.WebhookEvents) != 0 || given.WebhookEvents == nil || given.Integration != api.IntegrationCloud {
		t.Errorf("got %+v", given)
	}
	if got := given.Settings.WithDefaults(); got != (api.InstanceSettings{AutoRead: true, AutoTyping: false}) {
		t.Errorf("given settings: %+v", got)
	}
	for body, want := range map[string]time.Duration{`{}`: 24 * time.Hour, `{"overlapSeconds":null}`: 24 * time.Hour, `{"overlapSeconds":0}`: 0} {
		if got := decode[api.RotateAPIKey](t, body).Overlap(); got != want {
			t.Errorf("overlap of %s: %v, want %v", body, got, want)
		}
		if got := decode[api.RotateWebhookSecret](t, body).Overlap(); got != want {
			t.Errorf("overlap of a webhook's %s: %v, want %v", body, got, want)
		}
	}
	if got := decode[api.CreateToken](t, `{}`).ExpiresIn; got != 900 {
		t.Errorf("a token lasts %d s", got)
	}
	if got := decode[api.CreateWebhook](t, `{"name":" a "}`); got.TimeoutSeconds != 5 || *got.Name != "a" {
		t.Errorf("a webhook has %d s, name %q", got.TimeoutSeconds, *got.Name)
	}
	if got := decode[api.ReplaceWebhook](t, `{}`); got.TimeoutSeconds != 5 || got.Status != api.WebhookStatusActive {
		t.Errorf("a replaced webhook has %d s, is %s", got.TimeoutSeconds, got.Status)
	}
	if got := decode[api.TestWebhook](t, `{}`).Event; got != api.EventTypeMessageReceived {
		t.Errorf("a test sends %s", got)
	}
	for _, params := range []interface{ SetDefaults() }{
		new(api.ListAPIKeysParams), new(api.ListAccountsParams), new(api.ListWebhooksParams),
		new(api.ListInboundWebhooksParams), new(api.ListWebhookLogsParams),
	} {
		params.SetDefaults()
		if got := reflect.ValueOf(params).Elem().FieldByName("Limit").Int(); got != 50 {
			t.Errorf("%T: limit %d", params, got)
		}
	}
}
