package httpapi

import (
	"context"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/pkg/api"
)

type listWebhookLogsRequest struct {
	ID    string                    `param:"webhookId"`
	Query api.ListWebhookLogsParams `in:"query"`
}

func (s *Server) listWebhookLogs(ctx context.Context, p *domain.Principal, req *listWebhookLogsRequest) (api.WebhookLogPage, error) {
	account, id, err := s.locateWebhook(p, req.ID)
	if err != nil {
		return api.WebhookLogPage{}, err
	}
	q := req.Query
	filter, err := deliveryFilter(&q)
	if err != nil {
		return api.WebhookLogPage{}, err
	}
	scope := listScope("webhook-logs", p, req.ID, string(q.Status), deref(q.EventID))
	request := domain.PageRequest{Limit: q.Limit}
	if err = s.applyCursor(&request, scope, deref(q.Cursor)); err != nil {
		return api.WebhookLogPage{}, err
	}
	items, info, err := account.Deliveries(ctx, id, request, filter)
	if err != nil {
		return api.WebhookLogPage{}, err
	}
	out := api.WebhookLogPage{Success: true, Data: make([]api.WebhookLog, len(items))}
	for i := range items {
		out.Data[i] = presentDelivery(&items[i])
	}
	if out.Pagination.HasMore = info.HasMore; info.HasMore {
		out.Pagination.NextCursor = optional(s.encodeCursor(scope, info.Last))
	}
	return out, nil
}

func deliveryFilter(q *api.ListWebhookLogsParams) (f domain.DeliveryFilter, err error) {
	switch q.Status {
	case api.ListWebhookLogsParamsStatusSuccess:
		f.Succeeded = true
	case api.ListWebhookLogsParamsStatusFailed:
		f.Failed = true
	case api.ListWebhookLogsParamsStatusWaiting:
		f.State = domain.DeliveryWaiting
	case api.ListWebhookLogsParamsStatusExhausted:
		f.State = domain.DeliveryExhausted
	}
	if q.EventID != nil {
		if f.EventID, err = domain.ParsePrefixed(domain.PrefixEvent, *q.EventID); err != nil {
			return f, domain.EventNotFound()
		}
	}
	return f, nil
}

type webhookLogRequest struct {
	ID  string `param:"webhookId"`
	Log string `param:"logId"`
}

func (s *Server) getWebhookLog(ctx context.Context, p *domain.Principal, req *webhookLogRequest) (api.WebhookLogEnvelope, error) {
	account, webhook, id, err := s.locateDelivery(p, req)
	if err != nil {
		return api.WebhookLogEnvelope{}, err
	}
	d, attempts, err := account.Delivery(ctx, webhook, id)
	if err != nil {
		return api.WebhookLogEnvelope{}, err
	}
	return envelope(presentDeliveryDetail(&d, attempts)), nil
}

func (s *Server) replayWebhookLog(ctx context.Context, p *domain.Principal, req *webhookLogRequest) (api.WebhookReplayEnvelope, error) {
	account, webhook, id, err := s.locateDelivery(p, req)
	if err != nil {
		return api.WebhookReplayEnvelope{}, err
	}
	return envelope(api.WebhookReplay{Replayed: 1}), account.Replay(ctx, webhook, id)
}

func (s *Server) locateDelivery(p *domain.Principal, req *webhookLogRequest) (account AccountStore, webhook, id domain.ID, err error) {
	if account, webhook, err = s.locateWebhook(p, req.ID); err != nil {
		return nil, webhook, id, err
	}
	if id, err = domain.ParsePrefixed(domain.PrefixDelivery, req.Log); err != nil {
		return nil, webhook, id, domain.DeliveryNotFound()
	}
	return account, webhook, id, nil
}

type replayWebhookRequest struct {
	ID   string            `param:"webhookId"`
	Body api.ReplayWebhook `in:"body"`
}

func (s *Server) replayWebhook(ctx context.Context, p *domain.Principal, req *replayWebhookRequest) (api.WebhookReplayEnvelope, error) {
	account, id, err := s.locateWebhook(p, req.ID)
	if err != nil {
		return api.WebhookReplayEnvelope{}, err
	}
	n, err := account.ReplayFailed(ctx, id, req.Body.Since.UTC().Truncate(time.Millisecond))
	return envelope(api.WebhookReplay{Replayed: n}), err
}
