package httpapi

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
)

// What browsers may send and read. Credentials (cookies) are never allowed: a Bearer is all we take.
var (
	corsMethods = strings.Join([]string{http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodPut, http.MethodDelete}, ", ")
	corsHeaders = strings.Join([]string{"Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match", "Last-Event-ID",
		"X-Account-Id", "X-Request-Id", "apikey"}, ", ")
	corsExposed = strings.Join([]string{"X-Request-Id", "ETag", "Location", "Retry-After", "RateLimit", "RateLimit-Policy",
		"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "Idempotent-Replayed"}, ", ")
)

// cors answers preflights and marks answers that pages of an allowed origin may read. A preflight
// carries no credential, so it is answered for every origin that the operator or any account lists;
// the answer itself is readable only for the operator's origins and those of the caller's account.
func (s *Server) cors(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r, h := c.Request(), c.Response().Header()
		origin := r.Header.Get(echo.HeaderOrigin)
		h.Add(echo.HeaderVary, echo.HeaderOrigin)
		if origin == "" {
			return next(c)
		}
		preflight := r.Method == http.MethodOptions && r.Header.Get(echo.HeaderAccessControlRequestMethod) != ""
		if !preflight {
			h.Set(echo.HeaderAccessControlExposeHeaders, corsExposed)
			if s.origins.everywhere(origin) {
				h.Set(echo.HeaderAccessControlAllowOrigin, origin)
			}
			return next(c)
		}
		infoOf(c).route = "preflight"
		ctx := s.work(c)
		allowed, err := s.origins.somewhere(ctx, origin)
		if err != nil {
			return err
		}
		if allowed {
			h.Set(echo.HeaderAccessControlAllowOrigin, origin)
			h.Set(echo.HeaderAccessControlAllowMethods, corsMethods)
			h.Set(echo.HeaderAccessControlAllowHeaders, corsHeaders)
			h.Set(echo.HeaderAccessControlMaxAge, "600")
		}
		return c.NoContent(http.StatusNoContent)
	}
}

// originCacheSize and maxOrigin, the longest that an account can list, bound what strangers can make us
// remember; originCacheFor is how long a change of an account's list may take to reach preflights.
const (
	originCacheSize = 10_000
	maxOrigin       = 255
	originCacheFor  = 30 * time.Second
)

// originCache remembers which origins some account lists.
type originCache struct {
	static []string
	source OriginChecker
	now    func() time.Time

	mu    sync.Mutex
	known map[string]originEntry
}

type originEntry struct {
	allowed bool
	until   time.Time
}

func newOriginCache(static []string, source OriginChecker, now func() time.Time) *originCache {
	return &originCache{static: static, source: source, now: now, known: map[string]originEntry{}}
}

// everywhere reports whether the operator allows origin for all accounts.
func (o *originCache) everywhere(origin string) bool {
	return slices.Contains(o.static, origin) || slices.Contains(o.static, "*")
}

// somewhere reports whether the operator or any account allows origin.
func (o *originCache) somewhere(ctx context.Context, origin string) (bool, error) {
	if o.everywhere(origin) {
		return true, nil
	}
	if len(origin) > maxOrigin {
		return false, nil
	}
	o.mu.Lock()
	e, ok := o.known[origin]
	o.mu.Unlock()
	if ok && o.now().Before(e.until) {
		return e.allowed, nil
	}
	allowed, err := o.source.OriginAllowed(ctx, origin)
	if err != nil {
		return false, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.known) >= originCacheSize {
		clear(o.known)
	}
	o.known[origin] = originEntry{allowed: allowed, until: o.now().Add(originCacheFor)}
	return allowed, nil
}
