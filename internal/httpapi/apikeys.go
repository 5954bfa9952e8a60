package httpapi

import (
	"context"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/pkg/api"
)

type listAPIKeysRequest struct {
	Query api.ListAPIKeysParams `in:"query"`
}

func (s *Server) listAPIKeys(ctx context.Context, p *domain.Principal, req *listAPIKeysRequest) (listed[api.APIKey], error) {
	account, err := s.deps.Accounts(p.Account.ID)
	if err != nil {
		return listed[api.APIKey]{}, err
	}
	q := req.Query
	list := listing{limit: q.Limit, offset: q.Offset, cursor: deref(q.Cursor), scope: listScope("api-keys", p)}
	now := s.now()
	return page(ctx, s, list, account.APIKeys, func(k *domain.APIKey) api.APIKey { return presentAPIKey(k, now) })
}

type createAPIKeyRequest struct {
	Body api.CreateAPIKey `in:"body"`
}

func (s *Server) createAPIKey(ctx context.Context, p *domain.Principal, req *createAPIKeyRequest) (answer[api.Envelope[api.APIKeyWithSecret]], error) {
	var none answer[api.Envelope[api.APIKeyWithSecret]]
	key, err := s.newAPIKey(ctx, p, &req.Body)
	if err != nil {
		return none, err
	}
	secret := s.deps.NewAPIKey()
	key.Lookup, key.LastFour, key.Digest = secret.Lookup, secret.LastFour, secret.Digest
	account, err := s.deps.Accounts(p.Account.ID)
	if err != nil {
		return none, err
	}
	if err := account.CreateAPIKey(ctx, key); err != nil {
		return none, err
	}
	s.deps.Auth.Forget(p.Account.ID)
	return answer[api.Envelope[api.APIKeyWithSecret]]{body: envelope(presentAPIKeyWithSecret(key, secret.Plain, s.now()))}, nil
}

// newAPIKey builds the key that a request asks for. Nobody can hand out more than they hold.
func (s *Server) newAPIKey(ctx context.Context, p *domain.Principal, body *api.CreateAPIKey) (*domain.APIKey, error) {
	now := s.now().UTC().Truncate(time.Millisecond)
	key := &domain.APIKey{ID: resourceID(ctx, now), AccountID: p.Account.ID, Name: body.Name, CreatedAt: now}
	key.Scopes, _ = domain.ParseScopes(convert[string](body.Scopes)) // validated
	if err := p.Require(key.Scopes); err != nil {
		return nil, err
	}
	var err error
	if key.Instances, err = parseInstanceIDs("instanceIds", body.InstanceIDs); err != nil {
		return nil, err
	}
	if key.Instances, err = s.narrowInstances(ctx, p, key.Instances); err != nil {
		return nil, err
	}
	if body.ExpiresAt != nil {
		key.ExpiresAt = body.ExpiresAt.UTC().Truncate(time.Millisecond)
		if !key.ExpiresAt.After(now) {
			return nil, domain.Invalid(domain.Detail{Field: "expiresAt", Code: "out_of_range", Message: "Send a time in the future."})
		}
	}
	return key, nil
}

// narrowInstances checks that a new credential's instances exist and are the caller's to give. A
// restricted caller's own list is what it gives when it names none.
func (s *Server) narrowInstances(ctx context.Context, p *domain.Principal, ids []domain.ID) ([]domain.ID, error) {
	if ids == nil {
		return p.Instances, nil
	}
	account, err := s.deps.Accounts(p.Account.ID)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		if !p.MaySee(id) {
			return nil, domain.InstanceNotFound()
		}
	}
	ignore := func(*domain.InstanceView) error { return nil }
	info, err := account.EachInstance(ctx, domain.InstanceFilter{IDs: ids}, domain.PageRequest{Limit: 1}, ignore)
	if err != nil {
		return nil, err
	}
	if info.Total != int64(len(ids)) {
		return nil, domain.InstanceNotFound()
	}
	return ids, nil
}

type apiKeyRequest struct {
	ID string `param:"keyId"`
}

func (s *Server) revokeAPIKey(ctx context.Context, p *domain.Principal, req *apiKeyRequest) (api.Acknowledgement, error) {
	account, id, err := s.locateAPIKey(p, req.ID)
	if err != nil {
		return api.Acknowledgement{}, err
	}
	if err := account.RevokeAPIKey(ctx, id, s.now()); err != nil {
		return api.Acknowledgement{}, err
	}
	s.deps.Auth.Forget(p.Account.ID)
	return acknowledge("API key revoked successfully"), nil
}

type rotateAPIKeyRequest struct {
	ID   string           `param:"keyId"`
	Body api.RotateAPIKey `in:"optional-body"`
}

func (s *Server) rotateAPIKey(ctx context.Context, p *domain.Principal, req *rotateAPIKeyRequest) (answer[api.Envelope[api.APIKeyWithSecret]], error) {
	var none answer[api.Envelope[api.APIKeyWithSecret]]
	account, id, err := s.locateAPIKey(p, req.ID)
	if err != nil {
		return none, err
	}
	secret := s.deps.NewAPIKey()
	now := s.now().UTC().Truncate(time.Millisecond)
	key, err := account.RotateAPIKey(ctx, id, domain.KeyRotation{
		Request: resourceID(ctx, now), Lookup: secret.Lookup, LastFour: secret.LastFour, Digest: secret.Digest,
		Overlap: req.Body.Overlap(), RotatedAt: now,
	})
	if err != nil {
		return none, err
	}
	s.deps.Auth.Forget(p.Account.ID)
	return answer[api.Envelope[api.APIKeyWithSecret]]{body: envelope(presentAPIKeyWithSecret(&key, secret.Plain, now))}, nil
}

func (s *Server) locateAPIKey(p *domain.Principal, text string) (AccountStore, domain.ID, error) {
	id, err := domain.ParsePrefixed(domain.PrefixAPIKey, text)
	if err != nil {
		return nil, domain.ID{}, domain.APIKeyNotFound()
	}
	account, err := s.deps.Accounts(p.Account.ID)
	return account, id, err
}

type createTokenRequest struct {
	Body api.CreateToken `in:"body"`
}

func (s *Server) createToken(ctx context.Context, p *domain.Principal, req *createTokenRequest) (api.Envelope[api.Token], error) {
	b := &req.Body
	scopes, _ := domain.ParseScopes(convert[string](b.Scopes)) // validated
	ids, err := parseInstanceIDs("instanceIds", b.InstanceIDs)
	if err != nil {
		return api.Envelope[api.Token]{}, err
	}
	if ids, err = s.narrowInstances(ctx, p, ids); err != nil {
		return api.Envelope[api.Token]{}, err
	}
	grant, err := s.deps.Auth.Mint(ctx, p, domain.TokenRequest{
		Scopes: scopes, Instances: ids, Lifetime: time.Duration(b.ExpiresIn) * time.Second, Origin: deref(b.Origin),
	})
	if err != nil {
		return api.Envelope[api.Token]{}, err
	}
	return envelope(api.Token{
		Token: grant.Token, TokenType: "Bearer", ExpiresAt: presentTime(grant.ExpiresAt),
		Scopes: convert[api.Scope](grant.Scopes.Names()), InstanceIDs: presentIDs(grant.Instances),
	}), nil
}
