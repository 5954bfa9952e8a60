package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/app"
	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/testkit"
	"github.com/pombal-api/pombal/internal/testkit/apitest"
	"github.com/pombal-api/pombal/pkg/api"
)

// newHookBox is a node that may call this machine.
func newHookBox(t *testing.T) *box {
	t.Helper()
	b := &box{dir: t.TempDir()}
	b.Tenant = apitest.Start(t, testkit.Engines()[0], func(c *app.Config) { c.Loopback = true }).NewTenant(t)
	b.write(t, "dev-run.json", app.Running{URL: b.Server.URL})
	b.write(t, "dev.json", app.Sample{APIKey: b.Key})
	return b
}

// publish lets things happen to an instance: events whose data is numbered from first on, by turns of both types.
func (b *box) publish(t *testing.T, instance string, first, n int) {
	t.Helper()
	id, err := domain.ParsePrefixed(domain.PrefixInstance, instance)
	if err != nil {
		t.Fatal(err)
	}
	types := []domain.EventSet{domain.EventInstanceConnected, domain.EventMessageReceived}
	events := make([]domain.Event, n)
	for i := range events {
		events[i] = domain.Event{InstanceID: id, Type: types[(first+i)%2], At: time.Now(), Data: fmt.Appendf(nil, `{"n":%d,"content":"<b>São&\u2028 🕊"}`, first+i)}
	}
	if err = b.Server.App.Publish(t.Context(), b.Account.ID, events); err != nil {
		t.Fatal(err)
	}
}

// oldest returns the id of the oldest event.
func (b *box) oldest(t *testing.T) string {
	t.Helper()
	page, err := b.API.Events.List(t.Context(), api.ListEventsParams{Limit: 1})
	if err != nil || len(page.Data) != 1 {
		t.Fatalf("%v events, error %v", page, err)
	}
	return page.Data[0].ID
}

// stop ends a command that runs until it is told to, and expects no error.
func (r *running) stop(t *testing.T, cancel context.CancelFunc) {
	t.Helper()
	cancel()
	if err := r.end(t); err != nil {
		t.Errorf("it ended with %v", err)
	}
}

// numbers are those in the data of events, which are lines of JSON.
func numbers(t *testing.T, lines []string) (found []int) {
	t.Helper()
	for _, line := range lines {
		var event struct{ Data struct{ N int } }
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		found = append(found, event.Data.N)
	}
	return found
}

func TestEventsTail(t *testing.T) {
	t.Parallel()
	b := newHookBox(t)
	one, two := b.NewInstance(t, "one"), b.NewInstance(t, "two")
	b.publish(t, one.ID, 0, 1)
	ctx, cancel := context.WithCancel(t.Context())
	after := []string{"--after", b.oldest(t), "--json"}
	all := b.start(ctx, append([]string{"events", "tail"}, after...)...)
	few := b.start(ctx, append([]string{"events", "tail", "--instance", "two", "--types", "message.received,message.sent"}, after...)...)
	b.publish(t, one.ID, 1, 3)
	b.publish(t, two.ID, 4, 4)
	lines := all.lines(t, 7)
	if got := fmt.Sprint(numbers(t, lines)); got != "[1 2 3 4 5 6 7]" {
		t.Errorf("all: events %s", got)
	}
	if got := fmt.Sprint(numbers(t, few.lines(t, 2))); got != "[5 7]" {
		t.Errorf("filtered: events %s", got)
	}
	all.stop(t, cancel)
	few.stop(t, cancel)
	var last api.Event
	if err := json.Unmarshal([]byte(lines[6]), &last); err != nil {
		t.Fatal(err)
	}
	if hint := "--after " + last.ID + "\n"; !strings.HasSuffix(all.log.String(), hint) {
		t.Errorf("it says %q, want %q", all.log.String(), hint)
	}
	b.refuse(t, []string{"events", "tail", "--types", "message.eaten"}, "message.eaten", "invalid_parameters")
	b.refuse(t, []string{"events", "tail", "--instance", "three"}, "no instance", "three")
	b.refuse(t, []string{"events", "tail", "--after", "evt_01kghnzcg0e58bm3hfbsmxbqx4"}, "event_not_found")
}

func TestEventLine(t *testing.T) {
	t.Parallel()
	e := &api.Event{
		ID: "evt_1", Event: api.EventTypeWebhookFailing, Timestamp: api.NewTime(time.Date(2026, 2, 3, 12, 0, 0, 0, time.UTC)),
		Data: []byte("{\"a\":\"\u009b31m\u202e <ü> 🕊\"}"),
	}
	line, err := eventLine(e, false)
	if want := "2026-02-03T12:00:00.000Z  evt_1  webhook.failing        -  {\"a\":\"\ufffd31m\ufffd <ü> 🕊\"}"; err != nil || line != want {
		t.Errorf("%v, %q, want %q", err, line, want)
	}
	e.Data = fmt.Appendf(nil, `{"qrCode":%q}`, strings.Repeat("ü", 1000))
	if line, err = eventLine(e, false); err != nil || len([]rune(line)) > 320 || !strings.HasSuffix(line, "ü…") {
		t.Errorf("%v, a line of %d: %s", err, len([]rune(line)), line)
	}
	e.Data = []byte("{")
	if _, err = eventLine(e, true); err == nil {
		t.Error("what is no JSON is printed as if it were")
	}
}

// What is forwarded is, byte for byte, what a webhook would get.
func TestEnvelope(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 2, 3, 12, 0, 0, 7e6, time.UTC)
	for _, e := range []domain.Event{
		{ID: domain.NewID(at), AccountID: domain.NewID(at), InstanceID: domain.NewID(at), Sequence: 7, Type: domain.EventMessageReceived, At: at,
			Data: []byte(`{"10":1e-7,"b":"<&>` + "\u2028\u2029\u00e9\ufffd" + `\\u2028","big":123456789012345680000}`)},
		{ID: domain.NewID(at), AccountID: domain.NewID(at), Type: domain.EventWebhookDisabled, At: at, Data: []byte(`{}`)},
	} {
		want := domain.AppendEnvelope(nil, &e)
		var event api.Event
		if err := json.Unmarshal(want, &event); err != nil {
			t.Fatal(err)
		}
		if got, err := envelope(&event); err != nil || string(got) != string(want) {
			t.Errorf("%v, %s, want %s", err, got, want)
		}
	}
}
