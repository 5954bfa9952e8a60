package api_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pombal-api/pombal/pkg/api"
)

func TestTime_MarshalJSON(t *testing.T) {
	t.Parallel()
	saoPaulo := time.FixedZone("BRT", -3*60*60)
	tests := []struct {
		name string
		time time.Time
		want string
	}{
		{"whole second keeps three decimals", time.Date(2026, 2, 3, 12, 0, 0, 0, time.UTC), `"2026-02-03T12:00:00.000Z"`},
		{"zone becomes UTC", time.Date(2026, 2, 3, 9, 0, 0, 0, saoPaulo), `"2026-02-03T12:00:00.000Z"`},
		{"nanoseconds are cut, not rounded", time.Date(2026, 2, 3, 12, 0, 0, 999_999_999, time.UTC), `"2026-02-03T12:00:00.999Z"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, value := range []api.Time{{Time: tt.time}, api.NewTime(tt.time)} {
				got, err := json.Marshal(value)
				if err != nil {
					t.Fatal(err)
				}
				if string(got) != tt.want {
					t.Errorf("got %s, want %s", got, tt.want)
				}
				if quoted := `"` + value.String() + `"`; quoted != tt.want {
					t.Errorf("String: got %s, want %s", quoted, tt.want)
				}
			}
		})
	}
	if _, err := json.Marshal(api.Time{Time: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}); err == nil {
		t.Error("the year 10000 was written")
	}
}

func TestTime_UnmarshalJSON(t *testing.T) {
	t.Parallel()
	want := time.Date(2026, 2, 3, 12, 0, 0, 123_000_000, time.UTC)
	tests := []struct {
		in string
		ok bool
	}{
		{`"2026-02-03T12:00:00.123Z"`, true},
		{`"2026-02-03T12:00:00.123999Z"`, true},
		{`"2026-02-03T09:00:00.123-03:00"`, true},
		{`"2026-02-03 12:00:00.123Z"`, false},
		{`"2026-02-03"`, false},
		{`""`, false},
		{`1770120000`, false},
	}
	for _, tt := range tests {
		var got api.Time
		err := json.Unmarshal([]byte(tt.in), &got)
		if (err == nil) != tt.ok {
			t.Errorf("%s: error %v, want ok %v", tt.in, err, tt.ok)
		}
		if tt.ok && (!got.Equal(want) || got.Location() != time.UTC) {
			t.Errorf("%s: got %v, want %v", tt.in, got, want)
		}
	}
	got := api.NewTime(want)
	if err := json.Unmarshal([]byte("null"), &got); err != nil || !got.Equal(want) {
		t.Errorf("null: got %v, error %v", got, err)
	}
}

func TestPatch_TellsThreeStatesApart(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		body   api.UpdateInstance
		want   string
		isZero bool
		isNull bool
		value  string
	}{
		{name: "absent", body: api.UpdateInstance{}, want: `{}`, isZero: true},
		{name: "null", body: api.UpdateInstance{WebhookURL: api.Null[string]()}, want: `{"webhookUrl":null}`, isNull: true},
		{name: "value", body: api.UpdateInstance{WebhookURL: api.Set("https://a.example")}, want: `{"webhookUrl":"https://a.example"}`, value: "https://a.example"},
		{name: "empty value", body: api.UpdateInstance{WebhookURL: api.Set("")}, want: `{"webhookUrl":""}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			written, err := json.Marshal(tt.body)
			if err != nil {
				t.Fatal(err)
			}
			if string(written) != tt.want {
				t.Errorf("written %s, want %s", written, tt.want)
			}
			read := api.UpdateInstance{}
			if err := json.Unmarshal(written, &read); err != nil {
				t.Fatal(err)
			}
			if read.WebhookURL != tt.body.WebhookURL {
				t.Errorf("read %+v, want %+v", read.WebhookURL, tt.body.WebhookURL)
			}
			value, set := read.WebhookURL.Get()
			if read.WebhookURL.IsZero() != tt.isZero || read.WebhookURL.IsNull() != tt.isNull || set == (tt.isZero || tt.isNull) || value != tt.value {
				t.Errorf("read zero %v null %v set %v value %q", read.WebhookURL.IsZero(), read.WebhookURL.IsNull(), set, value)
			}
			if ptr := read.WebhookURL.Ptr(); (ptr != nil) != set || (set && *ptr != tt.value) {
				t.Errorf("Ptr disagrees with Get: %v", ptr)
			}
		})
	}
}

func TestPatch_RefusesAnotherType(t *testing.T) {
	t.Parallel()
	var body api.UpdateInstance
	if err := json.Unmarshal([]byte(`{"webhookUrl":1}`), &body); err == nil {
		t.Error("a number was taken for a string")
	}
}

// Leaving a list out and sending an empty one must not be confused: for the
// instances of a key, one means all of them and the other is refused.
func TestBodies_KeepEmptyLists(t *testing.T) {
	t.Parallel()
	tests := []struct {
		body any
		want string
	}{
		{api.CreateInstance{Name: "a"}, `{"name":"a"}`},
		{api.CreateInstance{Name: "a", WebhookEvents: []api.WebhookEvent{}}, `{"name":"a","webhookEvents":[]}`},
		{api.CreateInstance{Name: "a", Settings: api.CreateInstanceSettings{AutoTyping: new(false)}}, `{"name":"a","settings":{"autoTyping":false}}`},
		{api.CreateAPIKey{Name: "a", Scopes: []api.Scope{}, InstanceIDs: []string{}}, `{"name":"a","scopes":[],"instanceIds":[]}`},
		{api.CreateToken{}, `{}`},
		{api.CreateToken{InstanceIDs: []string{}}, `{"instanceIds":[]}`},
		{api.RotateAPIKey{OverlapSeconds: new(0)}, `{"overlapSeconds":0}`},
		{api.UpdateAccount{AllowedOrigins: []string{}}, `{"allowedOrigins":[]}`},
	}
	for _, tt := range tests {
		got, err := json.Marshal(tt.body)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, string(got)); diff != "" {
			t.Errorf("%T (-want +got):\n%s", tt.body, diff)
		}
	}
}

// The order and the nulls of an instance are part of what customers see.
func TestInstance_OnTheWire(t *testing.T) {
	t.Parallel()
	at := api.NewTime(time.Date(2026, 2, 3, 12, 0, 0, 0, time.UTC))
	got, err := json.Marshal(api.Instance{ID: "inst_1", Name: "a", Status: "disconnected", CreatedAt: at, UpdatedAt: at, WebhookEvents: []api.WebhookEvent{}, Integration: "web"})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"id":"inst_1","name":"a","phone":null,"status":"disconnected","profileName":null,"profilePicUrl":null,` +
		`"createdAt":"2026-02-03T12:00:00.000Z","lastSeenAt":null,"webhookUrl":null,"webhookEvents":[],` +
		`"settings":{"autoRead":false,"autoTyping":false},"updatedAt":"2026-02-03T12:00:00.000Z","connectedAt":null,` +
		`"integration":"web","statusReason":null,"externalId":null}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
