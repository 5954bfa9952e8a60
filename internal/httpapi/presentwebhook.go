package httpapi

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/pkg/api"
)

func presentWebhook(w *domain.Webhook) api.Webhook {
	out := api.Webhook{
		ID: w.ID.Prefixed(domain.PrefixWebhook), Name: optional(w.Name), URL: w.URL, InstanceID: optionalInstance(w.InstanceID),
		Events: convert[api.EventType](w.Events.Names()), Status: api.WebhookStatus(w.Status), DisabledReason: optional(string(w.DisabledReason)),
		TimeoutSeconds: int(w.Timeout / time.Second), OfInstance: w.OfInstance, FailingSince: optionalTime(w.FailingSince),
		CreatedAt: presentTime(w.CreatedAt), UpdatedAt: presentTime(w.UpdatedAt),
	}
	return out
}

func presentWebhookWithSecret(w *domain.Webhook, secret string) api.WebhookWithSecret {
	p := presentWebhook(w)
	return api.WebhookWithSecret{
		ID: p.ID, Name: p.Name, URL: p.URL, InstanceID: p.InstanceID, Events: p.Events, Status: p.Status, DisabledReason: p.DisabledReason,
		TimeoutSeconds: p.TimeoutSeconds, OfInstance: p.OfInstance, FailingSince: p.FailingSince, CreatedAt: p.CreatedAt,
		UpdatedAt: p.UpdatedAt, Secret: secret,
	}
}

func presentInboundWebhook(w *domain.InboundWebhook) api.InboundWebhook {
	return api.InboundWebhook{
		ID: w.ID.Prefixed(domain.PrefixInbound), Name: w.Name, InstanceID: w.InstanceID.Prefixed(domain.PrefixInstance),
		LastFour: w.LastFour, CreatedAt: presentTime(w.CreatedAt),
	}
}

func presentEvent(e *domain.Event) api.Event {
	out := api.Event{
		ID: e.ID.Prefixed(domain.PrefixEvent), Event: api.EventType(e.Type.Name()), Timestamp: presentTime(e.At),
		AccountID: e.AccountID.Prefixed(domain.PrefixAccount), InstanceID: optionalInstance(e.InstanceID), Data: json.RawMessage(e.Data),
	}
	if !e.InstanceID.IsZero() {
		out.Sequence = &e.Sequence
	}
	return out
}

func presentDelivery(d *domain.Delivery) api.WebhookLog {
	out := api.WebhookLog{
		ID: d.ID.Prefixed(domain.PrefixDelivery), Event: api.EventType(d.Event.Type.Name()), EventID: d.Event.ID.Prefixed(domain.PrefixEvent),
		InstanceID: optionalInstance(d.Event.InstanceID), Status: api.DeliveryStatusPending, State: api.DeliveryState(d.State),
		RetryCount: max(0, d.Attempts-1), Timestamp: presentTime(d.CreatedAt),
	}
	if d.State == domain.DeliveryWaiting {
		out.NextRetryAt = optionalTime(d.NextAt)
	}
	if d.Attempts == 0 && d.Last.Failure == "" {
		return out
	}
	out.Status = api.DeliveryStatusSuccess
	if d.Last.Failure != "" {
		out.Status = api.DeliveryStatusFailed
	}
	out.StatusCode, out.Error, out.Failure = statusCode(&d.Last), failureText(&d.Last), optional(string(d.Last.Failure))
	if d.Attempts > 0 {
		out.Timestamp, out.ResponseTime = presentTime(d.Last.At), new(d.Last.Took.Milliseconds())
	}
	return out
}

func presentDeliveryDetail(d *domain.Delivery, attempts []domain.Attempt) api.WebhookLogDetail {
	l := presentDelivery(d)
	out := api.WebhookLogDetail{
		ID: l.ID, Event: l.Event, EventID: l.EventID, InstanceID: l.InstanceID, Status: l.Status, State: l.State, StatusCode: l.StatusCode,
		ResponseTime: l.ResponseTime, Error: l.Error, Failure: l.Failure, RetryCount: l.RetryCount, NextRetryAt: l.NextRetryAt,
		Timestamp: l.Timestamp, Payload: presentEvent(&d.Event), Attempts: make([]api.WebhookAttempt, len(attempts)),
	}
	for i := range attempts {
		a := &attempts[i]
		out.Attempts[i] = api.WebhookAttempt{
			Number: a.Number, Timestamp: presentTime(a.At), StatusCode: statusCode(a), ResponseTime: a.Took.Milliseconds(),
			Error: failureText(a), Failure: optional(string(a.Failure)), Response: optional(printableText(a.Response)), Manual: a.Manual,
		}
	}
	return out
}

// printableText makes text of what a stranger answered.
func printableText(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}

func statusCode(a *domain.Attempt) *int {
	if a.StatusCode == 0 {
		return nil
	}
	return &a.StatusCode
}

// failureText says in a sentence why an attempt failed; nil when it did not.
func failureText(a *domain.Attempt) *string {
	var text string
	switch a.Failure {
	case "":
		return nil
	case domain.FailureStatus:
		text = "The receiver answered " + strconv.Itoa(a.StatusCode) + " " + http.StatusText(a.StatusCode) + "."
	case domain.FailureRedirect:
		text = "The receiver answered with a redirect, which is never followed. Register the address that it leads to."
	case domain.FailureTimeout:
		text = "The receiver did not answer in time. Answer first, and do the work afterwards."
	case domain.FailureRefused:
		text = "The receiver could not be reached, or broke the connection off."
	case domain.FailureName:
		text = "The receiver's name cannot be found."
	case domain.FailureTLS:
		text = "The receiver's certificate is not valid for its name."
	case domain.FailureBlocked:
		text = "The receiver's address is not a public one, so it was not called."
	case domain.FailureUnsupported:
		text = "What the receiver answered is not HTTP."
	case domain.FailureDisabled:
		text = "The webhook was disabled before this was delivered. Replay it when the webhook is active again."
	default:
		text = "The attempt failed."
	}
	return &text
}

func optionalInstance(id domain.ID) *api.InstanceID {
	if id.IsZero() {
		return nil
	}
	return new(id.Prefixed(domain.PrefixInstance))
}
