// Package evolution answers the routes of Evolution API, in the dialect that its documentation
// describes, as a translation onto Pombal's own instances. Callers authenticate with the header
// "apikey", which holds an account's API key or the token of one instance.
//
// What the page leaves open is decided so: an instance's own token is shown in clear to itself and to
// API keys that may make keys (keys:write); others see its first four characters and asterisks.
// Filters combine with AND, and what no instance can match gives an empty list. limit (1 to 1000) and
// offset page; without them the list is complete, and is streamed.
package evolution

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/pombal-api/pombal/internal/domain"
)

// AccountInstances reads the instances of one account, ordered by creation time, then id.
type AccountInstances interface {
	// EachInstance reads one page.
	EachInstance(ctx context.Context, f domain.InstanceFilter, p domain.PageRequest, each func(*domain.InstanceView) error) (domain.PageInfo, error)
	// StreamInstances reads all instances behind after (nil for the first) without holding more than
	// a few of them. It ends early with the error that each returns. An instance is valid only until
	// each returns.
	StreamInstances(ctx context.Context, f domain.InstanceFilter, after *domain.Cursor, each func(*domain.Instance) error) error
}

// Deps is what the routes work with.
type Deps struct {
	// Authenticate tells who presents the value of the header: an API key (the instance is nil then)
	// or the token of the one instance that the principal may see.
	Authenticate func(ctx context.Context, apikey string) (*domain.Principal, *domain.Instance, error)
	Accounts     func(domain.ID) (AccountInstances, error)
	// Token returns the token of an instance that has one.
	Token func(*domain.Instance) (string, error)
	// Limit counts one request of the caller.
	Limit func(context.Context, *domain.Principal) (domain.RateDecision, error)
	// ServerURL tells how clients reach the server that received the request, without a trailing slash.
	ServerURL func(*http.Request) string
	// Called is told who calls, as soon as that is known; nil for nobody who wants to know.
	Called func(echo.Context, *domain.Principal)
	// Failed is told why an answer, or a part of it, failed on our side; nil for nobody who wants to know.
	Failed func(echo.Context, error)
	// Timeout bounds each wait for the database; 0 for 10 s.
	Timeout time.Duration
}

const defaultTimeout = 10 * time.Second

// routes answers the routes.
type routes struct {
	Deps
	buffers sync.Pool // of *bytes.Buffer
}

// Register adds the routes to e. Clients of Evolution API often end paths with a slash, so both
// spellings are there.
func Register(e *echo.Echo, deps Deps) {
	if deps.Timeout <= 0 {
		deps.Timeout = defaultTimeout
	}
	r := &routes{Deps: deps}
	for _, slash := range []string{"", "/"} {
		e.Match([]string{http.MethodGet, http.MethodHead}, "/instance/fetchInstances"+slash, r.handle(r.fetchInstances))
	}
}

// caller is who asks, and what of the answer they may read in clear.
type caller struct {
	*domain.Principal
	tokens bool // may read the tokens of the instances that it sees
}

// handle authenticates and counts a request, before anything about it is looked at.
func (r *routes) handle(do func(echo.Context, caller) error) echo.HandlerFunc {
	return func(c echo.Context) error {
		who, err := r.admit(c)
		if err == nil {
			err = do(c, who)
		}
		if err == nil || errors.Is(err, errGone) {
			return err // nobody is there to read an answer
		}
		return r.writeError(c, err)
	}
}

// headerAPIKey is the header in the one spelling that net/http stores, whichever the client used.
const headerAPIKey = "Apikey"

// admit finds out who calls and whether they may. Work that has begun is finished although the client
// hangs up: a query that is cancelled half-way costs its database connection.
func (r *routes) admit(c echo.Context) (caller, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Request().Context()), r.Timeout)
	defer cancel()
	keys := c.Request().Header[headerAPIKey]
	if len(keys) != 1 || keys[0] == "" {
		return caller{}, errUnauthorized
	}
	p, own, err := r.Authenticate(ctx, keys[0])
	if err != nil {
		return caller{}, err
	}
	if r.Called != nil {
		r.Called(c, p)
	}
	if err := r.count(ctx, p); err != nil {
		return caller{}, err
	}
	if !p.Scopes.Has(domain.ScopeInstancesRead) {
		return caller{}, errUnauthorized
	}
	return caller{Principal: p, tokens: own != nil || p.Scopes.Has(domain.ScopeKeysWrite)}, nil
}

// count takes the request from the caller's limits.
func (r *routes) count(ctx context.Context, p *domain.Principal) error {
	d, err := r.Limit(ctx, p)
	if err == nil && !d.Allowed {
		err = tooMany(d)
	}
	return err
}
