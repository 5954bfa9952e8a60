package app

import (
	"cmp"
	"context"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/evolution"
	"github.com/pombal-api/pombal/internal/httpapi"
)

// evolutionDeps wires the Evolution-compatible routes. They run inside the API's middleware, which
// exists only after they are mounted; hence the function.
func (a *App) evolutionDeps(api func() *httpapi.Server) evolution.Deps {
	c := a.core
	return evolution.Deps{
		Authenticate: c.auth.APIKeyHeader,
		Accounts:     func(id domain.ID) (evolution.AccountInstances, error) { return c.store.Account(id) },
		Token: func(in *domain.Instance) (string, error) {
			token, err := c.sealer.Open(in.TokenSealed, domain.InstanceTokenPlace(in.AccountID, in.ID))
			return string(token), err
		},
		Limit: func(ctx context.Context, p *domain.Principal) (domain.RateDecision, error) {
			return api().CountInstanceCall(ctx, p)
		},
		ServerURL: func(r *http.Request) string {
			return cmp.Or(a.cfg.PublicURL, httpapi.BaseURL(r))
		},
		Called:  func(e echo.Context, p *domain.Principal) { httpapi.IdentifyCaller(e, "fetchInstances", p) },
		Failed:  httpapi.NoteFailure,
		Timeout: a.cfg.RequestTimeout,
	}
}
