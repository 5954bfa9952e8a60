package httpapi

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/pkg/api"
)

// WebhookStore is an account's webhooks and what became of their deliveries. CodeWebhookNotFound for what is not
// the account's.
type WebhookStore interface {
	Webhooks(ctx context.Context, p domain.PageRequest) ([]domain.Webhook, domain.PageInfo, error)
	Webhook(ctx context.Context, id domain.ID) (domain.Webhook, error)
	CreateWebhook(ctx context.Context, w *domain.Webhook) error
	UpdateWebhook(ctx context.Context, id domain.ID, patch domain.WebhookPatch, ifVersion int64, now time.Time) (domain.Webhook, error)
	DeleteWebhook(ctx context.Context, id domain.ID) error
	RotateWebhookSecret(ctx context.Context, id domain.ID, r domain.SecretRotation) (domain.Webhook, error)

	Deliveries(ctx context.Context, webhook domain.ID, p domain.PageRequest, f domain.DeliveryFilter) ([]domain.Delivery, domain.PageInfo, error)
	Delivery(ctx context.Context, webhook, id domain.ID) (domain.Delivery, []domain.Attempt, error)
	Replay(ctx context.Context, webhook, delivery domain.ID) error
	ReplayFailed(ctx context.Context, webhook domain.ID, since time.Time) (int, error)

	InboundWebhooks(ctx context.Context, p domain.PageRequest) ([]domain.InboundWebhook, domain.PageInfo, error)
	CreateInboundWebhook(ctx context.Context, w *domain.InboundWebhook) error
	DeleteInboundWebhook(ctx context.Context, id domain.ID) error
}

// webhookStore opens the webhooks of the caller's account. They get the events of the whole account, so a caller who
// may see some instances only has no business with them.
func (s *Server) webhookStore(p *domain.Principal) (AccountStore, error) {
	if p.Restricted() {
		return nil, domain.NewError(domain.CodeInsufficient,
			"This "+p.Credential()+" is restricted to certain instances, and webhooks are the account's. Use a key without that restriction.")
	}
	return s.deps.Accounts(p.Account.ID)
}

type listWebhooksRequest struct {
	Query api.ListWebhooksParams `in:"query"`
}

func (s *Server) listWebhooks(ctx context.Context, p *domain.Principal, req *listWebhooksRequest) (listed[api.Webhook], error) {
	account, err := s.webhookStore(p)
	if err != nil {
		return listed[api.Webhook]{}, err
	}
	q := req.Query
	list := listing{limit: q.Limit, offset: q.Offset, cursor: deref(q.Cursor), scope: listScope("webhooks", p)}
	return page(ctx, s, list, account.Webhooks, presentWebhook)
}

type createWebhookRequest struct {
	Body api.CreateWebhook `in:"body"`
}

func (s *Server) createWebhook(ctx context.Context, p *domain.Principal, req *createWebhookRequest) (answer[api.WebhookWithSecretEnvelope], error) {
	var none answer[api.WebhookWithSecretEnvelope]
	account, err := s.webhookStore(p)
	if err != nil {
		return none, err
	}
	b := &req.Body
	if err = s.checkURL("url", b.URL); err != nil {
		return none, err
	}
	instance, err := parseInstance(deref(b.InstanceID))
	if err != nil {
		return none, err
	}
	now := s.now().UTC().Truncate(time.Millisecond)
	events, _ := domain.ParseEvents(convert[string](b.Events)) // validated
	w := &domain.Webhook{
		AccountID: p.Account.ID, ID: resourceID(ctx, now), InstanceID: instance, Name: deref(b.Name), URL: b.URL, Events: events,
		Timeout: seconds(b.TimeoutSeconds), Status: domain.WebhookActive, CreatedAt: now, UpdatedAt: now, Version: 1,
	}
	secret := s.sealNewSecret(w, b.Secret)
	if err := account.CreateWebhook(ctx, w); err != nil {
		return none, err
	}
	out := answer[api.WebhookWithSecretEnvelope]{body: envelope(presentWebhookWithSecret(w, secret))}
	out.location = "/v1/webhooks/" + out.body.Data.ID
	return out, nil
}

// sealNewSecret gives the webhook a secret, the caller's own or a new one, and returns it.
func (s *Server) sealNewSecret(w *domain.Webhook, own *string) string {
	secret := deref(own)
	if secret == "" {
		secret = newWebhookSecret()
	}
	w.Secret = s.deps.Seal.Seal([]byte(secret), domain.WebhookSecretPlace(w.AccountID, w.ID))
	return secret
}

// newWebhookSecret makes a secret of 256 bits in the documented form.
func newWebhookSecret() string {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails: the runtime aborts instead
	return "whs_" + base64.RawURLEncoding.EncodeToString(raw)
}

type webhookRequest struct {
	ID string `param:"webhookId"`
}

func (s *Server) getWebhook(ctx context.Context, p *domain.Principal, req *webhookRequest) (api.WebhookEnvelope, error) {
	w, _, err := s.webhook(ctx, p, req.ID)
	return envelope(presentWebhook(&w)), err
}

// webhook finds the webhook that a path names.
func (s *Server) webhook(ctx context.Context, p *domain.Principal, text string) (domain.Webhook, AccountStore, error) {
	account, id, err := s.locateWebhook(p, text)
	if err != nil {
		return domain.Webhook{}, nil, err
	}
	w, err := account.Webhook(ctx, id)
	return w, account, err
}

