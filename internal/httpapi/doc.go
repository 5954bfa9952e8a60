// Package httpapi is the public HTTP surface: the /v1 routes on Echo, and what every request passes
// through on its way (request ids, access log, metrics, CORS, authentication, limits, idempotency).
// It is the only package that knows which HTTP status belongs to which error.
package httpapi
