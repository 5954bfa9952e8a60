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
	Instance(ctx context.Context, id domain.ID) (domain.Instance, error)
	CreateInstance(ctx context.Context, in *domain.Instance, limit int) error
	UpdateInstance(ctx context.Context, id domain.ID, patch domain.InstancePatch, ifVersion int64, now time.Time) (domain.Instance, error)
	DeleteInstance(ctx context.Context, id domain.ID, ifVersion int64) (domain.Instance, error)

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
