package app_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pombal-api/pombal/internal/app"
	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/testkit"
	"github.com/pombal-api/pombal/internal/testkit/apitest"
	"github.com/pombal-api/pombal/pkg/api"
)

func nearby(cfg *app.Config) { cfg.Loopback = true }

// withTenants runs a test on each engine, with a tenant whose webhooks may lead to this machine.
func withTenants(t *testing.T, test func(*testing.T, *apitest.Server, *apitest.Tenant)) {
	t.Helper()
	t.Parallel()
	for _, engine := range testkit.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			s := apitest.Start(t, engine, nearby)
			test(t, s, s.NewTenant(t))
		})
	}
}

// What happens to an instance reaches its own webhook and the account's, signed, and the list tells the same.
func TestEventsReachWebhooks(t *testing.T) {
	t.Parallel()
	for _, engine := range testkit.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			wa := apitest.NewWhatsApp(t)
			tenant := apitest.Start(t, engine, wa.Use, nearby).NewTenant(t)
			ctx, all, own := t.Context(), apitest.NewReceiver(t), apitest.NewReceiver(t)
			hook, err := tenant.API.Webhooks.Create(ctx, api.CreateWebhook{URL: all.URL + "/all", Events: []api.EventType{
				api.EventTypeInstanceConnected, api.EventTypeInstanceDisconnected, api.EventTypeInstanceQRUpdated,
			}})
			if err != nil {
				t.Fatal(err)
			}
			in, err := tenant.API.Instances.Create(ctx, api.CreateInstance{Name: "Sales", WebhookURL: new(own.URL + "/own"),
				WebhookEvents: []api.WebhookEvent{api.WebhookEventInstanceConnected}})
			if err != nil {
				t.Fatal(err)
			}
			tenant.Pair(t, in.ID, wa.Phone(t, "5511999990001"))
			if err = tenant.API.Instances.Disconnect(ctx, in.ID, api.DisconnectInstance{}); err != nil {
				t.Fatal(err)
			}
			got := inOrder(t, all.Wait(t, 3), hook.Secret)
			if diff := cmp.Diff([]string{"instance.qr_updated", "instance.connected", "instance.disconnected"}, got); diff != "" {
				t.Error(diff)
			}
			connected := event(t, own.Wait(t, 1)[0])
			if connected.Event != "instance.connected" || connected.Sequence != 2 || connected.Data["phone"] != "5511999990001" || connected.Data["name"] != "Sales" {
				t.Errorf("its own webhook got %+v", connected)
			}
			page, err := tenant.API.Events.List(ctx, api.ListEventsParams{})
			if err != nil || len(page.Data) != 3 || page.Data[1].ID != connected.ID || !jsonEqual(t, page.Data[1].Data, connected.Data) {
				t.Errorf("the list has %+v, %v", page, err)
			}
			checkLog(t, tenant, hook.ID, all)
		})
	}
}

// wireEvent is an event as a receiver reads it.
type wireEvent struct {
	ID, Event, AccountID, InstanceID string
	Sequence                         int64
	Data                             map[string]any
}

func event(t *testing.T, r apitest.Received) (e wireEvent) {
	t.Helper()
	if err := json.Unmarshal(r.Body, &e); err != nil || r.Header.Get("webhook-id") != e.ID {
		t.Fatalf("%v in %s", err, r.Body)
	}
	return e
}

// inOrder checks the signatures and returns the types of what came, by sequence.
func inOrder(t *testing.T, got []apitest.Received, secret string) (types []string) {
	t.Helper()
	var events []wireEvent
	for _, r := range got {
		if err := r.Verify(secret); err != nil {
			t.Error(err)
		}
		events = append(events, event(t, r))
	}
	slices.SortFunc(events, func(a, b wireEvent) int { return int(a.Sequence - b.Sequence) })
	for i, e := range events {
		if e.Sequence != int64(i+1) {
			t.Errorf("sequence %d at place %d", e.Sequence, i+1)
		}
		types = append(types, e.Event)
	}
	return types
}

func jsonEqual(t *testing.T, raw json.RawMessage, want map[string]any) bool {
	t.Helper()
	var got map[string]any
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	return cmp.Equal(want, got)
}

// checkLog looks at the log of a webhook whose three deliveries succeeded, and replays one of them.
func checkLog(t *testing.T, tenant *apitest.Tenant, hook string, receiver *apitest.Receiver) {
	t.Helper()
	ctx := t.Context()
	delivered := func() []api.WebhookLog {
		page, err := tenant.API.Webhooks.Logs(ctx, hook, api.ListWebhookLogsParams{Status: api.ListWebhookLogsParamsStatusSuccess})
		if err != nil {
			t.Fatal(err)
		}
		return page.Data
	}
	until(t, "three deliveries are logged", func() bool { return len(delivered()) == 3 })
	log := delivered()[0]
	if *log.StatusCode != http.StatusOK || log.State != api.DeliveryStateDelivered || log.RetryCount != 0 || log.Error != nil {
		t.Errorf("logged %+v", log)
	}
	if _, err := tenant.API.Webhooks.ReplayLog(ctx, hook, log.ID); err != nil {
		t.Fatal(err)
	}
	again := receiver.Wait(t, 4)[3]
	if again.Header.Get("webhook-id") != log.EventID {
		t.Errorf("replayed %s, want %s", again.Header.Get("webhook-id"), log.EventID)
	}
}

