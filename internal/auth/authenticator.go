package auth

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/pombal-api/pombal/internal/domain"
)

// Store is what authentication needs of the database. "None" is reported with a not-found code of
// domain, an unreachable database with domain.CodeUnavailable.
type Store interface {
	KeyByLookup(ctx context.Context, lookup string) (domain.APIKey, error)
	KeyByID(ctx context.Context, account, id domain.ID) (domain.APIKey, error)
	AccountByID(ctx context.Context, id domain.ID) (domain.Account, error)
	InstanceByToken(ctx context.Context, digest []byte) (domain.Instance, error)

	// TouchKeys records when keys were last used, by key id.
	TouchKeys(ctx context.Context, uses map[domain.ID]domain.KeyUse) error

	// AuthChanges returns the accounts that changed, or whose keys changed, after a version, and the
	// version reached. Versions become visible in order. complete is false when changes after that
	// version are no longer on record.
	AuthChanges(ctx context.Context, after int64) (accounts []domain.ID, version int64, complete bool, err error)

	// SigningKeys returns the keys that sign tokens, retired ones included or not.
	SigningKeys(ctx context.Context) ([]domain.SigningKey, error)
	// AddSigningKey adds a key and retires those that have no end yet at retirePreviousAt.
	AddSigningKey(ctx context.Context, key domain.SigningKey, retirePreviousAt time.Time) error
}

// Sealer encrypts values bound to a place, which ad names.
type Sealer interface {
	Seal(plain, ad []byte) []byte
	Open(sealed, ad []byte) ([]byte, error)
}

