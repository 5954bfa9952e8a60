package domain

import "time"

// IdempotencyClaim asks to be the one call that executes under an Idempotency-Key.
type IdempotencyClaim struct {
	Key         string   // as sent, 1 to 255 visible ASCII characters
	Fingerprint [32]byte // SHA-256 over method, route and body: another request must not reuse the key
	Resource    ID       // the id that the object to be made shall have
	LockFor     time.Duration
	KeepFor     time.Duration
}

// IdempotencyState says what became of a claim.
type IdempotencyState int

// The outcomes of a claim.
const (
	IdempotencyClaimed    IdempotencyState = iota // execute, with the Resource of the answer
	IdempotencyInProgress                         // another call executes right now
	IdempotencyReplay                             // finished: answer with the stored answer
	IdempotencyMismatch                           // the key belongs to another request
)

// IdempotencyResult answers a claim.
type IdempotencyResult struct {
	State    IdempotencyState
	Resource ID // of the first claim, so that a retry after a crash finds what the first one made
	Answer   StoredAnswer
}

// StoredAnswer is a finished answer, kept for replay. The body is sealed: it may hold a new secret.
type StoredAnswer struct {
	Status int
	Header map[string]string
	Sealed []byte
}
