package httpapi

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/pkg/api"
)

type listInboundWebhooksRequest struct {
	Query api.ListInboundWebhooksParams `in:"query"`
}

func (s *Server) listInboundWebhooks(ctx context.Context, p *domain.Principal, req *listInboundWebhooksRequest) (listed[api.InboundWebhook], error) {
	account, err := s.webhookStore(p)
	if err != nil {
		return listed[api.InboundWebhook]{}, err
	}
	q := req.Query
	list := listing{limit: q.Limit, offset: q.Offset, cursor: deref(q.Cursor), scope: listScope("inbound-webhooks", p)}
	return page(ctx, s, list, account.InboundWebhooks, presentInboundWebhook)
}

type createInboundWebhookRequest struct {
	Base string                   `in:"base"`
	Body api.CreateInboundWebhook `in:"body"`
}

func (s *Server) createInboundWebhook(ctx context.Context, p *domain.Principal, req *createInboundWebhookRequest) (api.InboundWebhookWithURLEnvelope, error) {
	var none api.InboundWebhookWithURLEnvelope
	account, err := s.webhookStore(p)
	if err != nil {
		return none, err
	}
	instance, err := parseInstance(req.Body.InstanceID)
	if err != nil {
		return none, err
	}
	now := s.now().UTC().Truncate(time.Millisecond)
	token := newInboundToken()
	digest := sha256.Sum256([]byte(token)) // of 256 random bits: there is nothing to guess, so nothing to stretch
	w := &domain.InboundWebhook{
		AccountID: p.Account.ID, ID: resourceID(ctx, now), InstanceID: instance, Name: req.Body.Name,
		TokenDigest: digest[:], LastFour: token[len(token)-4:], CreatedAt: now,
	}
	if err := account.CreateInboundWebhook(ctx, w); err != nil {
		return none, err
	}
	shown := presentInboundWebhook(w)
	return envelope(api.InboundWebhookWithURL{
		ID: shown.ID, Name: shown.Name, InstanceID: shown.InstanceID, LastFour: shown.LastFour, CreatedAt: shown.CreatedAt,
		URL: req.Base + "/webhook/" + token,
	}), nil
}

// newInboundToken makes the secret part of an inbound webhook's URL.
func newInboundToken() string {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails: the runtime aborts instead
	return "whin_" + base64.RawURLEncoding.EncodeToString(raw)
}

type inboundWebhookRequest struct {
	ID string `param:"inboundId"`
}

func (s *Server) deleteInboundWebhook(ctx context.Context, p *domain.Principal, req *inboundWebhookRequest) (api.Acknowledgement, error) {
	account, err := s.webhookStore(p)
	if err != nil {
		return api.Acknowledgement{}, err
	}
	id, err := domain.ParsePrefixed(domain.PrefixInbound, req.ID)
	if err != nil {
		return api.Acknowledgement{}, domain.InboundWebhookNotFound()
	}
	if err := account.DeleteInboundWebhook(ctx, id); err != nil {
		return api.Acknowledgement{}, err
	}
	return acknowledge("Inbound webhook deleted successfully"), nil
}
