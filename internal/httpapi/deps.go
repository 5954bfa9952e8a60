package httpapi

import (
	"context"
	"log/slog"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/pombal-api/pombal/internal/domain"
)

// Config is what an operator decides about the API.
type Config struct {
	PublicURL      string                 // how clients reach the API, without a trailing slash; "" to take it from each request
	AllowedOrigins []string               // browser origins that any account's front ends may call from
	Plans          map[string]domain.Plan // by name; an account with an unknown plan gets DefaultPlan
	DefaultPlan    domain.Plan
	RequestTimeout time.Duration // for one request's work, whether or not its client still waits
	AccountStreams int           // how many streams an account may have at this node; 0 for 1,000
	CursorKey      []byte        // signs cursors
	OpenAPI        []byte        // the contract, as YAML
}

// Deps is what the API works with. Each is the smallest view of a capability that lives elsewhere.
type Deps struct {
	Auth     Authenticator
	Limiter  Limiter
	Accounts func(domain.ID) (AccountStore, error)
	Partners func(domain.ID) (PartnerStore, error)
	Origins  OriginChecker
	Seal     Sealer
	// NewAPIKey makes the secret of an API key.
	NewAPIKey func() domain.NewKeySecret
	// NewInstanceToken makes the token of an instance, and the digest that finds it.
	NewInstanceToken func() (token string, digest []byte)
	Connections      Connections
	// EventHeads returns the position of the latest event of each account.
	EventHeads func(ctx context.Context, accounts []domain.ID) (map[domain.ID]int64, error)
	// TryWebhook sends an event to a webhook at once and tells what the receiver said.
	TryWebhook func(ctx context.Context, w *domain.Webhook, e *domain.Event) (domain.Attempt, error)
	// CheckProxyURL refuses proxies that connections would refuse, with a sentence for the customer.
	CheckProxyURL func(string) error
	// CheckWebhookURL refuses URLs that deliveries would refuse.
	CheckWebhookURL func(string) error
	Ready           func(context.Context) error
	Mount           []func(*echo.Echo) // further routes, such as the Evolution-compatible ones
	Metrics         prometheus.Registerer
	Log             *slog.Logger // for the operator
	AccessLog       *slog.Logger // one line per request
	Now             func() time.Time
}

// Authenticator turns credentials into principals.
type Authenticator interface {
	// Credential picks the Bearer credential out of the Authorization headers of a request.
	Credential(authorization []string) (string, error)
	Bearer(ctx context.Context, credential string) (*domain.Principal, error)
	// OnBehalf applies the X-Account-Id header of a partner; allowAll permits "*".
	OnBehalf(ctx context.Context, p *domain.Principal, account string, allowAll bool) (*domain.Principal, error)
	Mint(ctx context.Context, p *domain.Principal, req domain.TokenRequest) (domain.TokenGrant, error)
	JWKS(ctx context.Context) ([]byte, error)
	// Forget drops what is cached about an account, so that this node sees a change at once.
	Forget(accounts ...domain.ID)
}

// Limiter counts requests against buckets.
type Limiter interface {
	Take(ctx context.Context, buckets ...domain.RateBucket) (domain.RateDecision, error)
	Refund(buckets ...domain.RateBucket)
	Peek(ctx context.Context, buckets ...domain.RateBucket) ([]domain.RateDecision, error)
}

// InstancePager reads pages of instances.
type InstancePager interface {
	EachInstance(ctx context.Context, f domain.InstanceFilter, p domain.PageRequest, each func(*domain.InstanceView) error) (domain.PageInfo, error)
}

// AccountStore is one account's data and nobody else's.
type AccountStore interface {
	InstancePager
	EventStore
	WebhookStore
	Instance(ctx context.Context, id domain.ID) (domain.Instance, error)
	CreateInstance(ctx context.Context, in *domain.Instance, limit int) error
	UpdateInstance(ctx context.Context, id domain.ID, patch domain.InstancePatch, ifVersion int64, now time.Time) (domain.Instance, error)
	// InstanceProxy returns the sealed URL of the instance's proxy, nil for none.
	InstanceProxy(ctx context.Context, id domain.ID) ([]byte, error)
	SetInstanceProxy(ctx context.Context, id domain.ID, sealed []byte) error

	APIKeys(ctx context.Context, p domain.PageRequest) ([]domain.APIKey, domain.PageInfo, error)
	CreateAPIKey(ctx context.Context, key *domain.APIKey) error
	RevokeAPIKey(ctx context.Context, id domain.ID, now time.Time) error
	RotateAPIKey(ctx context.Context, id domain.ID, r domain.KeyRotation) (domain.APIKey, error)

	Update(ctx context.Context, patch domain.AccountPatch, now time.Time) (domain.Account, error)

	ClaimIdempotency(ctx context.Context, claim domain.IdempotencyClaim) (domain.IdempotencyResult, error)
	FinishIdempotency(ctx context.Context, key string, fingerprint [32]byte, resource domain.ID, answer domain.StoredAnswer) error
	ForgetIdempotency(ctx context.Context, key string, fingerprint [32]byte, resource domain.ID) error
	ReleaseIdempotency(ctx context.Context, key string, fingerprint [32]byte, resource domain.ID) error
}

// Connections takes wishes about the connections of instances to the nodes that hold them, and waits for
// what comes of them.
type Connections interface {
	// State returns what is known about a connection.
	State(ctx context.Context, account, instance domain.ID) (domain.LinkState, error)
	// Pairing is State, or CodeAlreadyConnected.
	Pairing(ctx context.Context, account, instance domain.ID) (domain.LinkState, error)
	// Connect returns when there is a code or a connection.
	Connect(ctx context.Context, account, instance domain.ID, how domain.PairingWish) (domain.LinkState, error)
	// Disconnect logs out and forgets the pairing. CodeInstanceNotConnected when there is none.
	Disconnect(ctx context.Context, account, instance domain.ID) (domain.LinkState, error)
	// Restart opens the connection anew. CodeInstanceNotConnected when none is wanted.
	Restart(ctx context.Context, account, instance domain.ID) (domain.LinkState, error)
	// Remove logs out and deletes, if the version is ifVersion; 0 for any.
	Remove(ctx context.Context, account, instance domain.ID, ifVersion int64) error
}

// PartnerStore is a partner's view of its child accounts.
type PartnerStore interface {
	InstancePager
	Children(ctx context.Context, p domain.PageRequest) ([]domain.Account, domain.PageInfo, error)
	Child(ctx context.Context, id domain.ID) (domain.Account, error)
	CreateChild(ctx context.Context, account *domain.Account) error
}

// OriginChecker knows the browser origins that accounts have listed.
type OriginChecker interface {
	OriginAllowed(ctx context.Context, origin string) (bool, error)
}

// Sealer encrypts what must not lie in the database in clear, bound to the place where it lies.
type Sealer interface {
	Seal(plain, place []byte) []byte
	Open(sealed, place []byte) ([]byte, error)
}
