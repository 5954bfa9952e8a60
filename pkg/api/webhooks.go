package api

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"net/url"
)

const webhooksPath = "/v1/webhooks"

// WebhookService holds the calls about webhooks. Reach it as Client.Webhooks.
type WebhookService struct {
	// Inbound are URLs through which other programs are to send messages.
	Inbound *InboundService

	client *Client
}

// List returns one page of webhooks, without their secrets.
func (s *WebhookService) List(ctx context.Context, params ListWebhooksParams, opts ...CallOption) (*Page[Webhook], error) {
	return fetchPage[Webhook](ctx, s.client, webhooksPath, pageQuery(params.Limit, params.Offset, params.Cursor), opts)
}

// All yields the webhooks of all pages, from the one that params names on. An
// error ends the walk.
func (s *WebhookService) All(ctx context.Context, params ListWebhooksParams, opts ...CallOption) iter.Seq2[Webhook, error] {
	return walk(func(cursor *string) (*Page[Webhook], error) {
		page := params
		if cursor != nil {
			page.Cursor, page.Offset = cursor, 0
		}
		return s.List(ctx, page, opts...)
	})
}

// Get returns a webhook, without its secret.
func (s *WebhookService) Get(ctx context.Context, id string, opts ...CallOption) (*Webhook, error) {
	return onWebhook[Webhook](ctx, s, http.MethodGet, id, "", nil, opts)
}

// Create makes a webhook that gets events from now on. Its secret, which
// VerifyWebhook needs, is in the answer and nowhere else.
func (s *WebhookService) Create(ctx context.Context, body CreateWebhook, opts ...CallOption) (*WebhookWithSecret, error) {
	return fetch[WebhookWithSecret](ctx, s.client, call{method: http.MethodPost, path: webhooksPath, body: body}, opts)
}

// Replace sets all that can be set of a webhook: what body leaves out becomes
// the default.
func (s *WebhookService) Replace(ctx context.Context, id string, body ReplaceWebhook, opts ...CallOption) (*Webhook, error) {
	return onWebhook[Webhook](ctx, s, http.MethodPut, id, "", body, opts)
}

// Update changes the fields of a webhook that body holds, and returns it as it
// is then.
func (s *WebhookService) Update(ctx context.Context, id string, body UpdateWebhook, opts ...CallOption) (*Webhook, error) {
	return onWebhook[Webhook](ctx, s, http.MethodPatch, id, "", body, opts)
}

// Delete deletes a webhook with its log. When a first try was carried out but
// its answer was lost, the next one fails with the code webhook_not_found.
func (s *WebhookService) Delete(ctx context.Context, id string, opts ...CallOption) error {
	path, err := webhookPath(id)
	if err != nil {
		return err
	}
	return s.client.do(ctx, call{method: http.MethodDelete, path: path}, opts, new(Acknowledgement))
}

// RotateSecret gives a webhook a new secret, which is in the answer and nowhere
// else. The old one signs beside it for a while, so that a receiver that
// verifies with both misses nothing.
func (s *WebhookService) RotateSecret(ctx context.Context, id string, body RotateWebhookSecret, opts ...CallOption) (*WebhookWithSecret, error) {
	return onWebhook[WebhookWithSecret](ctx, s, http.MethodPost, id, "/rotate", body, opts)
}

// Test sends the receiver a made-up event at once and returns what it answered.
// A receiver that fails is no error: see the Status of the result.
func (s *WebhookService) Test(ctx context.Context, id string, body TestWebhook, opts ...CallOption) (*WebhookTestResult, error) {
	return onWebhook[WebhookTestResult](ctx, s, http.MethodPost, id, "/test", body, opts)
}

// Logs returns one page of the deliveries of a webhook, newest first.
func (s *WebhookService) Logs(ctx context.Context, id string, params ListWebhookLogsParams, opts ...CallOption) (*CursorPage[WebhookLog], error) {
	path, err := webhookPath(id)
	if err != nil {
		return nil, err
	}
	return fetchCursorPage[WebhookLog](ctx, s.client, path+"/logs", params.values(), opts)
}

// AllLogs yields the deliveries of all pages, newest first, from the page that
// params names on. An error ends the walk.
func (s *WebhookService) AllLogs(ctx context.Context, id string, params ListWebhookLogsParams, opts ...CallOption) iter.Seq2[WebhookLog, error] {
	return walkCursor(func(cursor *string) (*CursorPage[WebhookLog], error) {
		page := params
		if cursor != nil {
			page.Cursor = cursor
		}
		return s.Logs(ctx, id, page, opts...)
	})
}

// Log returns a delivery with its event and all its attempts.
func (s *WebhookService) Log(ctx context.Context, id, logID string, opts ...CallOption) (*WebhookLogDetail, error) {
	part, err := objectPath("/logs", logID)
	if err != nil {
		return nil, err
	}
	return onWebhook[WebhookLogDetail](ctx, s, http.MethodGet, id, part, nil, opts)
}

// ReplayLog delivers an event again, whatever became of it before.
func (s *WebhookService) ReplayLog(ctx context.Context, id, logID string, opts ...CallOption) (*WebhookReplay, error) {
	part, err := objectPath("/logs", logID)
	if err != nil {
		return nil, err
	}
	return onWebhook[WebhookReplay](ctx, s, http.MethodPost, id, part+"/replay", nil, opts)
}

// Replay delivers all events since a time again whose latest attempt failed, and
// returns how many they are.
func (s *WebhookService) Replay(ctx context.Context, id string, body ReplayWebhook, opts ...CallOption) (*WebhookReplay, error) {
	return onWebhook[WebhookReplay](ctx, s, http.MethodPost, id, "/replay", body, opts)
}

// onWebhook makes a call about one webhook or a part of it, which answers with
// one object.
func onWebhook[T any](ctx context.Context, s *WebhookService, method, id, part string, body any, opts []CallOption) (*T, error) {
	path, err := webhookPath(id)
	if err != nil {
		return nil, err
	}
	return fetch[T](ctx, s.client, call{method: method, path: path + part, body: body}, opts)
}

// webhookPath returns the path of a webhook. At the place of its id, "inbound"
// is the list of inbound webhooks.
func webhookPath(id string) (string, error) {
	if webhooksPath+"/"+id == inboundPath {
		return "", fmt.Errorf("api: %q is not an id", id)
	}
	return objectPath(webhooksPath, id)
}

// values writes the parameters as a query.
func (p ListWebhookLogsParams) values() url.Values {
	query := pageQuery(p.Limit, 0, p.Cursor)
	if p.Status != "" {
		query.Set("status", string(p.Status))
	}
	setText(query, "eventId", p.EventID)
	return query
}