func (s *Server) locateWebhook(p *domain.Principal, text string) (AccountStore, domain.ID, error) {
	account, err := s.webhookStore(p)
	if err != nil {
		return nil, domain.ID{}, err
	}
	id, err := domain.ParsePrefixed(domain.PrefixWebhook, text)
	if err != nil {
		return nil, domain.ID{}, domain.WebhookNotFound()
	}
	return account, id, nil
}

type replaceWebhookRequest struct {
	ID   string             `param:"webhookId"`
	Body api.ReplaceWebhook `in:"body"`
}

func (s *Server) replaceWebhook(ctx context.Context, p *domain.Principal, req *replaceWebhookRequest) (api.WebhookEnvelope, error) {
	b := &req.Body
	instance, err := parseInstance(deref(b.InstanceID))
	if err != nil {
		return api.WebhookEnvelope{}, err
	}
	events, _ := domain.ParseEvents(convert[string](b.Events)) // validated
	return s.changeWebhook(ctx, p, req.ID, domain.WebhookPatch{
		Name: new(deref(b.Name)), URL: &b.URL, InstanceID: &instance, Events: &events, Timeout: new(seconds(b.TimeoutSeconds)),
		Status: new(domain.WebhookStatus(b.Status)),
	})
}

type updateWebhookRequest struct {
	ID   string            `param:"webhookId"`
	Body api.UpdateWebhook `in:"body"`
}

func (s *Server) updateWebhook(ctx context.Context, p *domain.Principal, req *updateWebhookRequest) (api.WebhookEnvelope, error) {
	b := &req.Body
	patch := domain.WebhookPatch{Name: clearable(b.Name), URL: b.URL}
	if text := clearable(b.InstanceID); text != nil {
		instance, err := parseInstance(*text)
		if err != nil {
			return api.WebhookEnvelope{}, err
		}
		patch.InstanceID = &instance
	}
	if b.Events != nil {
		events, _ := domain.ParseEvents(convert[string](b.Events)) // validated
		patch.Events = &events
	}
	if b.TimeoutSeconds != nil {
		patch.Timeout = new(seconds(*b.TimeoutSeconds))
	}
	if b.Status != nil {
		patch.Status = new(domain.WebhookStatus(*b.Status))
	}
	return s.changeWebhook(ctx, p, req.ID, patch)
}

func (s *Server) changeWebhook(ctx context.Context, p *domain.Principal, text string, patch domain.WebhookPatch) (api.WebhookEnvelope, error) {
	account, id, err := s.locateWebhook(p, text)
	if err != nil {
		return api.WebhookEnvelope{}, err
	}
	if err = s.checkURL("url", deref(patch.URL)); err != nil {
		return api.WebhookEnvelope{}, err
	}
	w, err := account.UpdateWebhook(ctx, id, patch, 0, s.now())
	return envelope(presentWebhook(&w)), err
}

func (s *Server) deleteWebhook(ctx context.Context, p *domain.Principal, req *webhookRequest) (api.Acknowledgement, error) {
	account, id, err := s.locateWebhook(p, req.ID)
	if err != nil {
		return api.Acknowledgement{}, err
	}
	if err := account.DeleteWebhook(ctx, id); err != nil {
		return api.Acknowledgement{}, err
	}
	return acknowledge("Webhook deleted successfully"), nil
}

type rotateWebhookSecretRequest struct {
	ID   string                  `param:"webhookId"`
	Body api.RotateWebhookSecret `in:"optional-body"`
}

func (s *Server) rotateWebhookSecret(ctx context.Context, p *domain.Principal, req *rotateWebhookSecretRequest) (api.WebhookWithSecretEnvelope, error) {
	w, account, err := s.webhook(ctx, p, req.ID)
	if err != nil {
		return api.WebhookWithSecretEnvelope{}, err
	}
	now := s.now().UTC().Truncate(time.Millisecond)
	secret := s.sealNewSecret(&w, req.Body.Secret)
	w, err = account.RotateWebhookSecret(ctx, w.ID, domain.SecretRotation{
		Request: resourceID(ctx, now), Secret: w.Secret, Until: now.Add(req.Body.Overlap()), At: now,
	})
	return envelope(presentWebhookWithSecret(&w, secret)), err
}

type testWebhookRequest struct {
	ID   string          `param:"webhookId"`
	Body api.TestWebhook `in:"optional-body"`
}

func (s *Server) testWebhook(ctx context.Context, p *domain.Principal, req *testWebhookRequest) (api.WebhookTestEnvelope, error) {
	w, _, err := s.webhook(ctx, p, req.ID)
	if err != nil {
		return api.WebhookTestEnvelope{}, err
	}
	kind, _ := domain.ParseEvents([]string{string(req.Body.Event)}) // validated
	event := testEvent(&w, kind, s.now())
	attempt, err := s.deps.TryWebhook(ctx, &w, event)
	if err != nil {
		return api.WebhookTestEnvelope{}, err
	}
	result := api.WebhookTestResult{
		Status: api.WebhookTestResultStatusSuccess, StatusCode: statusCode(&attempt), ResponseTime: attempt.Took.Milliseconds(),
		Error: failureText(&attempt), Payload: presentEvent(event),
	}
	if attempt.Failure != "" {
		result.Status = api.WebhookTestResultStatusFailed
	}
	return envelope(result), nil
}

// parseInstance reads the instance that a webhook is for; "" is the zero id. What cannot name an instance of the
// account does not exist.
func parseInstance(text string) (domain.ID, error) {
	if text == "" {
		return domain.ID{}, nil
	}
	id, err := domain.ParsePrefixed(domain.PrefixInstance, text)
	if err != nil {
		return domain.ID{}, domain.InstanceNotFound()
	}
	return id, nil
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }
