package httpapi_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"

	"github.com/pombal-api/pombal"
	"github.com/pombal-api/pombal/internal/app"
	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/testkit"
	"github.com/pombal-api/pombal/internal/testkit/apitest"
	"github.com/pombal-api/pombal/pkg/api"
)

// nowhere is a webhook URL that may be registered, and leads nowhere (RFC 6761).
const nowhere = "https://hooks.invalid/x"

// hook is a webhook as the API shows it.
type hook struct {
	ID, Name, URL, Status, Secret, InstanceID, DisabledReason string
	Events                                                    []string
	TimeoutSeconds                                            int
	OfInstance                                                bool
}

func TestWebhooks_Life(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		tenant := s.NewTenant(t)
		c, in := bearer(t, s, tenant.Key), tenant.NewInstance(t, "Sales")
		var made, got, changed hook
		a := c.do(t, "POST", "/v1/webhooks", []byte(`{"name":" Main ","url":"`+nowhere+`","events":["message.received","instance.connected"],"instanceId":"`+in.ID+`"}`))
		a.decode(t, &made)
		if a.Status != http.StatusCreated || a.Header.Get("Location") != "/v1/webhooks/"+made.ID {
			t.Errorf("created: %d, Location %q", a.Status, a.Header.Get("Location"))
		}
		want := hook{ID: made.ID, Name: "Main", URL: nowhere, Status: "active", InstanceID: in.ID, TimeoutSeconds: 5,
			Events: []string{"message.received", "instance.connected"}, Secret: made.Secret}
		if diff := cmp.Diff(want, made); diff != "" || !strings.HasPrefix(made.Secret, "whs_") || len(made.Secret) < 40 {
			t.Errorf("created with secret %q: %s", made.Secret, diff)
		}
		path := "/v1/webhooks/" + made.ID
		want.Secret = "" // shown once
		c.do(t, "GET", path, nil).decode(t, &got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("got: %s", diff)
		}
		c.do(t, "PATCH", path, []byte(`{"instanceId":null,"timeoutSeconds":30,"status":"disabled"}`)).decode(t, &changed)
		want.InstanceID, want.TimeoutSeconds, want.Status, want.DisabledReason = "", 30, "disabled", "by_owner"
		if diff := cmp.Diff(want, changed); diff != "" {
			t.Errorf("changed: %s", diff)
		}
		changed = hook{}
		c.do(t, "PUT", path, []byte(`{"url":"`+nowhere+`/y","events":["message.sent"]}`)).decode(t, &changed)
		if diff := cmp.Diff(hook{ID: made.ID, URL: nowhere + "/y", Status: "active", TimeoutSeconds: 5, Events: []string{"message.sent"}}, changed); diff != "" {
			t.Errorf("replaced: %s", diff)
		}
		testRotation(t, c, path, made.Secret)
		if a := c.do(t, "DELETE", path, nil); a.Status != http.StatusOK {
			t.Errorf("deleted: %d %s", a.Status, a.Body)
		}
		c.do(t, "GET", path, nil).is(t, http.StatusNotFound, "webhook_not_found", "")
		c.do(t, "DELETE", path, nil).is(t, http.StatusNotFound, "webhook_not_found", "")
	})
}

func testRotation(t *testing.T, c *asker, path, first string) {
	t.Helper()
	var rotated, own hook
	c.do(t, "POST", path+"/rotate", nil).decode(t, &rotated)
	if !strings.HasPrefix(rotated.Secret, "whs_") || rotated.Secret == first {
		t.Errorf("rotated to %q", rotated.Secret)
	}
	c.do(t, "POST", path+"/rotate", []byte(`{"secret":"my-own-secret-of-16","overlapSeconds":0}`)).decode(t, &own)
	if own.Secret != "my-own-secret-of-16" {
		t.Errorf("rotated to %q", own.Secret)
	}
}

// The account may have twenty, those of instances aside.
func TestWebhooks_Limit(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		c := bearer(t, s, s.NewTenant(t).Key)
		body := []byte(`{"url":"` + nowhere + `","events":["message.received"]}`)
		for i := range domain.MaxWebhooks {
			if a := c.do(t, "POST", "/v1/webhooks", body); a.Status != http.StatusCreated {
				t.Fatalf("webhook %d: %d %s", i+1, a.Status, a.Body)
			}
		}
		c.do(t, "POST", "/v1/webhooks", body).is(t, http.StatusConflict, "webhook_limit_reached", "")
		c.do(t, "POST", "/v1/instances", []byte(`{"name":"x","webhookUrl":"`+nowhere+`"}`)).decode(t, new(hook))
		var page struct{ Pagination struct{ Total int } }
		a := c.do(t, "GET", "/v1/webhooks?limit=1", nil)
		decodeWhole(t, a, &page)
		if page.Pagination.Total != domain.MaxWebhooks+1 {
			t.Errorf("total %d", page.Pagination.Total)
		}
	})
}

// An instance's webhookUrl is a webhook that follows it.
func TestWebhooks_OfInstance(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		tenant := s.NewTenant(t)
		c := bearer(t, s, tenant.Key)
		in := must[*api.Instance](t)(tenant.API.Instances.Create(t.Context(), api.CreateInstance{
			Name: "Sales", WebhookURL: new(nowhere), WebhookEvents: []api.WebhookEvent{api.WebhookEventInstanceConnected},
		}))
		own := onlyHook(t, c)
		want := hook{ID: own.ID, URL: nowhere, Status: "active", InstanceID: in.ID, OfInstance: true, TimeoutSeconds: 5, Events: []string{"instance.connected"}}
		if diff := cmp.Diff(want, own); diff != "" {
			t.Errorf("made: %s", diff)
		}
		path := "/v1/webhooks/" + own.ID
		for method, body := range map[string]string{"PATCH": `{"url":"` + nowhere + `/z"}`, "PUT": `{"url":"` + nowhere + `/z","events":["message.sent"]}`, "DELETE": ""} {
			c.do(t, method, path, []byte(body)).is(t, http.StatusConflict, "webhook_of_instance", "")
		}
		for _, body := range []string{`{"timeoutSeconds":12}`, `{"name":"Own"}`, `{"status":"disabled"}`, `{"status":"active"}`} {
			if a := c.do(t, "PATCH", path, []byte(body)); a.Status != http.StatusOK {
				t.Errorf("%s: %d %s", body, a.Status, a.Body)
			}
		}
		change := api.UpdateInstance{WebhookURL: api.Set(nowhere + "/new"), WebhookEvents: []api.WebhookEvent{api.WebhookEventMessageRead}}
		must[*api.Instance](t)(tenant.API.Instances.Update(t.Context(), in.ID, change))
		want.URL, want.Events, want.TimeoutSeconds, want.Name = nowhere+"/new", []string{"message.read"}, 12, "Own"
		if diff := cmp.Diff(want, onlyHook(t, c)); diff != "" {
			t.Errorf("followed: %s", diff)
		}
		must[*api.Instance](t)(tenant.API.Instances.Update(t.Context(), in.ID, api.UpdateInstance{WebhookURL: api.Null[string]()}))
		c.do(t, "GET", path, nil).is(t, http.StatusNotFound, "webhook_not_found", "")
	})
}

func onlyHook(t *testing.T, c *asker) hook {
	t.Helper()
	var hooks []hook
	c.do(t, "GET", "/v1/webhooks", nil).decode(t, &hooks)
	if len(hooks) != 1 {
		t.Fatalf("webhooks: %+v", hooks)
	}
	return hooks[0]
}

func TestWebhooks_BadInput(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		tenant := s.NewTenant(t)
		c := bearer(t, s, tenant.Key)
		for body, field := range map[string]string{
			`{"url":"` + nowhere + `","events":["message.recieved"]}`:                                         "events",
			`{"url":"` + nowhere + `","events":[]}`:                                                           "events",
			`{"url":"` + nowhere + `"}`:                                                                       "events",
			`{"events":["message.sent"]}`:                                                                     "url",
			`{"url":"ftp://x.example.com","events":["message.sent"]}`:                                         "url",
			`{"url":"http://127.0.0.1/","events":["message.sent"]}`:                                           "url",
			`{"url":"http://169.254.169.254/latest","events":["message.sent"]}`:                               "url",
			`{"url":"` + nowhere + `","events":["message.sent"],"secret":"short"}`:                            "secret",
			`{"url":"` + nowhere + `","events":["message.sent"],"secret":"` + strings.Repeat("a", 256) + `"}`: "secret",
			`{"url":"` + nowhere + `","events":["message.sent"],"secret":"with a space in the middle"}`:       "secret",
			`{"url":"` + nowhere + `","events":["message.sent"],"timeoutSeconds":4}`:                          "timeoutSeconds",
			`{"url":"` + nowhere + `","events":["message.sent"],"timeoutSeconds":31}`:                         "timeoutSeconds",
			`{"url":"` + nowhere + `","events":["message.sent"],"instanceId":"5"}`:                            "instanceId",
			`{"url":"` + nowhere + `/` + strings.Repeat("a", 2048) + `","events":["message.sent"]}`:           "url",
		} {
			a := c.do(t, "POST", "/v1/webhooks", []byte(body))
			if a.Status != http.StatusBadRequest || !a.refusal().names(field) {
				t.Errorf("%.90s: %d %s", body, a.Status, a.Body)
			}
		}
		foreign := s.NewTenant(t).NewInstance(t, "x")
		c.do(t, "POST", "/v1/webhooks", []byte(`{"url":"`+nowhere+`","events":["message.sent"],"instanceId":"`+foreign.ID+`"}`)).
			is(t, http.StatusNotFound, "instance_not_found", "")
		var hooks []hook
		if c.do(t, "GET", "/v1/webhooks", nil).decode(t, &hooks); len(hooks) != 0 {
			t.Errorf("stored: %+v", hooks)
		}
	})
}

// A test event goes out at once, signed, and its result comes back.
func TestWebhooks_Test(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, testkit.Engines()[0], func(cfg *app.Config) { cfg.Loopback = true })
	tenant := s.NewTenant(t)
	c, receiver := bearer(t, s, tenant.Key), apitest.NewReceiver(t)
	var made hook
	c.do(t, "POST", "/v1/webhooks", []byte(`{"url":"`+receiver.URL+`","events":["message.received"]}`)).decode(t, &made)
	for i, name := range domain.EveryEvent.Names() {
		receiver.Answer(http.StatusOK + i%2*300) // every other one is refused
		var result struct {
			Status     string
			StatusCode int
			Error      *string
			Payload    struct{ ID, Event string }
		}
		c.do(t, "POST", "/v1/webhooks/"+made.ID+"/test", fmt.Appendf(nil, `{"event":%q}`, name)).decode(t, &result)
		got := receiver.Wait(t, i+1)[i]
		if err := got.Verify(made.Secret); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if canonical, err := domain.CanonicalJSON(got.Body); err != nil || string(canonical) != string(got.Body) {
			t.Errorf("%s: JavaScript would write %s for %s (%v)", name, canonical, got.Body, err)
		}
		if got.Header.Get("webhook-id") != result.Payload.ID || result.Payload.Event != name || !strings.Contains(string(got.Body), `"test":true`) {
			t.Errorf("%s: sent %s, shown %+v", name, got.Body, result.Payload)
		}
		if want := []string{"success", "failed"}[i%2]; result.Status != want || result.StatusCode != 200+i%2*300 || (result.Error == nil) != (want == "success") {
			t.Errorf("%s: %+v", name, result)
		}
	}
	var logs []any
	if c.do(t, "GET", "/v1/webhooks/"+made.ID+"/logs", nil).decode(t, &logs); len(logs) != 0 {
		t.Errorf("the log has %v", logs)
	}
}

// A test event has what a real one has, and says the same outside and inside.
func TestWebhooks_TestEventsAreComplete(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, testkit.Engines()[0], func(cfg *app.Config) { cfg.Loopback = true })
	tenant := s.NewTenant(t)
	c, receiver, in := bearer(t, s, tenant.Key), apitest.NewReceiver(t), tenant.NewInstance(t, "one")
	message := "messageId instanceId chatId to status timestamp metadata"
	members := map[string]string{
		"message.received": "messageId instanceId chatId from fromLid type content contactName isGroup mediaUrl mimeType filename caption quotedMessageId timestamp",
		"message.sent":     message, "message.delivered": message, "message.read": message, "message.failed": message + " error",
		"instance.connected":    "instanceId name phone profileName",
		"instance.disconnected": "instanceId name status reason",
		"instance.qr_updated":   "instanceId qrCode qrText pairingCode expiresAt",
		"webhook.failing":       "webhookId url failingSince reason", "webhook.disabled": "webhookId url failingSince reason",
	}
	for bound, instance := range map[string]string{"null": "inst_00000000000000000000000001", `"` + in.ID + `"`: in.ID} {
		var made hook
		c.do(t, "POST", "/v1/webhooks", []byte(`{"url":"`+receiver.URL+`","events":["message.sent"],"instanceId":`+bound+`}`)).decode(t, &made)
		for name, want := range members {
			var result struct {
				Payload struct {
					InstanceID string
					Data       map[string]any
				}
			}
			c.do(t, "POST", "/v1/webhooks/"+made.ID+"/test", fmt.Appendf(nil, `{"event":%q}`, name)).decode(t, &result)
			data := result.Payload.Data
			wanted := append(strings.Fields(want), "test")
			slices.Sort(wanted)
			if diff := cmp.Diff(wanted, slices.Sorted(maps.Keys(data))); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
			inside, ofInstance := data["instanceId"]
			if ofInstance && (inside != instance || result.Payload.InstanceID != instance) || !ofInstance && result.Payload.InstanceID != "" {
				t.Errorf("%s: of %q outside, of %v inside, want %s", name, result.Payload.InstanceID, inside, instance)
			}
		}
	}
}

