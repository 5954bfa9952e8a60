package app

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// adminHandler serves what operators and orchestrators ask for, on a port of its own.
func (a *App) adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.metrics, promhttp.HandlerOpts{Registry: a.metrics}))
	mux.Handle("GET /livez", a.api)
	mux.Handle("GET /readyz", a.api)
	return mux
}
