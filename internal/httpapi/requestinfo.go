package httpapi

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/pombal-api/pombal/internal/domain"
)

// requestInfo is what is known about the request in hand. It travels in Echo's context: one value,
// filled by the middleware on the way in and read by the access log on the way out.
type requestInfo struct {
	start           time.Time
	requestID       string // ours: req_…
	clientRequestID string // the caller's own, for the log only
	route           string // operation id; "" when no route matched
	principal       *domain.Principal
	buckets         []domain.RateBucket
	status          int // set when the status logged is not the status sent
	err             error

	patience time.Duration   // see route
	work     context.Context // see Server.work
	stopWork context.CancelFunc
}

// endWork ends what has been begun for the request.
func (in *requestInfo) endWork() {
	if in.stopWork != nil {
		in.stopWork()
	}
}

const infoKey = "pombal.request"

// infoOf returns the request's info. Every request has one: the first middleware makes it.
func infoOf(c echo.Context) *requestInfo {
	in, ok := c.Get(infoKey).(*requestInfo)
	if !ok {
		in = &requestInfo{start: time.Now()}
		c.Set(infoKey, in)
	}
	return in
}

// apiKeyPrefix begins every API key. One that is sent in the wrong header must not reach the log.
const apiKeyPrefix = "pmb_"

// maxClientRequestID bounds what of a caller's own X-Request-Id reaches the log.
const maxClientRequestID = 64

// begin is the outermost middleware: it makes the request's info and its id.
func (s *Server) begin(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		now := s.now()
		in := &requestInfo{start: now, requestID: domain.NewID(now).Prefixed(domain.PrefixRequest)}
		if id := c.Request().Header.Get(echo.HeaderXRequestID); isPlainToken(id) {
			in.clientRequestID = id
		}
		c.Set(infoKey, in)
		defer in.endWork()
		h := c.Response().Header()
		values := [...]string{in.requestID, "nosniff"}
		h[echo.HeaderXRequestID] = values[0:1:1]
		h[echo.HeaderXContentTypeOptions] = values[1:2:2]
		return next(c)
	}
}

// BaseURL returns how a client reaches the API, as far as its request tells: a proxy that ends TLS says so in a header.
// Any client may claim to be such a proxy, so the URL is for its own eyes only.
func BaseURL(r *http.Request) string {
	scheme := "http"
	forwarded, _, _ := strings.Cut(r.Header.Get(echo.HeaderXForwardedProto), ",") // what the first proxy says
	if r.TLS != nil || strings.EqualFold(strings.TrimSpace(forwarded), "https") {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}

// isPlainToken keeps anything that could forge log lines out of the log.
func isPlainToken(id string) bool {
	if id == "" || len(id) > maxClientRequestID || strings.HasPrefix(id, apiKeyPrefix) {
		return false
	}
	for i := range len(id) {
		c := id[i]
		plain := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.'
		if !plain {
			return false
		}
	}
	return true
}
