package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	pombal "github.com/pombal-api/pombal"
	"github.com/pombal-api/pombal/internal/auth"
	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/evolution"
	"github.com/pombal-api/pombal/internal/httpapi"
	"github.com/pombal-api/pombal/internal/ratelimit"
	"github.com/pombal-api/pombal/internal/seal"
	"github.com/pombal-api/pombal/internal/session"
	"github.com/pombal-api/pombal/internal/store"
	"github.com/pombal-api/pombal/internal/webhook"
)

// App is one serving node: open database, wired packages and open listeners.
type App struct {
	cfg     Config
	log     *slog.Logger
	logs    *logBuffer
	core    *core
	links   *sessions
	urls    *webhook.URLPolicy // where customers' webhooks may be
	proxies *webhook.URLPolicy // and their proxies, which reach whatever is behind them
	limiter *ratelimit.Limiter
	hooks   *webhook.Client
	worker  *webhook.Worker
	api     *httpapi.Server
	metrics *prometheus.Registry

	listener, adminListener net.Listener
}

// core is what every command needs, serving or not: the database and the keys to it.
type core struct {
	store    *store.Store
	auth     *auth.Authenticator
	sealer   *seal.Sealer
	unlock   func()
	listener atomic.Pointer[listener]
}

// listener wants to know what others wait for in the database.
type listener struct {
	published func([]domain.Delivery) // there are new events, with these deliveries
	taken     func([]domain.LaneKey)  // workers have lost these lanes, see store.Config.OnTake
}

// Open prepares a node that is ready to Run: it locks and migrates the database, wires the packages
// and opens the listeners, so that a port in use or a wrong password ends the start with a sentence.
// Logs go to logTo as JSON lines.
func Open(ctx context.Context, cfg Config, logTo io.Writer) (*App, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("the configuration is not usable:\n%w", err)
	}
	a := &App{
		cfg: cfg, logs: newLogBuffer(logTo), metrics: prometheus.NewRegistry(),
		urls:    webhook.NewURLPolicy(slices.Concat(cfg.thisMachine(), cfg.WebhookNetworks)...),
		proxies: webhook.NewURLPolicy(cfg.thisMachine()...),
	}
	a.log = slog.New(slog.NewJSONHandler(a.logs, &slog.HandlerOptions{Level: cfg.LogLevel}))
	if err := a.open(ctx); err != nil {
		return nil, errors.Join(err, a.Close()) //nolint:contextcheck // closing must not be cut short
	}
	return a, nil
}

func (a *App) open(ctx context.Context) error {
	var err error
	if a.core, err = openCore(ctx, a.cfg.Database, a.cfg.Secrets, a.cfg.TokenIssuer, a.log, serving); err != nil {
		return err
	}
	if a.links, err = a.openSessions(ctx); err != nil {
		return err
	}
	a.limiter = ratelimit.New(ratelimit.Config{Source: a.core.store})
	a.openWebhooks()
	if a.api, err = a.newAPI(); err != nil { //nolint:contextcheck // handlers take the context of their request
		return err
	}
	a.core.listener.Store(&listener{
		published: func(due []domain.Delivery) {
			a.worker.Offer(due)
			a.api.EventsChanged()
		},
		taken: a.worker.Lose,
	})
	if a.listener, err = listen(ctx, a.cfg.Addr); err != nil {
		return err
	}
	a.adminListener, err = listen(ctx, a.cfg.AdminAddr)
	return err
}

func listen(ctx context.Context, addr string) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", addr, err)
	}
	return l, nil
}

// newAPI wires the public HTTP surface.
func (a *App) newAPI() (*httpapi.Server, error) {
	a.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	plans := a.cfg.Plans.byName()
	c := a.core
	var api *httpapi.Server
	mountEvolution := func(e *echo.Echo) { evolution.Register(e, a.evolutionDeps(func() *httpapi.Server { return api })) }
	api, err := httpapi.New(httpapi.Config{
		PublicURL: a.cfg.PublicURL, AllowedOrigins: a.cfg.AllowedOrigins, Plans: plans, DefaultPlan: plans[DefaultPlan],
		RequestTimeout: a.cfg.RequestTimeout, AccountStreams: a.cfg.AccountStreams, CursorKey: c.sealer.Derive("cursors", 32), OpenAPI: pombal.OpenAPI,
	}, httpapi.Deps{
		Auth:             c.auth,
		Limiter:          a.limiter,
		Accounts:         func(id domain.ID) (httpapi.AccountStore, error) { return c.store.Account(id) },
		Partners:         func(id domain.ID) (httpapi.PartnerStore, error) { return c.store.Partner(id) },
		Origins:          c.store,
		Seal:             c.sealer,
		NewAPIKey:        c.auth.NewKey,
		NewInstanceToken: c.newInstanceToken,
		Connections:      a.links.desk,
		EventHeads:       c.store.EventHeads,
		TryWebhook:       a.hooks.Try,
		CheckWebhookURL:  a.urls.Check,
		CheckProxyURL:    a.proxies.CheckProxy,
		Ready:            c.store.Ready,
		Mount:            []func(*echo.Echo){mountEvolution},
		Metrics:          a.metrics,
		Log:              a.log,
		AccessLog:        a.log,
		Now:              time.Now,
	})
	return api, err
}

