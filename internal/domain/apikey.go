package domain

import "time"

// APIKey is a long-lived secret of an account. The secret itself is shown once and never stored.
type APIKey struct {
	ID         ID
	AccountID  ID
	Lookup     string // the public middle part of the key, by which it is found
	Name       string
	LastFour   string // of the secret, so that people can tell keys apart
	Digest     []byte // HMAC-SHA-256 of the secret under the pepper
	Scopes     ScopeSet
	Instances  []ID // the only instances it may see; nil for all
	ExpiresAt  time.Time
	LastUsedAt time.Time // coarse: written at most once a minute
	RevokedAt  time.Time
	CreatedAt  time.Time

	// PreviousDigest is the secret before the last rotation, good until PreviousExpiresAt.
	PreviousDigest    []byte
	PreviousExpiresAt time.Time
}

// KeyRotation replaces the secret of a key.
type KeyRotation struct {
	// Request identifies the call. A repeated rotation with the same Request (a retry after a crash,
	// whose secret nobody saw) replaces the new secret but keeps the old one's overlap.
	Request   ID
	Lookup    string
	LastFour  string
	Digest    []byte
	Overlap   time.Duration // how long the old secret stays good
	RotatedAt time.Time
}

// KeyUse says when a key was used last.
type KeyUse struct {
	AccountID ID
	At        time.Time
}
