package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/pombal-api/pombal/internal/domain"
)

const (
	// leeway is how far the clocks of two nodes may differ.
	leeway = 5 * time.Second

	verifiedFor = time.Minute // how long a verified signature is remembered at most
	maxTokens   = 16_384
)

// newParser returns the one parser of tokens. Algorithm, issuer and audience are ours, not the token's.
func newParser(cfg Config) *jwt.Parser {
	return jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}),
		jwt.WithIssuer(cfg.Issuer), jwt.WithAudience(cfg.Audience),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(leeway),
		jwt.WithStrictDecoding(), jwt.WithTimeFunc(cfg.Now),
	)
}

func (a *Authenticator) byToken(ctx context.Context, text string) (*domain.Principal, error) {
	signed, sum, ok := splitToken(text)
	if !ok || len(text) > maxCredential {
		return nil, invalidToken()
	}
	now := a.now()
	token := a.tokens.get(signed, sum, now)
	if token == nil {
		var err error
		if token, err = a.verify(ctx, text); err != nil {
			return nil, err
		}
		token.signed = strings.Clone(signed)
		a.tokens.put(sum, token, now)
	}
	return a.tokenPrincipal(ctx, token, now)
}

// verify checks everything about a token that does not change with time or with its key's state.
func (a *Authenticator) verify(ctx context.Context, text string) (*verifiedToken, error) {
	head, ok := readHeader(text)
	if !ok {
		return nil, invalidToken()
	}
	public, err := a.ring.public(ctx, head.KeyID)
	if err != nil {
		return nil, err
	}
	var c claims
	_, err = a.parser.ParseWithClaims(text, &c, func(*jwt.Token) (any, error) { return public, nil })
	if err != nil {
		return nil, refusal(err)
	}
	token, err := c.decode()
	if err != nil {
		return nil, invalidToken()
	}
	return token, nil
}

// refusal says "expired" only when that is all that is wrong with a token whose signature is right.
func refusal(err error) error {
	for _, worse := range []error{
		jwt.ErrTokenInvalidIssuer, jwt.ErrTokenInvalidAudience, jwt.ErrTokenNotValidYet,
		jwt.ErrTokenUsedBeforeIssued, jwt.ErrTokenRequiredClaimMissing, errMalformedClaims,
	} {
		if errors.Is(err, worse) {
			return invalidToken()
		}
	}
	if errors.Is(err, jwt.ErrTokenExpired) {
		return expiredToken()
	}
	return invalidToken()
}

// tokenPrincipal combines the token with what its key and accounts may do now.
func (a *Authenticator) tokenPrincipal(ctx context.Context, t *verifiedToken, now time.Time) (*domain.Principal, error) {
	record, err := a.byID.get(ctx, keyRef{t.actor, t.key}, now, a.trusted(now))
	if err != nil {
		return nil, orNotFound(err, invalidToken)
	}
	if err = record.check(now, invalidToken); err != nil {
		return nil, err
	}
	account := record.owner
	if t.account != t.actor {
		account, err = a.child(ctx, &record.owner.account, t.account, now)
		if err != nil {
			return nil, orNotFound(err, invalidToken)
		}
	}
	a.usage.note(record, now)
	return t.made.get(record, account, t), nil
}

// principalMemo keeps the principal of a token for as long as nothing that it is made of was reloaded.
type principalMemo struct{ last atomic.Pointer[madePrincipal] }

type madePrincipal struct {
	record    *keyRecord
	account   *accountRecord
	principal *domain.Principal
}

func (m *principalMemo) get(record *keyRecord, account *accountRecord, t *verifiedToken) *domain.Principal {
	if last := m.last.Load(); last != nil && last.record == record && last.account == account {
		return last.principal
	}
	principal := &domain.Principal{
		Account: account.account, Actor: record.owner.account,
		KeyID: record.key.ID, KeyName: record.key.Name, TokenID: t.id,
		Scopes:    t.scopes & record.key.Scopes,
		Instances: bothSee(t.instances, record.key.Instances),
		Origin:    t.origin,
		Until:     t.expires,
	}
	if end := record.key.ExpiresAt; !end.IsZero() && end.Before(principal.Until) {
		principal.Until = end
	}
	m.last.Store(&madePrincipal{record, account, principal})
	return principal
}

// bothSee returns the instances that two lists allow, where nil allows all.
func bothSee(a, b []domain.ID) []domain.ID {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	both := make([]domain.ID, 0, min(len(a), len(b)))
	for _, id := range a {
		if slices.Contains(b, id) {
			both = append(both, id)
		}
	}
	return both
}

// signatureSize is the length of an Ed25519 signature in base64.
const signatureSize = 86

// tokenSum is the SHA-256 of a token's signature: the name of the token in memory, where neither the
// token nor the signature is kept.
type tokenSum [sha256.Size]byte

// splitToken returns what is signed and the name of the token. The last result is false for text that
// ends in no signature of ours, or in one spelled differently (decoders skip line breaks).
func splitToken(text string) (signed string, sum tokenSum, ok bool) {
	dot := len(text) - signatureSize - 1
	if dot < 0 || text[dot] != '.' {
		return "", tokenSum{}, false
	}
	var signature [signatureSize]byte
	copy(signature[:], text[dot+1:])
	return text[:dot], sha256.Sum256(signature[:]), true
}

// tokenCache remembers tokens whose signature and claims were verified.
type tokenCache struct {
	mu       sync.RWMutex
	verified map[tokenSum]*cached[*verifiedToken]
}

// get returns the token if exactly this text was verified.
func (c *tokenCache) get(signed string, sum tokenSum, now time.Time) *verifiedToken {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if e := c.verified[sum]; e != nil && now.Before(e.expires) && e.value.signed == signed {
		return e.value
	}
	return nil
}

func (c *tokenCache) put(sum tokenSum, token *verifiedToken, now time.Time) {
	expires := now.Add(verifiedFor)
	if token.expires.Before(expires) {
		expires = token.expires
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.verified == nil {
		c.verified = map[tokenSum]*cached[*verifiedToken]{}
	}
	makeRoom(c.verified, maxTokens, func(k tokenSum) { delete(c.verified, k) })
	c.verified[sum] = &cached[*verifiedToken]{value: token, expires: expires}
}

func (c *tokenCache) sweep(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for sum, e := range c.verified {
		if !now.Before(e.expires) {
			delete(c.verified, sum)
		}
	}
}