// The secret that is shown is the one that signs, also when a call is repeated whose server died; and what signed
// before a rotation goes on signing.
func TestWebhookSecrets_WhoseServerDies(t *testing.T) {
	t.Parallel()
	for _, engine := range testkit.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			db := apitest.NewDatabase(t, engine)
			s := apitest.StartOn(t, db, func(cfg *app.Config) { cfg.Loopback = true })
			c, receiver := bearer(t, s, s.NewTenant(t).Key), apitest.NewReceiver(t)
			_, lapse := amnesia(t, db)
			twice := func(path, body string) (first, last hook) {
				t.Helper()
				c.do(t, "POST", path, []byte(body), "Idempotency-Key", path+body).decode(t, &first)
				lapse()
				c.do(t, "POST", path, []byte(body), "Idempotency-Key", path+body).decode(t, &last)
				if last.ID != first.ID || last.Secret == first.Secret {
					t.Errorf("POST %s: %+v, then %+v", path, first, last)
				}
				return first, last
			}
			tests := 0
			signedWith := func(path string, secrets ...string) {
				t.Helper()
				c.do(t, "POST", path+"/test", []byte(`{"event":"message.sent"}`)).decode(t, new(struct{}))
				tests++
				if err := receiver.Wait(t, tests)[tests-1].Verify(secrets...); err != nil {
					t.Error(err)
				}
			}
			_, made := twice("/v1/webhooks", `{"url":"`+receiver.URL+`","events":["message.sent"]}`)
			path := "/v1/webhooks/" + made.ID
			signedWith(path, made.Secret)
			_, rotated := twice(path+"/rotate", `{}`)
			signedWith(path, rotated.Secret, made.Secret)
			_, rotated = twice(path+"/rotate", `{"overlapSeconds":0}`)
			signedWith(path, rotated.Secret)
		})
	}
}

// Whoever may see some instances only cannot read everybody's events through a webhook.
func TestWebhooks_RestrictedKey(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		tenant := s.NewTenant(t)
		owner, in := bearer(t, s, tenant.Key), tenant.NewInstance(t, "one")
		var key struct{ Key string }
		owner.do(t, "POST", "/v1/api-keys", []byte(`{"name":"x","scopes":["webhooks:read","webhooks:write"],"instanceIds":["`+in.ID+`"]}`)).decode(t, &key)
		bearer(t, s, key.Key).do(t, "POST", "/v1/webhooks", []byte(`{"url":"`+nowhere+`","events":["message.sent"]}`)).
			is(t, http.StatusForbidden, "insufficient_permissions", "")
		bearer(t, s, key.Key).do(t, "GET", "/v1/webhooks", nil).is(t, http.StatusForbidden, "insufficient_permissions", "")
	})
}

// inboundURL is what the URL of an inbound webhook looks like.
var inboundURL = regexp.MustCompile(`^https?://[^/]+/webhook/whin_[0-9A-Za-z_-]{43}$`)

// The URL of an inbound webhook leads to the API: the way that the operator says, or else the way that the client took.
func TestInboundWebhooks_URL(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		public, forwarded, want string
	}{
		"as configured":   {"https://api.example.com", "http", "https://api.example.com"},
		"as asked":        {"", "", "http://"},
		"behind a proxy":  {"", "https", "https://"},
		"behind proxies":  {"", "HTTPS, http", "https://"},
		"behind nonsense": {"", "ftp", "http://"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := apitest.Start(t, testkit.Engines()[0], func(cfg *app.Config) { cfg.PublicURL = test.public })
			tenant := s.NewTenant(t)
			var header []string
			if test.forwarded != "" {
				header = []string{"X-Forwarded-Proto", test.forwarded}
			}
			want := test.want
			if test.public == "" {
				_, host, _ := strings.Cut(s.URL, "://")
				want += host
			}
			var made struct{ URL string }
			body := []byte(`{"name":"Zapier","instanceId":"` + tenant.NewInstance(t, "one").ID + `"}`)
			bearer(t, s, tenant.Key).do(t, "POST", "/v1/webhooks/inbound", body, header...).decode(t, &made)
			if !inboundURL.MatchString(made.URL) || !strings.HasPrefix(made.URL, want+"/webhook/") {
				t.Errorf("the URL is %s, want it at %s", made.URL, want)
			}
		})
	}
}

