package domain

import (
	"slices"
	"time"
)

// Principal is who is calling: what authentication yields and what every permission check reads.
type Principal struct {
	Account   Account // whose objects the call acts on
	Actor     Account // whose key it is; differs from Account when a partner acts on a child
	KeyID     ID      // the API key, or the key that minted the token
	KeyName   string
	TokenID   string // the token's jti; "" for an API key
	Scopes    ScopeSet
	Instances []ID      // the only instances it may see; nil for all
	Origin    string    // the only browser origin the token may be used from; "" for any
	Until     time.Time // when the credential ends; zero for never
	Children  bool      // acts on all children of Account (X-Account-Id: *)
}

// ViaToken reports whether the caller holds a short-lived token rather than an API key.
func (p *Principal) ViaToken() bool { return p.TokenID != "" }

// Credential names what the caller showed, for people: "key", or "token", of which an instance's own has no key.
func (p *Principal) Credential() string {
	if p.ViaToken() || p.KeyID.IsZero() {
		return "token"
	}
	return "key"
}

// Restricted reports whether the caller may see only some instances.
func (p *Principal) Restricted() bool { return p.Instances != nil }

// MaySee reports whether the caller's instance list, if it has one, includes id.
func (p *Principal) MaySee(id ID) bool {
	return p.Instances == nil || slices.Contains(p.Instances, id)
}

// Require returns nil when the caller holds scope, else a CodeInsufficient error that names it.
func (p *Principal) Require(scope ScopeSet) error {
	if p.Scopes.Has(scope) {
		return nil
	}
	shown, remedy := p.Credential(), "Use a key that has it, or create one with it."
	if shown == "token" {
		remedy = "Use a token or a key that has it."
	}
	return NewError(CodeInsufficient, "This "+shown+" lacks the scope "+(scope&^p.Scopes).String()+". "+remedy)
}
