package httpapi

import (
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"

	"github.com/pombal-api/pombal/internal/domain"
)

const headerAccountID = "X-Account-Id"

// authenticate finds out who calls, whether they have a request left, and whether they may do this.
// In this order: limits need a caller, and a caller who may not do a thing still pays for asking.
func (s *Server) authenticate(c echo.Context, rt *route) error {
	p, err := s.principal(c, rt)
	if err != nil {
		return err
	}
	infoOf(c).principal = p
	if err := s.allowOrigin(c, p); err != nil {
		return err
	}
	if err := s.takeLimit(c, rt, p); err != nil {
		return err
	}
	if rt.access == keyOnly && p.ViaToken() {
		return domain.NewError(domain.CodeInsufficient, "A token cannot do this. Use the API key itself, from your back end.")
	}
	return p.Require(rt.scope)
}

// principal reads the Authorization and X-Account-Id headers.
func (s *Server) principal(c echo.Context, rt *route) (*domain.Principal, error) {
	ctx, cancel := s.detach(c)
	defer cancel()
	h := c.Request().Header
	credential, err := s.deps.Auth.Credential(h[echo.HeaderAuthorization])
	if err != nil {
		return nil, err
	}
	p, err := s.deps.Auth.Bearer(ctx, credential)
	if err != nil {
		return nil, err
	}
	switch accounts := h[http.CanonicalHeaderKey(headerAccountID)]; len(accounts) {
	case 0:
		return p, nil
	case 1:
		return s.deps.Auth.OnBehalf(ctx, p, accounts[0], rt.acrossChildren)
	default:
		return nil, domain.Invalid(domain.Detail{Field: headerAccountID, Code: "repeated",
			Message: "This header is there more than once. Send it once."})
	}
}

// allowOrigin applies the browser rules that depend on the caller: a token may be bound to an origin,
// and an account lists the origins whose pages may read its answers.
func (s *Server) allowOrigin(c echo.Context, p *domain.Principal) error {
	origin := c.Request().Header.Get(echo.HeaderOrigin)
	if origin == "" {
		return nil
	}
	if p.Origin != "" && p.Origin != origin {
		return domain.NewError(domain.CodeInsufficient,
			"This token was made for another origin. Make one for the origin of this page.")
	}
	if slices.Contains(p.Account.AllowedOrigins, origin) {
		c.Response().Header().Set(echo.HeaderAccessControlAllowOrigin, origin)
	}
	return nil
}
