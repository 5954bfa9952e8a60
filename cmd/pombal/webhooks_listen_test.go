package main

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pombal-api/pombal/internal/testkit/apitest"
	"github.com/pombal-api/pombal/pkg/api"
)

// What listen sends is what a webhook gets: the same header, signed in the same ways.
func TestWebhooksListen(t *testing.T) {
	t.Parallel()
	b := newHookBox(t)
	in := b.NewInstance(t, "one")
	b.publish(t, in.ID, 0, 1)
	receiver := apitest.NewReceiver(t)
	ctx, cancel := context.WithCancel(t.Context())
	listen := b.start(ctx, "webhooks", "listen", "--forward", receiver.URL, "--events", "message.received", "--after", b.oldest(t))
	b.publish(t, in.ID, 1, 4)
	secret := strings.TrimPrefix(listen.lines(t, 1)[0], "Secret: ")
	var bodies []string
	for _, got := range receiver.Wait(t, 2) {
		if err := errors.Join(got.Verify(secret), api.VerifyWebhook(got.Body, got.Header, secret)); err != nil {
			t.Error(err)
		}
		bodies = append(bodies, string(got.Body))
	}
	if diff := cmp.Diff([]int{1, 3}, numbers(t, bodies)); diff != "" {
		t.Errorf("forwarded (-want +got):\n%s", diff)
	}
	for _, line := range listen.lines(t, 4)[2:] {
		if !strings.Contains(line, "message.received") || !strings.Contains(line, "200 OK (") {
			t.Errorf("it prints %q", line)
		}
	}
	listen.stop(t, cancel)

	made, err := b.API.Webhooks.Create(t.Context(), api.CreateWebhook{URL: receiver.URL, Events: []api.EventType{api.EventTypeMessageReceived}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = b.API.Webhooks.Test(t.Context(), made.ID, api.TestWebhook{}); err != nil {
		t.Fatal(err)
	}
	all := receiver.Wait(t, 3)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(all[2].Header)), slices.Sorted(maps.Keys(all[0].Header))); diff != "" {
		t.Errorf("headers of a delivery, and forwarded (-delivery +forwarded):\n%s", diff)
	}
	for _, name := range []string{"Content-Type", "User-Agent"} {
		if all[0].Header.Get(name) != all[2].Header.Get(name) {
			t.Errorf("%s is %q, of a delivery %q", name, all[0].Header.Get(name), all[2].Header.Get(name))
		}
	}
}

func TestWebhooksListen_Refuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args []string
		text string
	}{
		{[]string{"--forward", "localhost:3000"}, "--forward"},
		{[]string{"--forward", "ftp://localhost/x"}, "--forward"},
		{[]string{"--forward", "http://localhost/x", "--secret", "short"}, "--secret"},
		{[]string{"--forward", "http://localhost/x", "--secret", "with a space in it"}, "--secret"},
		{[]string{"--forward", "http://localhost/x", "--timeout", "0s"}, "--timeout"},
		{[]string{"--forward", "http://localhost/x", "--timeout", "-1s"}, "--timeout"},
		{[]string{"--forward", "http://localhost/x", "--events", "message.sent,nope"}, `"nope" is no event; there are message.received, `},
		{nil, "--forward"},
	} {
		out, _, err := runHere(t.Context(), append([]string{"webhooks", "listen", "--url", "http://127.0.0.1:1", "--api-key", "x", "--data-dir", t.TempDir()}, tt.args...)...)
		checkError(t, strings.Join(tt.args, " "), err, tt.text)
		if out != "" {
			t.Errorf("%s: it prints %q first", strings.Join(tt.args, " "), out)
		}
	}
	help, _, err := runHere(t.Context(), "webhooks", "listen", "--help")
	if err != nil || !strings.Contains(help, "a refusal such as 400 or 500") {
		t.Errorf("help does not say what becomes of refused events (%v):\n%s", err, help)
	}
}

// roundTrip is a receiver without a network, so that time can be fake.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestForwarder(t *testing.T) {
	t.Parallel()
	event := &api.Event{ID: "evt_1", Data: []byte("{}")}
	answer := func(status int) roundTrip {
		return func(r *http.Request) (*http.Response, error) {
			rec := httptest.NewRecorder()
			rec.WriteHeader(status)
			_, _ = io.WriteString(rec, strings.Repeat("x", 1<<20))
			return rec.Result(), nil
		}
	}
	down := roundTrip(func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") })
	tests := []struct {
		name     string
		receiver []roundTrip // the last one for ever
		giveUp   time.Duration
		outcome  string
		failures int
		took     time.Duration
	}{
		{"accepted", []roundTrip{answer(204)}, time.Hour, "204 No Content (0 ms)", 0, 0},
		{"refused", []roundTrip{answer(500), answer(200)}, time.Hour, "500 Internal Server Error (0 ms)", 0, 0},
		{"redirected", []roundTrip{answer(302), answer(200)}, time.Hour, "302 Found (0 ms)", 0, 0},
		{"down for a while", []roundTrip{down, down, answer(200)}, time.Hour, "200 OK (0 ms)", 2, 1500 * time.Millisecond},
		{"down", []roundTrip{down}, time.Hour, "not delivered", 4, 7500 * time.Millisecond},
		{"down, and nobody waits", []roundTrip{down}, time.Second, "not delivered", 2, time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				tries, failures := 0, 0
				next := roundTrip(func(r *http.Request) (*http.Response, error) {
					tries++
					return tt.receiver[min(tries, len(tt.receiver))-1](r)
				})
				ctx, cancel := context.WithTimeout(t.Context(), tt.giveUp)
				defer cancel()
				f := &forwarder{http: &http.Client{Transport: next, CheckRedirect: noRedirect}, to: "http://localhost:3000/", secret: []byte("a-secret-of-my-own")}
				began := time.Now()
				outcome := f.forward(ctx, event, func(error) { failures++ })
				if !strings.HasPrefix(outcome, tt.outcome) || failures != tt.failures || time.Since(began) != tt.took {
					t.Errorf("%q after %d failures and %v, want %q after %d and %v", outcome, failures, time.Since(began), tt.outcome, tt.failures, tt.took)
				}
			})
		})
	}
}