func TestInboundWebhooks_Life(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		tenant := s.NewTenant(t)
		c, in := bearer(t, s, tenant.Key), tenant.NewInstance(t, "one")
		var made struct{ ID, Name, URL, LastFour, InstanceID string }
		a := c.do(t, "POST", "/v1/webhooks/inbound", []byte(`{"name":"Zapier","instanceId":"`+in.ID+`"}`))
		a.decode(t, &made)
		if !inboundURL.MatchString(made.URL) || !strings.HasPrefix(made.URL, s.URL+"/webhook/") ||
			!strings.HasSuffix(made.URL, made.LastFour) || made.InstanceID != in.ID {
			t.Errorf("made %+v", made)
		}
		var listed []map[string]any
		c.do(t, "GET", "/v1/webhooks/inbound", nil).decode(t, &listed)
		if len(listed) != 1 || listed[0]["id"] != made.ID || slices.Contains([]any{made.URL}, listed[0]["url"]) {
			t.Errorf("listed %v", listed)
		}
		path := "/v1/webhooks/inbound/" + made.ID
		if a := c.do(t, "DELETE", path, nil); a.Status != http.StatusOK {
			t.Errorf("deleted: %d %s", a.Status, a.Body)
		}
		gone := c.do(t, "DELETE", path, nil)
		gone.is(t, http.StatusNotFound, "webhook_not_found", "")
		if message := gone.refusal().Error.Message; !strings.Contains(message, "List your inbound webhooks") {
			t.Errorf("deleted again: %s", message)
		}
	})
}

// The refusals that the documentation shows are those that come.
func TestWebhooks_RefusalsAreAsDocumented(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, testkit.Engines()[0])
	c := bearer(t, s, s.NewTenant(t).Key)
	doc := must[*openapi3.T](t)(openapi3.NewLoader().LoadFromData(pombal.OpenAPI))
	for _, tt := range []struct{ response, example, path, body string }{
		{"InvalidWebhook", "events", "/v1/webhooks", `{"url":"` + nowhere + `","events":["message.recieved"]}`},
		{"InvalidWebhook", "url", "/v1/webhooks", `{"url":"https://localhost/x","events":["message.received"]}`},
		{"InvalidInstance", "webhookUrl", "/v1/instances", `{"name":"x","webhookUrl":"https://localhost/x"}`},
	} {
		var shown, got struct {
			Error struct {
				Code, Message string
				Details       []map[string]string
			}
		}
		raw, err := json.Marshal(doc.Components.Responses[tt.response].Value.Content["application/json"].Examples[tt.example].Value.Value)
		if err = errors.Join(err, json.Unmarshal(raw, &shown), json.Unmarshal(c.do(t, "POST", tt.path, []byte(tt.body)).Body, &got)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(shown, got); diff != "" {
			t.Errorf("%s %s: %s", tt.path, tt.body, diff)
		}
	}
}

// The account may have twenty of them, whatever webhooks it has.
func TestInboundWebhooks_Limit(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		tenant := s.NewTenant(t)
		c := bearer(t, s, tenant.Key)
		body := []byte(`{"name":"Zapier","instanceId":"` + tenant.NewInstance(t, "one").ID + `"}`)
		var made struct{ ID string }
		c.do(t, "POST", "/v1/webhooks", []byte(`{"url":"`+nowhere+`","events":["message.received"]}`)).decode(t, new(hook))
		for i := range domain.MaxInboundWebhooks {
			a := c.do(t, "POST", "/v1/webhooks/inbound", body)
			if a.Status != http.StatusCreated {
				t.Fatalf("inbound webhook %d: %d %s", i+1, a.Status, a.Body)
			}
			a.decode(t, &made)
		}
		c.do(t, "POST", "/v1/webhooks/inbound", body).is(t, http.StatusConflict, "webhook_limit_reached", "")
		if a := c.do(t, "DELETE", "/v1/webhooks/inbound/"+made.ID, nil); a.Status != http.StatusOK {
			t.Errorf("deleted: %d %s", a.Status, a.Body)
		}
		if a := c.do(t, "POST", "/v1/webhooks/inbound", body); a.Status != http.StatusCreated {
			t.Errorf("after one was deleted: %d %s", a.Status, a.Body)
		}
	})
}
