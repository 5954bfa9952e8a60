package httpapi

import (
	"context"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/pkg/api"
)

type createInstanceRequest struct {
	Body api.CreateInstance `in:"body"`
}

func (s *Server) createInstance(ctx context.Context, p *domain.Principal, req *createInstanceRequest) (answer[api.InstanceEnvelope], error) {
	var none answer[api.InstanceEnvelope]
	if p.Restricted() {
		return none, domain.NewError(domain.CodeInsufficient,
			"This "+p.Credential()+" is restricted to certain instances, so it cannot create another one. Use a key without that restriction.")
	}
	in, err := s.newInstance(ctx, p, &req.Body)
	if err != nil {
		return none, err
	}
	account, err := s.deps.Accounts(p.Account.ID)
	if err != nil {
		return none, err
	}
	if err := account.CreateInstance(ctx, in, s.planOf(&p.Account).MaxInstances); err != nil {
		return none, err
	}
	out := instanceAnswer(in)
	out.location = "/v1/instances/" + out.body.Data.ID
	return out, nil
}

// newInstance builds the instance that a request asks for, with a token of its own.
func (s *Server) newInstance(ctx context.Context, p *domain.Principal, body *api.CreateInstance) (*domain.Instance, error) {
	now := s.now().UTC().Truncate(time.Millisecond)
	settings := body.Settings.WithDefaults()
	events, _ := domain.ParseEvents(convert[string](body.WebhookEvents)) // validated
	in := &domain.Instance{
		AccountID: p.Account.ID, PartnerID: p.Account.ParentID, ID: resourceID(ctx, now),
		Name: body.Name, ExternalID: deref(body.ExternalID), Integration: domain.Integration(body.Integration),
		Desired: domain.DesiredDisconnected, Status: domain.StatusDisconnected, Reason: domain.ReasonNeverConnected,
		WebhookURL: deref(body.WebhookURL), WebhookEvents: events,
		AutoRead: settings.AutoRead, AutoTyping: settings.AutoTyping,
		CreatedAt: now, UpdatedAt: now, Version: 1,
	}
	if err := s.checkURL("webhookUrl", in.WebhookURL); err != nil {
		return nil, err
	}
	if in.WebhookURL != "" {
		in.OwnWebhook = s.newOwnWebhook(p, now)
	}
	token, digest := s.deps.NewInstanceToken()
	in.TokenDigest = digest
	in.TokenSealed = s.deps.Seal.Seal([]byte(token), domain.InstanceTokenPlace(in.AccountID, in.ID))
	return in, nil
}

// newOwnWebhook prepares what becomes an instance's own webhook. Its secret is nobody's until it is rotated.
func (s *Server) newOwnWebhook(p *domain.Principal, now time.Time) *domain.Webhook {
	w := &domain.Webhook{AccountID: p.Account.ID, ID: domain.NewID(now)}
	s.sealNewSecret(w, nil)
	return w
}

// checkURL refuses a URL that no event may be sent to. "" is none.
func (s *Server) checkURL(field, url string) error {
	if url == "" {
		return nil
	}
	if err := s.deps.CheckWebhookURL(url); err != nil {
		return &domain.Error{Code: domain.CodeInvalidWebhookURL, Err: err,
			Message: "The " + field + " cannot be used: " + err.Error() + " Send a public http or https address.",
			Details: []domain.Detail{{Field: field, Code: "invalid", Message: err.Error()}}}
	}
	return nil
}

type instanceRequest struct {
	ID string `param:"instanceId"`
}

func (s *Server) getInstance(ctx context.Context, p *domain.Principal, req *instanceRequest) (answer[api.InstanceEnvelope], error) {
	in, _, err := s.instance(ctx, p, req.ID)
	if err != nil {
		return answer[api.InstanceEnvelope]{}, err
	}
	return instanceAnswer(&in), nil
}

// instance finds the instance that a path names. Whatever the caller may not see does not exist.
func (s *Server) instance(ctx context.Context, p *domain.Principal, text string) (domain.Instance, AccountStore, error) {
	account, id, err := s.locate(p, text)
	if err != nil {
		return domain.Instance{}, nil, err
	}
	in, err := account.Instance(ctx, id)
	return in, account, err
}

func (s *Server) locate(p *domain.Principal, text string) (AccountStore, domain.ID, error) {
	id, err := domain.ParsePrefixed(domain.PrefixInstance, text)
	if err != nil || !p.MaySee(id) {
		return nil, domain.ID{}, domain.InstanceNotFound()
	}
	account, err := s.deps.Accounts(p.Account.ID)
	return account, id, err
}

func instanceAnswer(in *domain.Instance) answer[api.InstanceEnvelope] {
	return answer[api.InstanceEnvelope]{body: envelope(presentInstance(in)), etag: versionTag(in.Version)}
}

type updateInstanceRequest struct {
	ID    string             `param:"instanceId"`
	Match string             `header:"If-Match"`
	Body  api.UpdateInstance `in:"body"`
}

func (s *Server) updateInstance(ctx context.Context, p *domain.Principal, req *updateInstanceRequest) (answer[api.InstanceEnvelope], error) {
	var none answer[api.InstanceEnvelope]
	account, id, err := s.locate(p, req.ID)
	if err != nil {
		return none, err
	}
	patch := instancePatch(&req.Body)
	if err = s.checkURL("webhookUrl", deref(patch.WebhookURL)); err != nil {
		return none, err
	}
	version, err := ifMatch(req.Match)
	if err != nil {
		if _, missing := account.Instance(ctx, id); missing != nil {
			return none, missing
		}
		return none, err
	}
	if deref(patch.WebhookURL) != "" {
		patch.OwnWebhook = s.newOwnWebhook(p, s.now())
	}
	in, err := account.UpdateInstance(ctx, id, patch, version, s.now())
	if err != nil {
		return none, err
	}
	return instanceAnswer(&in), nil
}

func instancePatch(body *api.UpdateInstance) domain.InstancePatch {
	patch := domain.InstancePatch{
		Name: body.Name, ExternalID: clearable(body.ExternalID), WebhookURL: clearable(body.WebhookURL),
	}
	if body.Settings != nil {
		patch.AutoRead, patch.AutoTyping = body.Settings.AutoRead, body.Settings.AutoTyping
	}
	if body.WebhookEvents != nil {
		events, _ := domain.ParseEvents(convert[string](body.WebhookEvents)) // validated
		patch.WebhookEvents = &events
	}
	return patch
}

// clearable turns absent, null and a value into nil, "" and the value.
func clearable(p api.Patch[string]) *string {
	if p.IsZero() {
		return nil
	}
	value, _ := p.Get()
	return &value
}

type deleteInstanceRequest struct {
	ID    string `param:"instanceId"`
	Match string `header:"If-Match"`
}

func (s *Server) deleteInstance(ctx context.Context, p *domain.Principal, req *deleteInstanceRequest) (api.Acknowledgement, error) {
	account, id, err := s.locate(p, req.ID)
	if err != nil {
		return api.Acknowledgement{}, err
	}
	version, err := ifMatch(req.Match)
	if err != nil {
		if _, missing := account.Instance(ctx, id); missing != nil {
			return api.Acknowledgement{}, missing
		}
		return api.Acknowledgement{}, err
	}
	if err := s.deps.Connections.Remove(ctx, p.Account.ID, id, version); err != nil {
		return api.Acknowledgement{}, err
	}
	return acknowledge("Instance deleted successfully"), nil
}