// Config sets up an Authenticator.
type Config struct {
	// Pepper is the key of every digest that is made, 32 bytes or more.
	Pepper []byte
	// OldPeppers are those of secrets that were replaced; digests under them are still recognised.
	OldPeppers [][]byte
	// Issuer and Audience are the "iss" and "aud" of tokens: made with them, accepted with nothing else.
	Issuer, Audience string
	// Log receives what an operator should know; nil discards it.
	Log *slog.Logger
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Authenticator turns credentials into principals. It is safe for concurrent use, and keeps nothing in
// memory until Run is running.
type Authenticator struct {
	store    Store
	log      *slog.Logger
	now      func() time.Time
	issuer   string
	audience string
	parser   *jwt.Parser

	pepper          []byte
	keyDigests      digesters
	instanceDigests digesters

	byLookup *cache[lookup, *keyRecord]
	byID     *cache[keyRef, *keyRecord]
	accounts *cache[domain.ID, *accountRecord]
	tokens   tokenCache
	ring     *keyring
	usage    usage

	epoch    time.Time    // what seenAt counts from
	seenAt   atomic.Int64 // when the last look at the changes that succeeded began, in ns after epoch
	version  int64        // of the changes seen; Run's alone
	pollLost bool         // the last look failed; Run's alone
}

// New returns an Authenticator over store. It asks the database for nothing.
func New(cfg Config, store Store, sealer Sealer) (*Authenticator, error) {
	if len(cfg.Pepper) < 32 {
		return nil, errors.New("auth: the pepper must have at least 32 bytes")
	}
	for _, name := range []string{cfg.Issuer, cfg.Audience} {
		if name == "" || len(name) > maxIssuer {
			return nil, errors.New("auth: the issuer and the audience of tokens must have 1 to 255 bytes")
		}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	a := &Authenticator{
		store: store, log: cfg.Log, now: cfg.Now,
		issuer: cfg.Issuer, audience: cfg.Audience, parser: newParser(cfg),
		pepper: cfg.Pepper, epoch: cfg.Now(),
		ring: newKeyring(cfg, store, sealer),
	}
	for _, pepper := range append([][]byte{cfg.Pepper}, cfg.OldPeppers...) {
		a.keyDigests = append(a.keyDigests, newDigester(pepper))
		a.instanceDigests = append(a.instanceDigests, newDigester(instancePepper(pepper)))
	}
	a.byLookup = newCache(a.loadByLookup)
	a.byID = newCache(a.loadByID)
	a.accounts = newCache(a.loadAccount)
	a.seenAt.Store(neverSeen)
	return a, nil
}

// NewKey makes an API key under the current pepper.
func (a *Authenticator) NewKey() domain.NewKeySecret { return NewKey(a.pepper) }

// KeyWithLookup makes a new secret, under the current pepper, for the key that is found by lookup.
func (a *Authenticator) KeyWithLookup(lookup string) domain.NewKeySecret {
	return KeyWithLookup(a.pepper, lookup)
}

// InstanceTokenDigest returns what an instance with this token is to be found by.
func (a *Authenticator) InstanceTokenDigest(token string) []byte {
	digest := a.instanceDigests[0].sum(token)
	return digest[:]
}

// Bearer returns who presents credential: an API key, or a token minted from one. Errors are
// invalid_api_key, expired_api_key, insufficient_permissions (suspended account) or unavailable.
//
// The principal is shared with other calls: it must not be changed.
func (a *Authenticator) Bearer(ctx context.Context, credential string) (*domain.Principal, error) {
	switch {
	case credential == "":
		return nil, missingKey()
	case strings.HasPrefix(credential, keyPrefix):
		return a.byKey(ctx, credential)
	case strings.Count(credential, ".") == 2:
		return a.byToken(ctx, credential)
	default:
		return nil, invalidKey()
	}
}

// APIKeyHeader returns who presents value in an "apikey" header: an API key, which stands for its whole
// account (the instance is nil then), or the token of one instance, which sees that instance only.
// The principal is shared with other calls: it must not be changed.
func (a *Authenticator) APIKeyHeader(ctx context.Context, value string) (*domain.Principal, *domain.Instance, error) {
	switch {
	case value == "":
		return nil, nil, missingKey()
	case strings.HasPrefix(value, keyPrefix):
		principal, err := a.byKey(ctx, value)
		return principal, nil, err
	default:
		return a.byInstanceToken(ctx, value)
	}
}

func (a *Authenticator) byKey(ctx context.Context, text string) (*domain.Principal, error) {
	parsed, err := ParseKey(text)
	if err != nil {
		return nil, invalidKey()
	}
	now := a.now()
	record, err := a.byLookup.get(ctx, lookup([]byte(parsed.Lookup)), now, a.trusted(now))
	if err != nil {
		return nil, orNotFound(err, invalidKey)
	}
	if err := a.checkSecret(&record.key, parsed.Secret, now); err != nil {
		return nil, err
	}
	if err := record.check(now, invalidKey); err != nil {
		return nil, err
	}
	a.usage.note(record, now)
	return record.principal, nil
}

// instanceScopes are what the holder of an instance's token may do with that instance.
const instanceScopes = domain.ScopeInstancesRead | domain.ScopeInstancesWrite |
	domain.ScopeMessagesRead | domain.ScopeMessagesWrite | domain.ScopeContactsRead |
	domain.ScopeWebhooksRead | domain.ScopeWebhooksWrite

// byInstanceToken keeps nothing of the instance in memory: one indexed row is cheap, and a deleted
// instance's token must end with it.
func (a *Authenticator) byInstanceToken(ctx context.Context, token string) (*domain.Principal, *domain.Instance, error) {
	if !IsInstanceToken(token) {
		return nil, nil, invalidKey()
	}
	instance, err := a.findInstance(ctx, token)
	if err != nil {
		return nil, nil, orNotFound(err, invalidKey)
	}
	now := a.now()
	account, err := a.accounts.get(ctx, instance.AccountID, now, a.trusted(now))
	if err != nil {
		return nil, nil, orNotFound(err, invalidKey)
	}
	if account.suspended {
		return nil, nil, suspended()
	}
	return &domain.Principal{
		Account: account.account, Actor: account.account, KeyName: "instance token",
		Scopes: instanceScopes, Instances: []domain.ID{instance.ID},
	}, &instance, nil
}

// findInstance looks under the digest of every pepper, the current one first.
func (a *Authenticator) findInstance(ctx context.Context, token string) (instance domain.Instance, err error) {
	for _, digests := range a.instanceDigests {
		digest := digests.sum(token)
		instance, err = a.store.InstanceByToken(ctx, digest[:])
		if err == nil || !isNotFound(err) {
			break
		}
	}
	return instance, err
}

// orNotFound replaces "the store has no such thing" by the answer for whoever presented it.
func orNotFound(err error, answer func() error) error {
	if isNotFound(err) {
		return answer()
	}
	return err
}
