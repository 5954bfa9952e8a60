package httpapi

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-playground/validator/v10"
	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"github.com/pombal-api/pombal/internal/domain"
)

// Server answers the API. It is an http.Handler; listening is the caller's business.
type Server struct {
	cfg      Config
	deps     Deps
	log      *slog.Logger
	now      func() time.Time
	echo     *echo.Echo
	validate *validator.Validate
	metrics  *metrics
	origins  *originCache
	spec     specFiles
	docs     docsFiles
	hub      *eventHub
	draining atomic.Bool
	drained  chan struct{} // closed when draining begins
	drain    sync.Once

	cursorMACs sync.Pool // of *macState
}

// New builds the API. It fails on a contract that cannot be read and on metrics registered twice.
func New(cfg Config, deps Deps) (*Server, error) {
	validate, err := newValidator()
	if err != nil {
		return nil, fmt.Errorf("set up validation: %w", err)
	}
	m, err := newMetrics(deps.Metrics)
	if err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	s := &Server{
		cfg: cfg, deps: deps, log: deps.Log, now: deps.Now, validate: validate, metrics: m, spec: newSpecFiles(cfg.OpenAPI), docs: docsHandler(),
		origins: newOriginCache(cfg.AllowedOrigins, deps.Origins, deps.Now), hub: newEventHub(&deps, cfg.AccountStreams), drained: make(chan struct{}),
	}
	s.echo = s.newEcho()
	return s, nil
}

func (s *Server) newEcho() *echo.Echo {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.HTTPErrorHandler = s.handleError
	// What a client claims about its address in a header is not evidence.
	e.IPExtractor = echo.ExtractIPDirect()
	e.Use(s.begin, s.observe, s.recoverPanics(), s.cors)
	for _, rt := range s.routes() {
		e.Add(rt.method, rt.path, s.serve(rt))
		if rt.method == http.MethodGet { // net/http leaves the body out
			e.Add(http.MethodHead, rt.path, s.serve(rt))
		}
	}
	// Echo would take "inbound" for the id of a webhook where its own route has no such method.
	for _, method := range []string{http.MethodPut, http.MethodPatch, http.MethodDelete} {
		e.Add(method, "/v1/webhooks/inbound", func(c echo.Context) error {
			c.Response().Header().Set(echo.HeaderAllow, "OPTIONS, GET, HEAD, POST")
			return echo.ErrMethodNotAllowed
		})
	}
	files := route{id: "getDocs", do: s.getDocs}
	for _, path := range []string{"/docs/", "/docs/assets/*"} {
		e.Match([]string{http.MethodGet, http.MethodHead}, path, s.serve(files))
	}
	for _, mount := range s.deps.Mount {
		mount(e)
	}
	return e
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.echo.ServeHTTP(w, r) }

// Drain makes /readyz fail from now on, so that load balancers stop sending requests here, and ends the streams,
// whose clients then go elsewhere.
func (s *Server) Drain() {
	s.draining.Store(true)
	s.drain.Do(func() { close(s.drained) })
}

// Run tells streams what is new until ctx ends. It returns nil.
func (s *Server) Run(ctx context.Context) error {
	s.hub.run(ctx)
	return nil
}

// EventsChanged hints that there are new events. It never blocks.
func (s *Server) EventsChanged() { s.hub.ring() }

// recoverPanics turns a panic into a 500 with its stack in the log.
func (s *Server) recoverPanics() echo.MiddlewareFunc {
	return middleware.RecoverWithConfig(middleware.RecoverConfig{
		LogErrorFunc: func(c echo.Context, err error, stack []byte) error {
			s.log.LogAttrs(c.Request().Context(), slog.LevelError, "handler panicked",
				slog.String("requestId", infoOf(c).requestID), slog.String("error", err.Error()), slog.String("stack", string(stack)))
			return err
		},
	})
}

// serve runs what every route of ours goes through before its own work.
func (s *Server) serve(rt route) echo.HandlerFunc {
	return func(c echo.Context) error {
		in := infoOf(c)
		in.route, in.patience = rt.id, rt.patience
		if rt.access == public {
			return rt.do(c, &rt)
		}
		if err := s.authenticate(c, &rt); err != nil {
			return err
		}
		return rt.do(c, &rt)
	}
}

// work returns a context that outlives the client's connection, with our own time limit for the whole
// request. Work that has begun is finished and recorded whether or not somebody still listens; and a
// query that is cancelled half-way costs its database connection, so that impatient clients could drain
// the pool.
func (s *Server) work(c echo.Context) context.Context {
	in := infoOf(c)
	if in.work == nil {
		in.work, in.stopWork = context.WithTimeout(context.WithoutCancel(c.Request().Context()), s.cfg.RequestTimeout+in.patience)
	}
	return in.work
}

// planOf returns the plan of an account.
func (s *Server) planOf(a *domain.Account) domain.Plan {
	plan, ok := s.cfg.Plans[a.Plan]
	if !ok {
		plan = s.cfg.DefaultPlan
	}
	if a.RequestLimit > 0 {
		plan.RequestsPerMinute = a.RequestLimit
	}
	return plan
}
