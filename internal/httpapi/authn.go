package httpapi

import (
	"context"
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"

	"github.com/pombal-api/pombal/internal/domain"
)

const headerAccountID = "X-Account-Id"

// authenticate finds out who calls, whether they have a request left, and whether they may do this.
// In this order: limits need a caller, and a caller who may not do a thing still pays for asking.
func (s *Server) authenticate(c echo.Context, rt *route) error {
	ctx := s.work(c)
	caller, err := s.caller(ctx, c)
	if err != nil {
		return err
	}
	p, refused := s.onBehalf(ctx, c, rt, caller)
	if refused != nil {
		p = caller
	}
	infoOf(c).principal = p
	if err := s.allowOrigin(c, p); err != nil {
		return err
	}
	if err := s.takeLimit(c, rt, p); err != nil {
		return err
	}
	if refused != nil {
		return refused
	}
	if rt.access == keyOnly && p.ViaToken() {
		return domain.NewError(domain.CodeInsufficient, "A token cannot do this. Use the API key itself, from your back end.")
	}
	return p.Require(rt.scope)
}

// caller reads the Authorization header.
func (s *Server) caller(ctx context.Context, c echo.Context) (*domain.Principal, error) {
	credential, err := s.deps.Auth.Credential(c.Request().Header[echo.HeaderAuthorization])
	if err != nil {
		return nil, err
	}
	return s.deps.Auth.Bearer(ctx, credential)
}

// onBehalf applies the X-Account-Id header. An empty one is refused: taken for none, a program that
// lost the id of a customer would act on the partner's own account instead.
func (s *Server) onBehalf(ctx context.Context, c echo.Context, rt *route, caller *domain.Principal) (*domain.Principal, error) {
	accounts := c.Request().Header[http.CanonicalHeaderKey(headerAccountID)]
	invalid := func(code, message string) (*domain.Principal, error) {
		return nil, domain.Invalid(domain.Detail{Field: headerAccountID, Code: code, Message: message})
	}
	switch {
	case len(accounts) == 0:
		return caller, nil
	case rt.ownAccount:
		return invalid("not_allowed", "This call takes no such header. Leave it out.")
	case len(accounts) > 1:
		return invalid("repeated", "This header is there more than once. Send it once.")
	case accounts[0] == "":
		return invalid("empty", "This header is empty. Send the id of a child account, or leave it out to act on your own.")
	}
	return s.deps.Auth.OnBehalf(ctx, caller, accounts[0], rt.acrossChildren)
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
