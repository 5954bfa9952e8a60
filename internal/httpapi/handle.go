package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"reflect"

	"github.com/labstack/echo/v4"

	"github.com/pombal-api/pombal/internal/domain"
)

// endpoint does the work of a route. It writes the answer, or returns an error for handleError.
type endpoint func(c echo.Context, rt *route) error

// handle adapts an operation to HTTP: bind and validate the request, call, encode the answer. Req is a
// struct as bindPlan describes it. Res is the body, or an answer[Body] that adds headers.
func handle[Req, Res any](s *Server, status int, op func(context.Context, *domain.Principal, *Req) (Res, error)) endpoint {
	plan := planOf(reflect.TypeFor[Req]())
	return func(c echo.Context, rt *route) error {
		req := new(Req)
		body, err := s.bind(c, &plan, req)
		if err != nil {
			return err
		}
		ctx := s.work(c)
		if rt.creates {
			if key := c.Request().Header.Values(headerIdempotencyKey); len(key) > 0 {
				return s.once(ctx, c, key, body, func(ctx context.Context) (reply, error) {
					return call(ctx, c, status, req, op)
				})
			}
		}
		r, err := call(ctx, c, status, req, op)
		if err != nil {
			return err
		}
		return s.send(c, r)
	}
}

// call runs the operation and encodes what it returns.
func call[Req, Res any](ctx context.Context, c echo.Context, status int, req *Req,
	op func(context.Context, *domain.Principal, *Req) (Res, error),
) (reply, error) {
	res, err := op(ctx, infoOf(c).principal, req)
	if err != nil {
		return reply{}, err
	}
	r := reply{status: status}
	var body any = res
	h, hasHeaders := body.(headed)
	if hasHeaders {
		body = h.content()
	}
	if r.body, err = encode(body); err != nil {
		return reply{}, err
	}
	if hasHeaders {
		r.header = h.headers(r.body)
	}
	return r, nil
}

// reply is a finished answer.
type reply struct {
	status int
	header map[string]string
	body   []byte
}

// headed is an operation's result that carries headers.
type headed interface {
	content() any
	// headers are those of the answer whose content was encoded as given.
	headers(encoded []byte) map[string]string
}

// answer is a body with headers. Empty headers are left out.
type answer[Body any] struct {
	body     Body
	etag     string
	location string
}

func (a answer[Body]) content() any { return a.body }

func (a answer[Body]) headers([]byte) map[string]string {
	h := map[string]string{}
	if a.etag != "" {
		h[headerETag] = a.etag
	}
	if a.location != "" {
		h[echo.HeaderLocation] = a.location
	}
	return h
}

// send writes a reply, or 304 when the client already has it.
func (s *Server) send(c echo.Context, r reply) error {
	h := c.Response().Header()
	for name, value := range r.header {
		h.Set(name, value)
	}
	cacheHeaders(c)
	if etag := r.header[headerETag]; etag != "" && s.unchanged(c, etag) {
		return c.NoContent(http.StatusNotModified)
	}
	return c.JSONBlob(r.status, r.body)
}

// cacheHeaders lets the caller's own cache keep an answer and ask whether it is still good; nobody
// else's may. Answers to writes may hold secrets.
func cacheHeaders(c echo.Context) {
	h := c.Response().Header()
	if !isRead(c.Request()) {
		h.Set(echo.HeaderCacheControl, "no-store")
		return
	}
	h.Set(echo.HeaderCacheControl, "private, no-cache")
	h.Add(echo.HeaderVary, "Authorization, X-Account-Id")
}

// isRead tells a request that changes nothing. HEAD is GET without a body.
func isRead(r *http.Request) bool { return r.Method == http.MethodGet || r.Method == http.MethodHead }

// encode is the one way bodies become JSON, without escaping that only HTML needs.
func encode(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}
