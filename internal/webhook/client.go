package webhook

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

const (
	userAgent = "Pombal-Webhooks/1"
	// maxResponseHeader is how many bytes of an answer's header are read.
	maxResponseHeader = 64 << 10
	// idleTimeout ends idle connections before receivers do: Node's server does after 5 seconds, and a request
	// that crosses its farewell would fail.
	idleTimeout = 4 * time.Second
	maxIdle     = 1024
	// dialTimeout bounds making a connection, beside the endpoint's own timeout.
	dialTimeout = 10 * time.Second
)

// Opener unseals a secret of a webhook.
type Opener func(w *domain.Webhook, sealed []byte) ([]byte, error)

// Client sends events to webhooks. It is safe for concurrent use.
type Client struct {
	policy *URLPolicy
	open   Opener
	pooled *http.Transport
	fresh  *http.Transport // never uses a connection twice
}

// NewClient returns a client that calls only what policy permits. At most perHost idle connections are kept
// for an endpoint.
func NewClient(policy *URLPolicy, open Opener, perHost int) *Client {
	return newClient(policy, open, perHost, nil)
}

// newClient takes a resolver, for tests; nil for the machine's.
func newClient(policy *URLPolicy, open Opener, perHost int, resolver *net.Resolver) *Client {
	pooled := newTransport(policy, resolver)
	pooled.MaxIdleConnsPerHost = perHost
	fresh := newTransport(policy, resolver)
	fresh.DisableKeepAlives = true
	return &Client{policy: policy, open: open, pooled: pooled, fresh: fresh}
}

// newTransport returns a transport whose every connection is judged by policy in the moment when it is made,
// after its name has been resolved. It follows no environment's proxy: that would hide the address. It speaks
// HTTP/1.1 only: an endpoint gets a handful of requests at a time, so that HTTP/2 would gain nothing, and let
// one connection that hangs hold all of them up.
func newTransport(policy *URLPolicy, resolver *net.Resolver) *http.Transport {
	dialer := &net.Dialer{Control: policy.Control, Timeout: dialTimeout, KeepAlive: 15 * time.Second, Resolver: resolver}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		DialContext:            dialer.DialContext,
		Protocols:              protocols,
		MaxIdleConns:           maxIdle,
		IdleConnTimeout:        idleTimeout,
		TLSHandshakeTimeout:    dialTimeout,
		MaxResponseHeaderBytes: maxResponseHeader,
		DisableCompression:     true, // what is read is what was sent, and no more
	}
}

// Close ends idle connections.
func (c *Client) Close() {
	c.pooled.CloseIdleConnections()
	c.fresh.CloseIdleConnections()
}

// Try makes one attempt to hand an event to a webhook, and says what came of it; its Number and Manual are the
// caller's to set. An error means that there was no attempt whose failure would be the receiver's: its secret
// does not open, or ctx is over.
func (c *Client) Try(ctx context.Context, w *domain.Webhook, e *domain.Event) (domain.Attempt, error) {
	to, err := c.prepare(w)
	if err != nil {
		return domain.Attempt{}, err
	}
	reply, err := c.send(ctx, request{webhook: w, to: to.at(time.Now(), w), event: e})
	return reply.Attempt, err
}

// endpoint is where a webhook leads, made ready for many attempts.
type endpoint struct {
	target  *url.URL // nil when it is not permitted, or not any more
	secrets Secrets
}

// prepare makes a webhook's endpoint ready. An error means that its secret does not open.
func (c *Client) prepare(w *domain.Webhook) (endpoint, error) {
	target, err := c.policy.parse(w.URL)
	if err != nil { // what is permitted may have changed since it was registered
		target = nil
	}
	s, err := c.unseal(w)
	return endpoint{target, s}, err
}

// at returns the endpoint with the secrets that sign at a time.
func (e endpoint) at(now time.Time, w *domain.Webhook) endpoint {
	if !now.Before(w.PreviousSecretExpiresAt) {
		e.secrets.Previous = nil
	}
	return e
}

