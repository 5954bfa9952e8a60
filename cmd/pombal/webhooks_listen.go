package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/webhook"
	"github.com/pombal-api/pombal/pkg/api"
)

type listenWebhooksCmd struct {
	clientFlags `embed:""`
	following   `embed:""`
	Forward     string        `required:"" help:"Where the receiver is, such as http://localhost:3000/webhooks." placeholder:"URL"`
	Events      []string      `help:"Only events of these types, such as message.received." placeholder:"TYPE"`
	Secret      string        `help:"What to sign with, as it would be shown when a webhook is created; one is made and printed if not given." placeholder:"TEXT"`
	Timeout     time.Duration `default:"5s" help:"How long the receiver may take to answer."`
}

const (
	// forwardTries is how often an event is offered to a receiver that is not there. A receiver under
	// development is restarted all the time.
	forwardTries = 5
	// forwardWait is the wait before the second try; it doubles.
	forwardWait = 500 * time.Millisecond
	// maxAnswer is how much of an answer is read, so that its connection can be used again.
	maxAnswer = 16 << 10
)

// Help says what becomes of events that the receiver does not take.
func (*listenWebhooksCmd) Help() string {
	return "Events go to the receiver one after the other, in their order. Any answer ends an event, also a refusal such as 400 or 500: " +
		"it is shown, and the next event follows. When there is no answer in time, or nobody to give one, the event is sent again " +
		"after 0.5, 1, 2 and 4 seconds, and then given up. Nothing is kept in the log of a webhook: " +
		"begin again behind an earlier event with --after."
}

var secretForm = regexp.MustCompile(`^[!-~]{16,255}$`)

// Run forwards the events, one after the other, in their order.
func (c *listenWebhooksCmd) Run(ctx context.Context, s streams) error {
	to, err := url.Parse(c.Forward)
	if err != nil || (to.Scheme != "http" && to.Scheme != "https") || to.Host == "" {
		return fmt.Errorf("--forward %q must look like http://localhost:3000/webhooks", c.Forward)
	}
	if c.Secret == "" {
		c.Secret = newWebhookSecret()
	}
	if !secretForm.MatchString(c.Secret) {
		return fmt.Errorf("--secret must have 16 to 255 visible ASCII characters")
	}
	if c.Timeout <= 0 {
		return fmt.Errorf("--timeout %v must be longer than that, such as 5s", c.Timeout)
	}
	for _, name := range c.Events { // before anything is printed that looks as if all were well
		if _, unknown := domain.ParseEvents([]string{name}); unknown == name {
			return fmt.Errorf("--events %q is no event; there are %s", name, strings.Join(domain.EveryEvent.Names(), ", "))
		}
	}
	transport := &http.Transport{DisableCompression: true} // as when webhooks are delivered
	defer transport.CloseIdleConnections()
	f := &forwarder{
		http: &http.Client{Transport: transport, Timeout: c.Timeout, CheckRedirect: noRedirect},
		to:   to.String(), secret: []byte(c.Secret),
	}
	return c.with(ctx, s, func(client *api.Client) error {
		if _, err := fmt.Fprintf(s.out, "Secret: %s\nForwarding events to %s\n", c.Secret, to.Redacted()); err != nil {
			return err
		}
		return c.follow(ctx, client, c.Events, func(e *api.Event) error {
			outcome := f.forward(ctx, e, func(failure error) {
				_, _ = fmt.Fprintf(s.err, "%s: %v; trying again\n", e.ID, failure) // the outcome is what counts
			})
			_, err := fmt.Fprintf(s.out, "%s  %s  %-21s  %s\n", e.Timestamp, e.ID, e.Event, outcome)
			return err
		})
	})
}

// noRedirect takes a redirect for what it is to a webhook: an answer that is no success.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// newWebhookSecret makes a secret of the form that the server makes.
func newWebhookSecret() string {
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails: the runtime aborts instead
	return "whs_" + base64.RawURLEncoding.EncodeToString(random[:])
}

// forwarder posts events as webhooks are.
type forwarder struct {
	http   *http.Client
	to     string
	secret []byte
}

// forward posts an event and says what came of it. It tries again when the receiver cannot be reached, and calls
// failed before each further try.
func (f *forwarder) forward(ctx context.Context, e *api.Event, failed func(error)) (outcome string) {
	body, err := envelope(e)
	if err != nil {
		return err.Error()
	}
	for try, wait := 1, forwardWait; ; try, wait = try+1, wait*2 {
		begun := time.Now()
		answer, err := f.post(ctx, e.ID, body)
		switch {
		case err == nil:
			return fmt.Sprintf("%s (%d ms)", answer, time.Since(begun).Milliseconds())
		case try == forwardTries || ctx.Err() != nil:
			return fmt.Sprintf("not delivered: %v", err)
		}
		failed(err)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// post makes one request, signed like a delivery of this moment, and returns the status of the answer.
func (f *forwarder) post(ctx context.Context, id string, body []byte) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.to, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header = http.Header{"Content-Type": {"application/json"}, "User-Agent": {"Pombal-Webhooks/1"}}
	webhook.Sign(req.Header, webhook.Secrets{Current: f.secret}, id, time.Now(), body)
	res, err := f.http.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.CopyN(io.Discard, res.Body, maxAnswer) // the status is what counts
	return res.Status, nil
}
