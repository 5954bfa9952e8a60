package evolution

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/pombal-api/pombal/internal/domain"
)

// errUnauthorized is the page's answer to whoever may not list instances.
var errUnauthorized = domain.NewError(domain.CodeInvalidAPIKey, "Unauthorized")

// failure is the page's error envelope.
type failure struct {
	Error   bool   `json:"error"` // always true
	Message string `json:"message"`
}

const internalMessage = "Something went wrong on our side. Try again in a moment, and tell support the X-Request-Id of this answer if it happens again."

// classify returns the status of an error and what to tell the caller.
func classify(err error) (status int, e *domain.Error) {
	e, ok := errors.AsType[*domain.Error](err)
	if !ok && errors.Is(err, context.DeadlineExceeded) {
		e, ok = domain.Unavailable(err), true
	}
	if !ok {
		e = domain.NewError(domain.CodeInternal, internalMessage)
	}
	switch e.Code {
	case domain.CodeMissingAPIKey, domain.CodeInvalidAPIKey, domain.CodeExpiredAPIKey, domain.CodeInsufficient:
		return http.StatusUnauthorized, errUnauthorized // the page has one answer for "no key" and "no permission"
	case domain.CodeInvalidParameters:
		return http.StatusBadRequest, e
	case domain.CodeRateLimitExceeded:
		return http.StatusTooManyRequests, e
	case domain.CodeUnavailable:
		return http.StatusServiceUnavailable, e
	default: // nothing else can happen on these routes, so it is a bug
		return http.StatusInternalServerError, domain.NewError(domain.CodeInternal, internalMessage)
	}
}

// writeError answers with the page's envelope.
func (r *routes) writeError(c echo.Context, err error) error {
	status, e := classify(err)
	if status >= http.StatusInternalServerError {
		r.failed(c, err)
	}
	h := c.Response().Header()
	if e.RetryAfter > 0 {
		h.Set(echo.HeaderRetryAfter, strconv.Itoa(wholeSeconds(e.RetryAfter)))
	}
	h.Set(echo.HeaderCacheControl, "no-store")
	return c.JSON(status, failure{Error: true, Message: e.Message})
}

func (r *routes) failed(c echo.Context, err error) {
	if r.Failed != nil {
		r.Failed(c, err)
	}
}

func tooMany(d domain.RateDecision) error {
	return &domain.Error{
		Code: domain.CodeRateLimitExceeded, RetryAfter: d.RetryAfter,
		Message: "The limit of " + strconv.Itoa(d.Limit) + " requests per minute is used up. Try again in " +
			strconv.Itoa(wholeSeconds(d.RetryAfter)) + " seconds.",
	}
}

// wholeSeconds rounds up, because coming back early fails again.
func wholeSeconds(d time.Duration) int { return int(math.Ceil(d.Seconds())) }