// until waits for a condition.
func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); !so(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("it is not so that %s", what)
		}
	}
}

// A receiver that is gone for good gets nothing more, and its owner is told so.
func TestWebhookThatIsGone(t *testing.T) {
	withTenants(t, func(t *testing.T, s *apitest.Server, tenant *apitest.Tenant) {
		ctx, gone, other := t.Context(), apitest.NewReceiver(t), apitest.NewReceiver(t)
		gone.Answer(http.StatusGone)
		hook, err := tenant.API.Webhooks.Create(ctx, api.CreateWebhook{URL: gone.URL, Events: []api.EventType{api.EventTypeMessageRead}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err = tenant.API.Webhooks.Create(ctx, api.CreateWebhook{URL: other.URL, Events: []api.EventType{api.EventTypeWebhookDisabled}}); err != nil {
			t.Fatal(err)
		}
		id, _ := domain.ParsePrefixed(domain.PrefixInstance, tenant.NewInstance(t, "one").ID)
		read := []domain.Event{{InstanceID: id, Type: domain.EventMessageRead, At: time.Now(), Data: []byte(`{}`)}}
		if err = s.App.Publish(ctx, tenant.Account.ID, read); err != nil {
			t.Fatal(err)
		}
		if told := event(t, other.Wait(t, 1)[0]); told.Event != "webhook.disabled" || told.Data["webhookId"] != hook.ID || told.InstanceID != "" {
			t.Errorf("the owner is told %+v", told)
		}
		got, err := tenant.API.Webhooks.Get(ctx, hook.ID)
		if err != nil || got.Status != api.WebhookStatusDisabled || *got.DisabledReason != "gone" {
			t.Errorf("the webhook is %+v, %v", got, err)
		}
	})
}

// Once a new URL or a new secret of a webhook is answered, nothing new goes the old way, however busy the webhook is.
func TestWebhookChangesAtOnce(t *testing.T) {
	withTenants(t, func(t *testing.T, s *apitest.Server, tenant *apitest.Tenant) {
		ctx, moved := t.Context(), apitest.NewReceiver(t)
		asked, release := make(chan string, 10), make(chan struct{})
		old := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			asked <- r.Header.Get("webhook-id")
			<-release
		}))
		defer old.Close()
		defer close(release)
		hook, err := tenant.API.Webhooks.Create(ctx, api.CreateWebhook{URL: old.URL, Events: []api.EventType{api.EventTypeMessageRead}})
		if err != nil {
			t.Fatal(err)
		}
		publish := func() string {
			t.Helper()
			read := []domain.Event{{Type: domain.EventMessageRead, At: time.Now(), Data: []byte(`{}`)}}
			if err = s.App.Publish(ctx, tenant.Account.ID, read); err != nil {
				t.Fatal(err)
			}
			return read[0].ID.Prefixed(domain.PrefixEvent)
		}
		first := publish()
		if got := <-asked; got != first { // and the worker goes on holding the webhook
			t.Errorf("asked for %s", got)
		}
		if _, err = tenant.API.Webhooks.Update(ctx, hook.ID, api.UpdateWebhook{URL: &moved.URL}); err != nil {
			t.Fatal(err)
		}
		second := publish()
		for _, r := range moved.Wait(t, 2) { // what was under way at the old one counts for nothing
			if id := event(t, r).ID; id != first && id != second || r.Verify(hook.Secret) != nil {
				t.Errorf("the new receiver got %s", id)
			}
		}
		rotated, err := tenant.API.Webhooks.RotateSecret(ctx, hook.ID, api.RotateWebhookSecret{OverlapSeconds: new(0)})
		if err != nil {
			t.Fatal(err)
		}
		third := publish()
		until(t, "the third one is there", func() bool {
			return slices.ContainsFunc(moved.Wait(t, 2), func(r apitest.Received) bool { return r.Header.Get("webhook-id") == third })
		})
		for _, r := range moved.Wait(t, 3) {
			if r.Header.Get("webhook-id") == third && r.Verify(rotated.Secret) != nil {
				t.Error("it is signed with the old secret")
			}
		}
		if len(asked) > 0 {
			t.Errorf("the old receiver was asked for %s", <-asked)
		}
	})
}
