package api

import (
	"context"
	"iter"
	"net/http"
)

const inboundPath = webhooksPath + "/inbound"

// InboundService holds the calls about inbound webhooks: URLs through which
// programs without a key are to send messages, which is not available yet.
// Reach it as Client.Webhooks.Inbound.
type InboundService struct{ client *Client }

// List returns one page of inbound webhooks, without their URLs.
func (s *InboundService) List(ctx context.Context, params ListInboundWebhooksParams, opts ...CallOption) (*Page[InboundWebhook], error) {
	return fetchPage[InboundWebhook](ctx, s.client, inboundPath, pageQuery(params.Limit, params.Offset, params.Cursor), opts)
}

// All yields the inbound webhooks of all pages, from the one that params names
// on. An error ends the walk.
func (s *InboundService) All(ctx context.Context, params ListInboundWebhooksParams, opts ...CallOption) iter.Seq2[InboundWebhook, error] {
	return walk(func(cursor *string) (*Page[InboundWebhook], error) {
		page := params
		if cursor != nil {
			page.Cursor, page.Offset = cursor, 0
		}
		return s.List(ctx, page, opts...)
	})
}

// Create makes an inbound webhook. Its URL is in the answer and nowhere else;
// whoever has it can send.
func (s *InboundService) Create(ctx context.Context, body CreateInboundWebhook, opts ...CallOption) (*InboundWebhookWithURL, error) {
	return fetch[InboundWebhookWithURL](ctx, s.client, call{method: http.MethodPost, path: inboundPath, body: body}, opts)
}

// Delete closes the URL.
func (s *InboundService) Delete(ctx context.Context, id string, opts ...CallOption) error {
	path, err := objectPath(inboundPath, id)
	if err != nil {
		return err
	}
	return s.client.do(ctx, call{method: http.MethodDelete, path: path}, opts, new(Acknowledgement))
}