// URL is where the API answers on this machine.
func (a *App) URL() string { return "http://" + reachable(a.listener.Addr()) }

// AdminURL is where the metrics are on this machine.
func (a *App) AdminURL() string { return "http://" + reachable(a.adminListener.Addr()) }

// reachable turns the address of a listener on all interfaces into one that can be dialled.
func reachable(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return addr.String()
}

// Handler is the API without a listener, for tests and benchmarks in this process.
func (a *App) Handler() http.Handler { return a.api }

// Publish adds events to an account, for tests in this process.
func (a *App) Publish(ctx context.Context, account domain.ID, events []domain.Event) error {
	bound, err := a.core.store.Account(account)
	if err != nil {
		return err
	}
	return bound.PublishEvents(ctx, events)
}

// Desk takes wishes about connections, for tests and dev in this process.
func (a *App) Desk() *session.Desk { return a.links.desk }

// Operations lists the routes of /v1, for tests that compare them with openapi.yaml.
func (a *App) Operations() []httpapi.Operation { return a.api.Operations() }

// server limits what slow clients can hold. Long answers set their own write deadline.
func (a *App) server(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       120 * time.Second,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
	}
}

// Run serves until ctx ends, then stops in order: fail readiness, let requests finish, hand over the
// instances and stop the other workers, close the databases. It returns nil after an orderly stop.
func (a *App) Run(ctx context.Context) error {
	api, admin := a.server(a.api), a.server(a.adminHandler())
	// Workers outlive ctx: requests that finish during the drain still need them.
	workCtx, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	work, workCtx := errgroup.WithContext(workCtx)
	for _, run := range []func(context.Context) error{a.core.auth.Run, a.limiter.Run, a.api.Run, a.links.manager.Run, a.deliver, a.sweep, a.logs.Run} {
		work.Go(func() error { return run(workCtx) }) // waited for by work.Wait below
	}
	for server, l := range map[*http.Server]net.Listener{api: a.listener, admin: a.adminListener} {
		work.Go(func() error { return serve(server, l) }) // ends by Shutdown below
	}
	a.log.InfoContext(ctx, "serving", "addr", a.listener.Addr().String(), "admin", a.adminListener.Addr().String(),
		"database", a.core.store.Dialect())
	select {
	case <-ctx.Done():
	case <-workCtx.Done(): // a worker failed
	}
	err := a.drain(context.WithoutCancel(ctx), api, admin)
	stopWork()
	return errors.Join(err, ignoreCanceled(work.Wait()), a.Close()) //nolint:contextcheck // closing must not be cut short
}

func serve(s *http.Server, l net.Listener) error {
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// drain stops taking requests and waits for those at work.
func (a *App) drain(ctx context.Context, api, admin *http.Server) error {
	a.log.InfoContext(ctx, "draining")
	a.api.Drain()
	if a.cfg.DrainDelay > 0 {
		<-time.After(a.cfg.DrainDelay)
	}
	ctx, cancel := context.WithTimeout(ctx, a.cfg.ShutdownGrace)
	defer cancel()
	if err := api.Shutdown(ctx); err != nil {
		a.log.WarnContext(ctx, "requests were cut off", "error", err)
		_ = api.Close()
	}
	return admin.Shutdown(ctx)
}

func ignoreCanceled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// sweepEvery is how often rows that have expired are removed.
const sweepEvery = time.Minute

// sweep removes expired rows in small batches until ctx ends.
func (a *App) sweep(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if _, err := a.core.store.Sweep(ctx); err != nil && ctx.Err() == nil {
				a.log.WarnContext(ctx, "expired rows not removed; will try again", "error", err)
			}
		}
	}
}

// Close releases what Open took. It may be called after Run, which calls it too.
func (a *App) Close() error {
	var errs []error
	for _, l := range []net.Listener{a.listener, a.adminListener} {
		if l != nil {
			if err := l.Close(); !errors.Is(err, net.ErrClosed) {
				errs = append(errs, err)
			}
		}
	}
	if a.links != nil {
		errs = append(errs, a.links.Close())
		a.links = nil
	}
	if a.hooks != nil {
		a.hooks.Close()
	}
	if a.core != nil {
		errs = append(errs, a.core.Close())
		a.core = nil
	}
	return errors.Join(append(errs, a.logs.Flush())...)
}