// unseal opens the secrets of a webhook, the previous one if it may still sign.
func (c *Client) unseal(w *domain.Webhook) (s Secrets, err error) {
	if s.Current, err = c.open(w, w.Secret); err != nil {
		return Secrets{}, fmt.Errorf("open the secret of webhook %s: %w", w.ID, err)
	}
	if w.PreviousSecret == nil || !time.Now().Before(w.PreviousSecretExpiresAt) {
		return s, nil
	}
	if s.Previous, err = c.open(w, w.PreviousSecret); err != nil {
		return Secrets{}, fmt.Errorf("open the previous secret of webhook %s: %w", w.ID, err)
	}
	return s, nil
}

// request is what an attempt needs.
type request struct {
	webhook *domain.Webhook
	to      endpoint
	event   *domain.Event
}

// reply is an attempt, and what else its answer says.
type reply struct {
	domain.Attempt
	RetryAfter time.Duration // since the answer; 0 when it names no time
	Abort      bool          // the receiver wants no further attempt
}

func (c *Client) send(ctx context.Context, r request) (reply, error) {
	begun := time.Now()
	out := reply{Attempt: domain.Attempt{At: begun.Truncate(time.Millisecond)}}
	if r.to.target == nil {
		out.Failure = domain.FailureBlocked
		return out, ctx.Err()
	}
	timed, cancel := context.WithTimeout(ctx, r.webhook.Timeout)
	defer cancel()
	err := c.exchange(timed, r, begun, &out)
	out.Took = time.Since(begun)
	if err == nil {
		return out, nil
	}
	if ctx.Err() != nil {
		return reply{}, ctx.Err()
	}
	if out.Failure == "" {
		out.Failure = classify(err)
	}
	return out, nil
}

// exchange sends a request and reads the answer. A connection that was kept from an earlier request may have
// been closed by the receiver in the meantime: then the request goes once more over a new one.
func (c *Client) exchange(ctx context.Context, r request, at time.Time, out *reply) error {
	id := r.event.ID.Prefixed(domain.PrefixEvent)
	body := domain.AppendEnvelope(make([]byte, 0, 256+len(r.event.Data)), r.event)
	var reused, answered atomic.Bool
	trace := &httptrace.ClientTrace{
		GotConn:              func(info httptrace.GotConnInfo) { reused.Store(info.Reused) },
		GotFirstResponseByte: func() { answered.Store(true) },
	}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace), http.MethodPost, "", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.URL, req.Host = r.to.target, strings.TrimSuffix(r.to.target.Host, ":") // as for a URL that is still to be taken apart
	req.Header = http.Header{"Content-Type": {"application/json"}, "User-Agent": {userAgent}}
	Sign(req.Header, r.to.secrets, id, at, body)
	res, err := c.pooled.RoundTrip(req) //nolint:bodyclose // whoever reads the answer closes it
	if err != nil && reused.Load() && !answered.Load() && ctx.Err() == nil {
		again := req.Clone(ctx)
		again.Body = io.NopCloser(bytes.NewReader(body))
		res, err = c.fresh.RoundTrip(again) //nolint:bodyclose // as above
	}
	if err != nil {
		return err
	}
	return out.read(res)
}

// read fills in what the receiver answered.
func (out *reply) read(res *http.Response) error {
	defer func() { _ = res.Body.Close() }() // with something unread, that ends the connection
	out.StatusCode = res.StatusCode
	switch res.StatusCode / 100 {
	case 2:
	case 3:
		out.Failure = domain.FailureRedirect
	default:
		out.Failure = domain.FailureStatus
	}
	out.RetryAfter = retryAfter(res.Header.Get("Retry-After"), time.Now())
	out.Abort = strings.EqualFold(strings.TrimSpace(res.Header.Get("webhook-delivery")), "abort-message")
	if res.StatusCode == http.StatusSwitchingProtocols { // its body is the bare connection, which no deadline ends
		out.Failure = domain.FailureUnsupported
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, domain.MaxAttemptResponse))
	out.Response = body
	return err
}
