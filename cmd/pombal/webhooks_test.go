package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/testkit/apitest"
	"github.com/pombal-api/pombal/pkg/api"
)

func TestWebhooks(t *testing.T) {
	t.Parallel()
	b := newHookBox(t)
	in := b.NewInstance(t, "one")
	var made api.WebhookWithSecret
	text := b.must(t, "webhooks", "create", "--to", "https://example.com/hook", "--name", "Main", "--events", "message.received,instance.connected",
		"--instance", "one", "--secret", "a-secret-of-my-own", "--timeout", "7s", "--json")
	if err := json.Unmarshal([]byte(text), &made); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if *made.Name != "Main" || *made.InstanceID != in.ID || made.Secret != "a-secret-of-my-own" || made.TimeoutSeconds != 7 || len(made.Events) != 2 {
		t.Errorf("created %s", text)
	}
	facts := strings.Fields(b.must(t, "webhooks", "create", "--to", "https://example.com/other"))
	if len(facts) != 4 || facts[0] != "id" || facts[2] != "secret" || !strings.HasPrefix(facts[3], "whs_") {
		t.Fatalf("create prints %q", facts)
	}
	list := strings.Split(b.must(t, "webhooks", "list"), "\n")
	if len(list) != 3 || !strings.Contains(list[1], in.ID) || !strings.Contains(list[2], "instance.qr_updated") {
		t.Errorf("the list is %q", list)
	}
	var listed api.Webhook
	if lines := strings.Split(b.must(t, "webhooks", "list", "--json"), "\n"); len(lines) != 2 || json.Unmarshal([]byte(lines[0]), &listed) != nil || listed.ID != made.ID {
		t.Errorf("the list in JSON is %q", lines)
	}
	if got := b.must(t, "webhooks", "delete", made.ID); got != "Deleted "+made.ID {
		t.Errorf("delete prints %q", got)
	}
	b.refuse(t, []string{"webhooks", "delete", made.ID}, "webhook_not_found")
	b.refuse(t, []string{"webhooks", "logs", made.ID}, "webhook_not_found")
	b.refuse(t, []string{"webhooks", "create", "--to", "ftp://example.com"}, "url")
	b.refuse(t, []string{"webhooks", "create", "--to", "https://example.com/hook", "--events", "message.eaten"}, "invalid_parameters")
}

func TestWebhooksTest(t *testing.T) {
	t.Parallel()
	b := newHookBox(t)
	receiver := apitest.NewReceiver(t)
	made, err := b.API.Webhooks.Create(t.Context(), api.CreateWebhook{URL: receiver.URL, Events: []api.EventType{api.EventTypeMessageSent}})
	if err != nil {
		t.Fatal(err)
	}
	if got := b.must(t, "webhooks", "test", made.ID, "--event", "message.sent"); !strings.Contains(got, "success") || !strings.Contains(got, "200") {
		t.Errorf("it prints %q", got)
	}
	got := receiver.Wait(t, 1)[0]
	if err = api.VerifyWebhook(got.Body, got.Header, made.Secret); err != nil {
		t.Errorf("the SDK refuses what the server sends: %v", err)
	}
	receiver.Answer(http.StatusTeapot)
	b.refuse(t, []string{"webhooks", "test", made.ID}, "did not accept")
	out, _, err := runHere(t.Context(), b.args("webhooks", "test", made.ID, "--json")...)
	var result api.WebhookTestResult
	if json.Unmarshal([]byte(out), &result) != nil || err == nil || result.Status != api.WebhookTestResultStatusFailed || *result.StatusCode != http.StatusTeapot {
		t.Errorf("%v, it prints %q", err, out)
	}
}

func TestWebhooksLogsAndReplay(t *testing.T) {
	t.Parallel()
	b := newHookBox(t)
	receiver := apitest.NewReceiver(t)
	receiver.Answer(http.StatusTeapot)
	in := b.NewInstance(t, "one")
	made, err := b.API.Webhooks.Create(t.Context(), api.CreateWebhook{URL: receiver.URL, Events: []api.EventType{api.EventTypeMessageReceived, api.EventTypeInstanceConnected}})
	if err != nil {
		t.Fatal(err)
	}
	b.publish(t, in.ID, 0, 3)
	list := strings.Split(b.must(t, "webhooks", "logs", made.ID), "\n")
	if len(list) != 4 || strings.Count(strings.Join(list, "\n"), "evt_") != 3 {
		t.Fatalf("the log is %q", list)
	}
	if two := strings.Split(b.must(t, "webhooks", "logs", made.ID, "--limit", "2", "--json"), "\n"); len(two) != 2 {
		t.Errorf("of two deliveries %d are shown", len(two))
	}
	id, event := strings.Fields(list[1])[0], b.oldest(t)
	if got := strings.Split(b.must(t, "webhooks", "logs", made.ID, "--event", event), "\n"); len(got) != 2 || !strings.Contains(got[1], event) {
		t.Errorf("the log of %s is %q", event, got)
	}
	if got := b.must(t, "webhooks", "logs", made.ID, id); !strings.Contains(got, id) || !strings.Contains(got, `"n":2`) {
		t.Errorf("%s is shown as %q", id, got)
	}
	var detail api.WebhookLogDetail
	if got := b.must(t, "webhooks", "logs", made.ID, id, "--json"); json.Unmarshal([]byte(got), &detail) != nil || detail.ID != id {
		t.Errorf("%s is shown as %q", id, got)
	}
	if got := b.must(t, "webhooks", "replay", made.ID, "--delivery", id); got != "Deliveries that wait for their next attempt: 1" {
		t.Errorf("replay prints %q", got)
	}
	if got := b.must(t, "webhooks", "replay", made.ID, "--since", "1h"); !strings.HasPrefix(got, "Deliveries that wait") {
		t.Errorf("replay prints %q", got)
	}
	b.refuse(t, []string{"webhooks", "replay", made.ID, "--since", "yesterday"}, "yesterday", "2h")
	b.refuse(t, []string{"webhooks", "replay", made.ID}, "--delivery", "--since")
	b.refuse(t, []string{"webhooks", "logs", made.ID, "--status", "odd"}, "--status")
}

// One of two flags is needed, so that neither is shown as required.
func TestWebhooksReplay_Help(t *testing.T) {
	t.Parallel()
	help, _, err := runHere(t.Context(), "webhooks", "replay", "--help")
	if usage, _, _ := strings.Cut(help, "\n"); err != nil || usage != "Usage: pombal webhooks replay <webhook> [flags]" {
		t.Errorf("usage %q (%v)", usage, err)
	}
	for args, want := range map[string]string{"": "give --delivery or --since", "--delivery log_1 --since 1h": "can't be used together"} {
		_, _, err = runHere(t.Context(), append([]string{"webhooks", "replay", "wh_1"}, strings.Fields(args)...)...)
		checkError(t, args, err, want)
	}
}

func TestParseSince(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 2, 3, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"": {}, "90m": now.Add(-90 * time.Minute), "2026-02-03T09:00:00-03:00": now, "2026-02-01T00:00:00.5Z": time.Date(2026, 2, 1, 0, 0, 0, 5e8, time.UTC),
	} {
		if got, err := parseSince(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"-2h", "2026-02-03", "soon"} {
		if got, err := parseSince(text, now); err == nil {
			t.Errorf("%q is taken for %v", text, got)
		}
	}
}
