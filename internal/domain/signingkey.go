package domain

import "time"

// SigningKey signs tokens. The newest whose ActivatesAt has passed signs; all whose RetiresAt has not
// passed verify, so that two may be live during a rotation.
type SigningKey struct {
	ID          string // the JWT "kid"
	Public      []byte // Ed25519 public key, 32 bytes
	Sealed      []byte // the private key's seed, sealed to the kid
	CreatedAt   time.Time
	ActivatesAt time.Time
	RetiresAt   time.Time // zero while no successor exists
}
