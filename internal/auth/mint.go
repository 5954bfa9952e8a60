package auth

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

const (
	minLifetime     = time.Minute
	maxLifetime     = time.Hour
	defaultLifetime = 15 * time.Minute

	// With these the largest token stays below maxCredential.
	maxTokenInstances = 50
	maxOrigin         = 255
	maxIssuer         = 255 // and audience

	prefixToken = "tok"
)

// Mint makes a token that may do at most what p may do, and ends no later than p's key. Its errors name
// the fields of the request: scopes, instanceIds, expiresIn, origin. A zero Lifetime is 15 minutes: a
// caller's explicit 0 is to be refused before.
func (a *Authenticator) Mint(ctx context.Context, p *domain.Principal, req domain.TokenRequest) (domain.TokenGrant, error) {
	if err := mayMint(p); err != nil {
		return domain.TokenGrant{}, err
	}
	if err := narrow(p, &req); err != nil {
		return domain.TokenGrant{}, err
	}
	now := a.now()
	record, err := a.byID.get(ctx, keyRef{p.Actor.ID, p.KeyID}, now, a.trusted(now))
	if err != nil {
		return domain.TokenGrant{}, orNotFound(err, invalidKey)
	}
	if err = record.check(now, invalidKey); err != nil {
		return domain.TokenGrant{}, err
	}
	issued := now.UTC().Truncate(time.Second)
	expires := issued.Add(req.Lifetime)
	if end := record.key.ExpiresAt; !end.IsZero() && end.Before(expires) {
		expires = end.UTC().Truncate(time.Second)
	}
	if !expires.After(issued) {
		return domain.TokenGrant{}, expiredKey() // it has less than a second left
	}
	key, err := a.ring.signer(ctx)
	if err != nil {
		return domain.TokenGrant{}, err
	}
	token, err := key.sign(a.newClaims(p, req, issued, expires))
	if err != nil {
		return domain.TokenGrant{}, err
	}
	return domain.TokenGrant{Token: token, ExpiresAt: expires, Scopes: req.Scopes, Instances: req.Instances}, nil
}

func (a *Authenticator) newClaims(p *domain.Principal, req domain.TokenRequest, issued, expires time.Time) *claims {
	iat, exp := issued.Unix(), expires.Unix()
	c := &claims{
		Issuer: a.issuer, Audience: a.audience,
		Subject: p.Account.ID.Prefixed(domain.PrefixAccount), Key: p.KeyID.Prefixed(domain.PrefixAPIKey),
		Origin: req.Origin, Scope: req.Scopes.String(),
		IssuedAt: &iat, NotBefore: &iat, ExpiresAt: &exp, ID: domain.NewID(issued).Prefixed(prefixToken),
	}
	if p.Actor.ID != p.Account.ID {
		c.Actor = &actor{Subject: p.Actor.ID.Prefixed(domain.PrefixAccount)}
	}
	if req.Instances != nil {
		c.Instances = make([]string, len(req.Instances))
		for i, id := range req.Instances {
			c.Instances[i] = id.Prefixed(domain.PrefixInstance)
		}
	}
	return c
}

func mayMint(p *domain.Principal) error {
	switch {
	case p.ViaToken() || p.KeyID.IsZero():
		return insufficient("Only an API key can mint tokens. Call this from your back end, with the key.")
	case p.Children:
		return allNotAllowed()
	}
	return nil
}

// narrow fills in what the request leaves to the key and refuses what goes beyond it.
func narrow(p *domain.Principal, req *domain.TokenRequest) error {
	if req.Scopes == 0 {
		req.Scopes = p.Scopes
	}
	if beyond := req.Scopes &^ p.Scopes; beyond != 0 {
		return insufficient("A token can hold only scopes of its key, which lacks "+beyond.String()+".", domain.Detail{
			Field: "scopes", Code: "not_allowed", Message: "leave out " + beyond.String() + ", or mint with a key that has it.",
		})
	}
	if err := narrowInstances(p, req); err != nil {
		return err
	}
	switch {
	case req.Lifetime == 0:
		req.Lifetime = defaultLifetime
	case req.Lifetime < minLifetime || req.Lifetime > maxLifetime:
		return domain.Invalid(domain.Detail{
			Field: "expiresIn", Code: "out_of_range", Message: "send 60 to 3600 seconds, or leave it out for 900.",
		})
	}
	if req.Origin != "" && (len(req.Origin) > maxOrigin || !domain.IsOrigin(req.Origin)) {
		return domain.Invalid(domain.Detail{
			Field: "origin", Code: "format", Message: "send scheme, host and port only, as browsers do: https://app.example.com.",
		})
	}
	return nil
}

func narrowInstances(p *domain.Principal, req *domain.TokenRequest) error {
	if req.Instances == nil {
		req.Instances = p.Instances
	}
	for _, id := range req.Instances {
		if !p.MaySee(id) {
			name := id.Prefixed(domain.PrefixInstance)
			return insufficient("A token can see only instances that its key can see, and "+name+" is not one of them.", domain.Detail{
				Field: "instanceIds", Code: "not_allowed", Message: "leave out " + name + ", or mint with a key that can see it.",
			})
		}
	}
	if len(req.Instances) > maxTokenInstances {
		return domain.Invalid(domain.Detail{Field: "instanceIds", Code: "too_many", Message: "a token can name at most " +
			strconv.Itoa(maxTokenInstances) + " instances. Name fewer, or mint with a key that can see all and leave it out."})
	}
	req.Instances = slices.Clone(req.Instances) // nil stays nil
	return nil
}
