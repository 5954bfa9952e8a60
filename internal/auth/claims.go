package auth

import (
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/golang-jwt/jwt/v5"

	"github.com/pombal-api/pombal/internal/domain"
)

// tokenType is the "typ" of our tokens (RFC 9068): no other kind of JWT can be mistaken for one.
const tokenType = "at+jwt"

// header is the whole header of a token. Anything more, such as "jwk" or "crit", is refused.
type header struct {
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid"`
	Type      string `json:"typ"`
}

// actor says who acts on the subject's behalf (RFC 8693).
type actor struct {
	Subject string `json:"sub"`
}

// claims are all claims of a token. They are read strictly: a name twice, in another case, or unknown
// makes the token invalid, and times are whole seconds.
type claims struct {
	Issuer    string   `json:"iss"`
	Audience  string   `json:"aud"`
	Subject   string   `json:"sub"`           // acct_…: whose objects it acts on
	Actor     *actor   `json:"act,omitzero"`  // the partner's account, when it acts on a child
	Key       string   `json:"key"`           // key_…: what it was minted from
	Origin    string   `json:"azp,omitzero"`  // the only browser origin it may be used from
	Scope     string   `json:"scope"`         // names separated by spaces
	Instances []string `json:"inst,omitzero"` // inst_…: the only instances it may see; absent for all
	IssuedAt  *int64   `json:"iat"`
	NotBefore *int64   `json:"nbf,omitzero"`
	ExpiresAt *int64   `json:"exp"`
	ID        string   `json:"jti"`
}

// UnmarshalJSON reads claims strictly.
func (c *claims) UnmarshalJSON(text []byte) error {
	type plain claims // without this method
	return json.Unmarshal(text, (*plain)(c), json.RejectUnknownMembers(true))
}

// The methods of jwt.Claims.

// GetExpirationTime returns "exp".
func (c *claims) GetExpirationTime() (*jwt.NumericDate, error) { return numericDate(c.ExpiresAt) }

// GetIssuedAt returns "iat".
func (c *claims) GetIssuedAt() (*jwt.NumericDate, error) { return numericDate(c.IssuedAt) }

// GetNotBefore returns "nbf".
func (c *claims) GetNotBefore() (*jwt.NumericDate, error) { return numericDate(c.NotBefore) }

// GetIssuer returns "iss".
func (c *claims) GetIssuer() (string, error) { return c.Issuer, nil }

// GetSubject returns "sub".
func (c *claims) GetSubject() (string, error) { return c.Subject, nil }

// GetAudience returns "aud".
func (c *claims) GetAudience() (jwt.ClaimStrings, error) { return jwt.ClaimStrings{c.Audience}, nil }

var errMalformedClaims = errors.New("malformed claims")

// numericDate refuses times before 1970 and after the year 10000, which only attackers write.
func numericDate(seconds *int64) (*jwt.NumericDate, error) {
	switch {
	case seconds == nil:
		return nil, nil
	case *seconds < 0 || *seconds > 253_402_300_800:
		return nil, errMalformedClaims
	}
	return &jwt.NumericDate{Time: time.Unix(*seconds, 0)}, nil
}

// Validate makes up for what the library leaves optional. It is called by it.
func (c *claims) Validate() error {
	if c.IssuedAt == nil || c.ExpiresAt == nil || c.ID == "" {
		return errMalformedClaims
	}
	if lifetime := *c.ExpiresAt - *c.IssuedAt; lifetime <= 0 || lifetime > int64(maxLifetime/time.Second) {
		return errMalformedClaims
	}
	return nil
}

// verifiedToken is what a token says, its signature and claims having been verified. What its key says
// now must still be asked.
type verifiedToken struct {
	account   domain.ID
	actor     domain.ID // differs from account when a partner acts on a child
	key       domain.ID
	scopes    domain.ScopeSet
	instances []domain.ID // nil for all
	origin    string
	id        string
	expires   time.Time
	signed    string // header and claims as they were sent
	made      principalMemo
}

// decode gives the claims their types.
func (c *claims) decode() (*verifiedToken, error) {
	v := &verifiedToken{origin: c.Origin, id: c.ID, expires: time.Unix(*c.ExpiresAt, 0)}
	var errs [3]error
	v.account, errs[0] = domain.ParsePrefixed(domain.PrefixAccount, c.Subject)
	v.key, errs[1] = domain.ParsePrefixed(domain.PrefixAPIKey, c.Key)
	v.actor = v.account
	if c.Actor != nil {
		v.actor, errs[2] = domain.ParsePrefixed(domain.PrefixAccount, c.Actor.Subject)
	}
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	var unknown string
	if v.scopes, unknown = domain.ParseScopes(strings.Fields(c.Scope)); unknown != "" {
		return nil, errMalformedClaims
	}
	if c.Instances == nil {
		return v, nil
	}
	v.instances = make([]domain.ID, len(c.Instances))
	for i, text := range c.Instances {
		id, err := domain.ParsePrefixed(domain.PrefixInstance, text)
		if err != nil {
			return nil, err
		}
		v.instances[i] = id
	}
	return v, nil
}

// readHeader reads the header of a token strictly. The second result is false for a token that is not
// of ours, whatever else it may be.
func readHeader(token string) (header, bool) {
	segment, _, _ := strings.Cut(token, ".")
	text, err := base64.RawURLEncoding.Strict().DecodeString(segment)
	if err != nil {
		return header{}, false
	}
	var h header
	if err := json.Unmarshal(text, &h, json.RejectUnknownMembers(true)); err != nil {
		return header{}, false
	}
	return h, h.Algorithm == jwt.SigningMethodEdDSA.Alg() && h.Type == tokenType && h.KeyID != ""
}
