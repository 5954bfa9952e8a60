package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// defaultTimeout bounds one try of a call, unless WithHTTPClient says otherwise.
	defaultTimeout = 30 * time.Second

	// defaultRetries is how often a call is tried again.
	defaultRetries = 2

	// defaultUserAgent names this SDK to the server.
	defaultUserAgent = "pombal-go/1.0.0"
)

// Client calls the API. It is safe for concurrent use; make one with NewClient
// and keep it, since it holds the connections.
type Client struct {
	// Instances are the WhatsApp numbers.
	Instances *InstanceService
	// Events are what has happened, to list and to follow.
	Events *EventService
	// Webhooks are URLs that get events.
	Webhooks *WebhookService
	// APIKeys are the keys of the account.
	APIKeys *KeyService
	// Tokens are for front ends.
	Tokens *TokenService
	// Accounts are the caller's own account and its child accounts.
	Accounts *AccountService

	base      string // the base URL without a slash at its end
	key       string
	account   string // the X-Account-Id to send; "" for none
	userAgent string
	retries   int
	http      *http.Client
	sleep     func(context.Context, time.Duration) error // replaced by tests
}

// Option changes how a Client works.
type Option func(*Client)

// WithHTTPClient makes the client send its requests through hc, for instance for
// another timeout per try (30 s by default) or a proxy. hc itself is not changed.
func WithHTTPClient(hc *http.Client) Option {
	return func(c *Client) { c.http = hc }
}

// WithAccount makes a partner's client act on a child account, see Client.OnAccount.
func WithAccount(accountID string) Option {
	return func(c *Client) { c.account = accountID }
}

// WithMaxRetries sets how often a call is tried again after a failure that may
// pass: 2 by default, 0 for never.
func WithMaxRetries(n int) Option {
	return func(c *Client) { c.retries = max(n, 0) }
}

// WithUserAgent replaces the User-Agent that the client sends.
func WithUserAgent(userAgent string) Option {
	return func(c *Client) { c.userAgent = userAgent }
}

// NewClient returns a client of the server at baseURL, such as
// https://pombal.example.com, that identifies itself with key: an API key, or a
// token made from one. It does not call the server yet.
func NewClient(baseURL, key string, opts ...Option) (*Client, error) {
	base, err := parseBase(baseURL)
	if err != nil {
		return nil, err
	}
	if key == "" {
		return nil, errors.New("api: the key is empty; give an API key or a token")
	}
	if !printable(key) || strings.Contains(key, " ") {
		return nil, errors.New("api: the key has spaces, line breaks or other characters that no key has; check how it was copied")
	}
	c := &Client{
		base:      base,
		key:       key,
		userAgent: defaultUserAgent,
		retries:   defaultRetries,
		http:      &http.Client{Timeout: defaultTimeout},
		sleep:     sleep,
	}
	for _, opt := range opts {
		opt(c)
	}
	c.http = withoutRedirects(c.http)
	return c.bound(), nil
}

// OnAccount returns a client that acts on a child account of the partner that c
// belongs to. For Instances.List and Instances.All, "*" means all child
// accounts at once. It shares its connections with c.
func (c *Client) OnAccount(accountID string) *Client {
	other := *c
	other.account = accountID
	return other.bound()
}

// String describes the client without its key.
func (c *Client) String() string { return "api.Client(" + c.base + ")" }

// GoString describes the client without its key, also for %#v.
func (c *Client) GoString() string { return c.String() }

// bound points the services of c at c.
func (c *Client) bound() *Client {
	c.Instances = &InstanceService{client: c}
	c.Events = &EventService{client: c}
	c.Webhooks = &WebhookService{client: c, Inbound: &InboundService{client: c}}
	c.APIKeys = &KeyService{client: c}
	c.Tokens = &TokenService{client: c}
	c.Accounts = &AccountService{client: c}
	return c
}

// parseBase reads the base URL and refuses what could send the key astray.
func parseBase(baseURL string) (string, error) {
	base, err := url.Parse(baseURL)
	if err != nil {
		return "", fmt.Errorf("api: the base URL cannot be read: %w", err)
	}
	if (base.Scheme != "http" && base.Scheme != "https") || base.Host == "" {
		return "", fmt.Errorf("api: the base URL %q must look like https://pombal.example.com", base.Redacted())
	}
	if base.User != nil || base.RawQuery != "" || base.ForceQuery || base.Fragment != "" {
		return "", fmt.Errorf("api: the base URL %q must have no user, query or fragment", base.Redacted())
	}
	return strings.TrimRight(base.String(), "/"), nil
}

// withoutRedirects returns a copy of hc that reports a redirect instead of
// following it: the API has none, and one would carry the key to another place.
func withoutRedirects(hc *http.Client) *http.Client {
	if hc == nil {
		hc = &http.Client{Timeout: defaultTimeout}
	}
	own := *hc
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &own
}

// sleep waits for d, or until ctx is done.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// endpoint returns the URL of a path that begins with a slash and is escaped.
func (c *Client) endpoint(path string, query url.Values) string {
	if len(query) == 0 {
		return c.base + path
	}
	return c.base + path + "?" + query.Encode()
}

// printable reports whether a text can be sent in a header: net/http refuses
// others too, but in a way that looks like a connection that failed.
func printable(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' })
}
