package app

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/webhook"
)

// hooksPerHost is how many idle connections are kept for a host: many customers may have theirs at the same one.
const hooksPerHost = 64

// openWebhooks makes the client that calls webhooks, and the worker that delivers events with it. Nothing is
// delivered before the worker runs.
func (a *App) openWebhooks() {
	a.hooks = webhook.NewClient(a.urls, a.core.openWebhookSecret, hooksPerHost)
	m := newDeliveryMetrics(a.metrics)
	a.worker = webhook.NewWorker(webhook.Config{Store: a.core.store, Client: a.hooks, Log: a.log, Observer: m})
	a.metrics.MustRegister(
		gauge("pombal_webhook_lanes", "Webhooks that this node serves at the moment.", func() int { return a.worker.Stats().Lanes }),
		gauge("pombal_webhook_attempts_in_flight", "Requests to webhooks that are under way.", func() int { return a.worker.Stats().Attempts }))
}

// deliver runs the worker. It returns nil.
func (a *App) deliver(ctx context.Context) error {
	a.worker.Run(ctx)
	return nil
}

// openWebhookSecret opens a sealed secret of a webhook.
func (c *core) openWebhookSecret(w *domain.Webhook, sealed []byte) ([]byte, error) {
	return c.sealer.Open(sealed, domain.WebhookSecretPlace(w.AccountID, w.ID))
}

// deliveryMetrics counts what the worker does.
type deliveryMetrics struct {
	attempts *prometheus.CounterVec
	ended    *prometheus.CounterVec
	seconds  prometheus.Histogram
	lag      prometheus.Histogram
}

func newDeliveryMetrics(r prometheus.Registerer) *deliveryMetrics {
	m := &deliveryMetrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pombal_webhook_attempts_total", Help: "Requests to webhooks by how they ended.",
		}, []string{"result"}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pombal_webhook_deliveries_total", Help: "Deliveries that came to an end, by their state.",
		}, []string{"state"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "pombal_webhook_attempt_seconds", Help: "How long requests to webhooks took.", Buckets: []float64{.01, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}),
		lag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "pombal_webhook_lag_seconds", Help: "How long after they were due requests to webhooks began.", Buckets: []float64{.01, .05, .1, .25, .5, 1, 5, 30, 120, 600},
		}),
	}
	r.MustRegister(m.attempts, m.ended, m.seconds, m.lag)
	return m
}

// Attempted is told by the worker.
func (m *deliveryMetrics) Attempted(failure domain.FailureCode, took, lag time.Duration) {
	result := string(failure)
	if result == "" {
		result = "delivered"
	}
	m.attempts.WithLabelValues(result).Inc()
	m.seconds.Observe(took.Seconds())
	m.lag.Observe(max(0, lag.Seconds()))
}

// Settled is told by the worker.
func (m *deliveryMetrics) Settled(state domain.DeliveryState, n int) {
	m.ended.WithLabelValues(string(state)).Add(float64(n))
}
