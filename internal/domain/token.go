package domain

import "time"

// TokenRequest asks for a short-lived token, narrower than the key it is minted from.
type TokenRequest struct {
	Scopes    ScopeSet // 0 for the key's
	Instances []ID     // nil for the key's
	Lifetime  time.Duration
	Origin    string // the only browser origin it may be used from; "" for any
}

// TokenGrant is a minted token.
type TokenGrant struct {
	Token     string
	ExpiresAt time.Time
	Scopes    ScopeSet
	Instances []ID // nil for all
}

// NewKeySecret is a freshly made API key: Plain is shown once, the rest is stored.
type NewKeySecret struct {
	Plain    string
	Lookup   string
	LastFour string
	Digest   []byte
}
