package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/pombal-api/pombal/internal/domain"
)

var echoParam = regexp.MustCompile(`:(\w+)`)

// templatePath spells an Echo path as OpenAPI does: /things/:id is /things/{id}.
func templatePath(path string) string { return echoParam.ReplaceAllString(path, "{$1}") }

type probe struct {
	Status string `json:"status"`
}

// getLivez never looks at the database: restarting every node does not bring a database back.
func (s *Server) getLivez(c echo.Context, _ *route) error {
	return c.JSON(http.StatusOK, probe{"ok"})
}

// readyTimeout bounds how long a readiness probe waits for the database.
const readyTimeout = 2 * time.Second

func (s *Server) getReadyz(c echo.Context, _ *route) error {
	if s.draining.Load() {
		return &domain.Error{Code: domain.CodeUnavailable, RetryAfter: time.Second,
			Message: "This server is shutting down. Send requests to another one."}
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), readyTimeout)
	defer cancel()
	if err := s.deps.Ready(ctx); err != nil {
		return domain.Unavailable(err)
	}
	return c.JSON(http.StatusOK, probe{"ok"})
}

func (s *Server) getOpenAPIJSON(c echo.Context, _ *route) error {
	asJSON, err := s.spec.json()
	if err != nil {
		return fmt.Errorf("read openapi.yaml: %w", err)
	}
	return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, asJSON)
}

func (s *Server) getOpenAPIYAML(c echo.Context, _ *route) error {
	return c.Blob(http.StatusOK, "application/yaml", s.spec.yaml)
}

// jwksMaxAge is how long others may keep the key set. A new key is published longer than this before
// it signs.
const jwksMaxAge = "public, max-age=60"

func (s *Server) getJWKS(c echo.Context, _ *route) error {
	ctx := s.work(c)
	set, err := s.deps.Auth.JWKS(ctx)
	if err != nil {
		return err
	}
	c.Response().Header().Set(echo.HeaderCacheControl, jwksMaxAge)
	return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, set)
}

// getDocs serves the documentation page and its files.
func (s *Server) getDocs(c echo.Context, _ *route) error {
	if !s.docs.has(c.Request().URL.Path) {
		return echo.ErrNotFound
	}
	s.docs.ServeHTTP(c.Response(), c.Request())
	return nil
}
