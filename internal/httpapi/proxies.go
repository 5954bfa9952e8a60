package httpapi

import (
	"context"
	"net/url"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/pkg/api"
)

func (s *Server) getInstanceProxy(ctx context.Context, p *domain.Principal, req *instanceRequest) (api.ProxyEnvelope, error) {
	account, id, err := s.locate(p, req.ID)
	if err != nil {
		return api.ProxyEnvelope{}, err
	}
	sealed, err := account.InstanceProxy(ctx, id)
	if err != nil || sealed == nil {
		return envelope(api.Proxy{}), err
	}
	address, err := s.deps.Seal.Open(sealed, domain.InstanceProxyPlace(p.Account.ID, id))
	if err != nil {
		return api.ProxyEnvelope{}, err
	}
	return presentProxy(string(address)), nil
}

type setInstanceProxyRequest struct {
	ID   string       `param:"instanceId"`
	Body api.SetProxy `in:"body"`
}

func (s *Server) setInstanceProxy(ctx context.Context, p *domain.Principal, req *setInstanceProxyRequest) (api.ProxyEnvelope, error) {
	account, id, err := s.locate(p, req.ID)
	if err != nil {
		return api.ProxyEnvelope{}, err
	}
	if err = s.deps.CheckProxyURL(req.Body.URL); err != nil {
		return api.ProxyEnvelope{}, domain.Invalid(domain.Detail{Field: "url", Code: "invalid_url", Message: err.Error()})
	}
	sealed := s.deps.Seal.Seal([]byte(req.Body.URL), domain.InstanceProxyPlace(p.Account.ID, id))
	if err = account.SetInstanceProxy(ctx, id, sealed); err != nil {
		return api.ProxyEnvelope{}, err
	}
	return presentProxy(req.Body.URL), nil
}

func (s *Server) removeInstanceProxy(ctx context.Context, p *domain.Principal, req *instanceRequest) (api.Acknowledgement, error) {
	account, id, err := s.locate(p, req.ID)
	if err != nil {
		return api.Acknowledgement{}, err
	}
	if err := account.SetInstanceProxy(ctx, id, nil); err != nil {
		return api.Acknowledgement{}, err
	}
	return acknowledge("Proxy removed successfully"), nil
}

// presentProxy shows an address without its password.
func presentProxy(address string) api.ProxyEnvelope {
	u, err := url.Parse(address)
	if err != nil {
		return envelope(api.Proxy{}) // it was checked before it was stored
	}
	return envelope(api.Proxy{URL: new(u.Redacted())})
}
