package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/pombal-api/pombal/internal/domain"
)

// statusClientGone is logged, never sent: the client hung up before the answer was ready.
const statusClientGone = 499

// statuses is the only map from error codes to HTTP statuses.
var statuses = map[domain.Code]int{
	domain.CodeInvalidParameters:     http.StatusBadRequest,
	domain.CodeInvalidWebhookURL:     http.StatusBadRequest,
	domain.CodeInvalidPhoneNumber:    http.StatusBadRequest,
	domain.CodeMissingAPIKey:         http.StatusUnauthorized,
	domain.CodeInvalidAPIKey:         http.StatusUnauthorized,
	domain.CodeExpiredAPIKey:         http.StatusUnauthorized,
	domain.CodeInsufficient:          http.StatusForbidden,
	domain.CodeNotFound:              http.StatusNotFound,
	domain.CodeInstanceNotFound:      http.StatusNotFound,
	domain.CodeAPIKeyNotFound:        http.StatusNotFound,
	domain.CodeAccountNotFound:       http.StatusNotFound,
	domain.CodeWebhookNotFound:       http.StatusNotFound,
	domain.CodeDeliveryNotFound:      http.StatusNotFound,
	domain.CodeEventNotFound:         http.StatusNotFound,
	domain.CodeWebhookLimitReached:   http.StatusConflict,
	domain.CodeWebhookOfInstance:     http.StatusConflict,
	domain.CodeWebhookDisabled:       http.StatusConflict,
	domain.CodeMethodNotAllowed:      http.StatusMethodNotAllowed,
	domain.CodeInstanceLimitReached:  http.StatusConflict,
	domain.CodeExternalIDInUse:       http.StatusConflict,
	domain.CodeAlreadyConnected:      http.StatusConflict,
	domain.CodeInstanceNotConnected:  http.StatusConflict,
	domain.CodeOfficialAPIInstance:   http.StatusConflict,
	domain.CodePreconditionFailed:    http.StatusPreconditionFailed,
	domain.CodeIdempotencyInProgress: http.StatusConflict,
	domain.CodeIdempotencyKeyReused:  http.StatusUnprocessableEntity,
	domain.CodePayloadTooLarge:       http.StatusRequestEntityTooLarge,
	domain.CodeUnsupportedMediaType:  http.StatusUnsupportedMediaType,
	domain.CodeRateLimitExceeded:     http.StatusTooManyRequests,
	domain.CodeInternal:              http.StatusInternalServerError,
	domain.CodeUnavailable:           http.StatusServiceUnavailable,
}

// errorBody is the error envelope of the contract.
type errorBody struct {
	Success bool        `json:"success"`
	Error   errorObject `json:"error"`
}

type errorObject struct {
	Code       domain.Code   `json:"code"`
	Message    string        `json:"message"`
	RequestID  string        `json:"requestId"`
	Details    []errorDetail `json:"details,omitempty"`
	RetryAfter int           `json:"retryAfter,omitempty"` // whole seconds
}

type errorDetail struct {
	Field   string `json:"field"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// classify turns any error into the one that the caller sees, and its HTTP status.
func classify(err error) (int, *domain.Error) {
	if e, ok := errors.AsType[*domain.Error](err); ok {
		if status, known := statuses[e.Code]; known {
			return status, e
		}
		return http.StatusInternalServerError, internal(err)
	}
	if e, ok := errors.AsType[*echo.HTTPError](err); ok {
		return classifyEcho(e)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return http.StatusServiceUnavailable, domain.Unavailable(err)
	}
	return http.StatusInternalServerError, internal(err)
}

// classifyEcho names the errors that Echo's router makes.
func classifyEcho(e *echo.HTTPError) (int, *domain.Error) {
	switch e.Code {
	case http.StatusNotFound:
		return e.Code, domain.NewError(domain.CodeNotFound,
			"There is no such route. The routes are listed in /openapi.json and explained at /docs.")
	case http.StatusMethodNotAllowed:
		return e.Code, domain.NewError(domain.CodeMethodNotAllowed,
			"This route does not take that method. The Allow header lists those it takes.")
	}
	return http.StatusInternalServerError, internal(e)
}

func internal(err error) *domain.Error {
	return &domain.Error{
		Code:    domain.CodeInternal,
		Message: "Something went wrong on our side. Try again, and tell support the requestId if it happens again.",
		Err:     err,
	}
}

// handleError is Echo's error handler: the only place that writes an error body.
func (s *Server) handleError(err error, c echo.Context) {
	if c.Response().Committed {
		return // too late to answer: the access log has the cause
	}
	status, e := classify(err)
	in := infoOf(c)
	in.err = err
	if c.Request().Context().Err() != nil && errors.Is(err, context.Canceled) {
		in.status = statusClientGone
		return
	}
	if status == http.StatusInternalServerError || status > http.StatusInternalServerError && e.Err != nil { // draining has no cause
		s.log.LogAttrs(c.Request().Context(), slog.LevelError, "request failed",
			slog.String("requestId", in.requestID), slog.String("route", in.route), slog.String("error", err.Error()))
	}
	if err := writeError(c, status, e, in.requestID); err != nil {
		in.err = errors.Join(in.err, err)
	}
}

// writeError sends the envelope.
func writeError(c echo.Context, status int, e *domain.Error, requestID string) error {
	body := errorBody{Error: errorObject{Code: e.Code, Message: e.Message, RequestID: requestID}}
	for _, d := range e.Details {
		body.Error.Details = append(body.Error.Details, errorDetail(d))
	}
	h := c.Response().Header()
	if e.RetryAfter > 0 {
		body.Error.RetryAfter = wholeSeconds(e.RetryAfter)
		h.Set(echo.HeaderRetryAfter, strconv.Itoa(body.Error.RetryAfter))
	}
	if status == http.StatusUnauthorized {
		h.Set(echo.HeaderWWWAuthenticate, `Bearer realm="pombal"`)
	}
	h.Set(echo.HeaderCacheControl, "no-store")
	h.Del("ETag")
	buf, err := encode(body)
	if err != nil {
		return err
	}
	return c.JSONBlob(status, buf)
}

// wholeSeconds rounds up, because coming back early fails again.
func wholeSeconds(d time.Duration) int { return int(math.Ceil(d.Seconds())) }
