package httpapi

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/pombal-api/pombal/internal/domain"
)

// metrics are what Prometheus sees. Labels are bounded: routes by operation id, statuses by number.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	inFlight prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pombal_http_requests_total", Help: "Requests answered, by operation and status.",
		}, []string{"route", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "pombal_http_request_duration_seconds", Help: "Time to answer, by operation.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"route"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pombal_http_requests_in_flight", Help: "Requests being answered right now.",
		}),
	}
	for _, c := range []prometheus.Collector{m.requests, m.seconds, m.inFlight} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// observe counts, times and logs every request, also those that no route matched and those whose answer
// was cut off.
func (s *Server) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		s.metrics.inFlight.Inc()
		whole := false
		defer func() {
			s.metrics.inFlight.Dec()
			s.record(c, whole)
		}()
		if err := next(c); err != nil {
			c.Error(err) // write the answer now, so that its status can be logged
		}
		whole = true
		return nil
	}
}

// record notes a request that has ended. An answer that is not whole was cut off after it had begun
// (http.ErrAbortHandler), so the status that was sent tells nothing.
func (s *Server) record(c echo.Context, whole bool) {
	in := infoOf(c)
	switch {
	case !whole && c.Request().Context().Err() != nil:
		in.status = statusClientGone
	case !whole:
		in.status = http.StatusInternalServerError
	case in.status == 0:
		in.status = c.Response().Status
	}
	took := s.now().Sub(in.start)
	route := in.route
	if route == "" {
		route = "none"
	}
	s.metrics.requests.WithLabelValues(route, strconv.Itoa(in.status)).Inc()
	s.metrics.seconds.WithLabelValues(route).Observe(took.Seconds())
	s.logAccess(c, in, route, took)
}

// logAccess writes the request's line. The path is not in it, because ids and filters are the
// customer's business; the operation id and the request id find it.
func (s *Server) logAccess(c echo.Context, in *requestInfo, route string, took time.Duration) {
	attrs := make([]slog.Attr, 0, 12)
	attrs = append(attrs,
		slog.String("requestId", in.requestID),
		slog.String("method", c.Request().Method),
		slog.String("route", route),
		slog.Int("status", in.status),
		slog.Float64("ms", float64(took.Microseconds())/1000),
		slog.Int64("bytes", c.Response().Size))
	if in.clientRequestID != "" {
		attrs = append(attrs, slog.String("clientRequestId", in.clientRequestID))
	}
	if p := in.principal; p != nil {
		attrs = append(attrs, slog.String("account", p.Account.ID.Prefixed(domain.PrefixAccount)))
		if !p.KeyID.IsZero() { // the token of an instance is no key's
			attrs = append(attrs, slog.String("key", p.KeyID.Prefixed(domain.PrefixAPIKey)))
		}
		if p.Actor.ID != p.Account.ID {
			attrs = append(attrs, slog.String("actor", p.Actor.ID.Prefixed(domain.PrefixAccount)))
		}
	}
	if in.err != nil {
		attrs = append(attrs, slog.String("code", string(codeOf(in.err))))
	}
	s.writeAccess(c.Request().Context(), attrs)
}

// writeAccess is slog's LogAttrs without looking up who calls it, which costs as much as the line.
func (s *Server) writeAccess(ctx context.Context, attrs []slog.Attr) {
	handler := s.deps.AccessLog.Handler()
	if !handler.Enabled(ctx, slog.LevelInfo) {
		return
	}
	line := slog.NewRecord(s.now(), slog.LevelInfo, "request", 0)
	line.AddAttrs(attrs...)
	_ = handler.Handle(ctx, line) // as slog: nobody could be told
}

// codeOf is the code that the caller saw.
func codeOf(err error) domain.Code {
	_, e := classify(err)
	return e.Code
}

// IdentifyCaller tells the access log who called, for routes that authenticate by themselves.
func IdentifyCaller(c echo.Context, route string, p *domain.Principal) {
	in := infoOf(c)
	in.route, in.principal = route, p
}

// NoteFailure tells the access log why an answer failed that another package writes.
func NoteFailure(c echo.Context, err error) { infoOf(c).err = err }
