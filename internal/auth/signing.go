package auth

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/pombal-api/pombal/internal/domain"
)

const (
	// A new key is published this long before it signs, so that no verifier meets it unprepared.
	publishAhead = 5 * time.Minute
	// An old key verifies this long after its successor began to sign: as long as the longest token,
	// and a minute for clocks that differ.
	retireAfter = maxLifetime + time.Minute

	renewEvery    = time.Minute         // how often nodes look for each other's keys
	rotateAfter   = 30 * 24 * time.Hour // the age at which a key is replaced
	unknownEvery  = 5 * time.Second     // how often an unknown kid may cause a look into the database
	retryEvery    = time.Second         // the same after a look that failed
	kidRandomSize = 8
)

// keyring holds the keys that sign and verify tokens. All nodes share them through the database.
type keyring struct {
	store  Store
	sealer Sealer
	log    *slog.Logger
	now    func() time.Time
	jitter time.Duration // so that not all nodes find the key old in the same minute

	keys atomic.Pointer[[]ringKey] // newest first; nil before the first load

	mu       sync.Mutex // held while looking into the database
	nextLook time.Time  // when an unknown kid may cause the next look
	lookErr  error      // of the last such look
}

// ringKey is a signing key as loaded.
type ringKey struct {
	domain.SigningKey
	private ed25519.PrivateKey // nil when the seed was sealed under a secret that this node lacks
}

func newKeyring(cfg Config, store Store, sealer Sealer) *keyring {
	jitter, err := rand.Int(rand.Reader, big.NewInt(int64(time.Hour)))
	if err != nil {
		jitter = new(big.Int)
	}
	return &keyring{store: store, sealer: sealer, log: cfg.Log, now: cfg.Now, jitter: time.Duration(jitter.Int64())}
}

// public returns the key that verifies tokens of kid. A kid that is not known costs at most one look
// into the database per unknownEvery, for all callers together.
func (r *keyring) public(ctx context.Context, kid string) (ed25519.PublicKey, error) {
	if key := r.live(kid); key != nil {
		return key.Public, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := r.now(); r.live(kid) == nil && !now.Before(r.nextLook) {
		r.lookErr = r.load(ctx)
		r.nextLook = now.Add(unknownEvery)
		if r.lookErr != nil {
			r.nextLook = now.Add(retryEvery)
		}
	}
	if key := r.live(kid); key != nil {
		return key.Public, nil
	}
	if r.lookErr != nil {
		return nil, r.lookErr
	}
	return nil, invalidToken()
}

// live returns the key named kid unless it has retired.
func (r *keyring) live(kid string) *ringKey {
	keys := r.loaded()
	i := slices.IndexFunc(keys, func(k ringKey) bool { return k.ID == kid })
	if i < 0 || keys[i].retired(r.now()) {
		return nil
	}
	return &keys[i]
}

func (k *ringKey) retired(now time.Time) bool {
	return !k.RetiresAt.IsZero() && !now.Before(k.RetiresAt)
}

func (r *keyring) loaded() []ringKey {
	if keys := r.keys.Load(); keys != nil {
		return *keys
	}
	return nil
}

// signer returns the key that signs now. The first call of all makes it.
func (r *keyring) signer(ctx context.Context) (*ringKey, error) {
	if key := r.active(); key != nil {
		return key, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.load(ctx); err != nil {
		return nil, err
	}
	if key := r.active(); key != nil {
		return key, nil
	}
	if err := r.add(ctx, 0); err != nil {
		return nil, err
	}
	if key := r.active(); key != nil {
		return key, nil
	}
	return nil, errors.New("auth: the signing key just made cannot be used")
}

// active returns the newest key that may sign now and that this node can use.
func (r *keyring) active() *ringKey {
	now := r.now()
	keys := r.loaded()
	for i := range keys {
		if key := &keys[i]; key.private != nil && !key.retired(now) && !key.ActivatesAt.After(now) {
			return key
		}
	}
	return nil
}

// rotate adds a key that takes over after publishAhead, or at once when none is signing.
func (r *keyring) rotate(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rotateLocked(ctx)
}

func (r *keyring) rotateLocked(ctx context.Context) error {
	if err := r.load(ctx); err != nil {
		return err
	}
	if r.active() == nil {
		return r.add(ctx, 0)
	}
	return r.add(ctx, publishAhead)
}

// renew looks into the database and replaces the newest key when it is old.
func (r *keyring) renew(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.load(ctx); err != nil {
		return err
	}
	keys := r.loaded()
	if len(keys) == 0 || r.now().Sub(keys[0].CreatedAt) < rotateAfter+r.jitter {
		return nil
	}
	return r.rotateLocked(ctx)
}

// load reads the keys from the database. It is not for one caller only, so no caller's hanging up ends it.
func (r *keyring) load(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), loadTimeout)
	defer cancel()
	rows, err := r.store.SigningKeys(ctx)
	if err != nil {
		return err
	}
	keys := make([]ringKey, 0, len(rows))
	for _, row := range rows {
		keys = append(keys, r.open(ctx, row))
	}
	slices.SortFunc(keys, func(a, b ringKey) int { return b.ActivatesAt.Compare(a.ActivatesAt) })
	r.keys.Store(&keys)
	return nil
}

// open unseals the private key. Without it the key still verifies.
func (r *keyring) open(ctx context.Context, row domain.SigningKey) ringKey {
	key := ringKey{SigningKey: row}
	seed, err := r.sealer.Open(row.Sealed, sealedAt(row.ID))
	if err == nil && len(seed) != ed25519.SeedSize {
		err = errors.New("the seed has a wrong size")
	}
	if err != nil {
		r.log.LogAttrs(ctx, slog.LevelWarn, "a signing key cannot be used for signing", slog.String("kid", row.ID), slog.Any("error", err))
		return key
	}
	key.private = ed25519.NewKeyFromSeed(seed)
	return key
}

// add makes a key that signs after wait, and retires the others accordingly.
func (r *keyring) add(ctx context.Context, wait time.Duration) error {
	now := r.now().UTC().Truncate(time.Millisecond)
	seed := make([]byte, ed25519.SeedSize)
	_, _ = rand.Read(seed) // never fails since Go 1.24: the runtime aborts instead
	private := ed25519.NewKeyFromSeed(seed)
	kid := now.Format(time.DateOnly) + "-" + randomBase62(kidRandomSize)
	key := domain.SigningKey{
		ID: kid, Public: private.Public().(ed25519.PublicKey), Sealed: r.sealer.Seal(seed, sealedAt(kid)),
		CreatedAt: now, ActivatesAt: now.Add(wait),
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), loadTimeout)
	defer cancel()
	if err := r.store.AddSigningKey(ctx, key, key.ActivatesAt.Add(retireAfter)); err != nil {
		return fmt.Errorf("add a signing key: %w", err)
	}
	return r.load(ctx)
}

// sealedAt names the place of a sealed seed. Signing keys belong to no account.
func sealedAt(kid string) []byte { return []byte("|signing_keys|sealed|" + kid) }

// sign makes a token of the claims.
func (k *ringKey) sign(c *claims) (string, error) {
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, c)
	token.Header["kid"] = k.ID
	token.Header["typ"] = tokenType
	return token.SignedString(k.private)
}

// jsonWebKey is a public key as RFC 8037 spells it.
type jsonWebKey struct {
	Type      string `json:"kty"`
	Curve     string `json:"crv"`
	Algorithm string `json:"alg"`
	Use       string `json:"use"`
	KeyID     string `json:"kid"`
	X         string `json:"x"`
}

// JWKS returns the JSON Web Key Set of every key that a valid token may be signed with, now or within
// the next minutes. It may be cached for at most three minutes, or a verifier could miss a new key.
func (a *Authenticator) JWKS(ctx context.Context) ([]byte, error) {
	if _, err := a.ring.signer(ctx); err != nil {
		return nil, err
	}
	set := struct {
		Keys []jsonWebKey `json:"keys"`
	}{[]jsonWebKey{}}
	now := a.now()
	for _, key := range a.ring.loaded() {
		if !key.retired(now) {
			set.Keys = append(set.Keys, jsonWebKey{
				Type: "OKP", Curve: "Ed25519", Algorithm: jwt.SigningMethodEdDSA.Alg(), Use: "sig",
				KeyID: key.ID, X: base64.RawURLEncoding.EncodeToString(key.Public),
			})
		}
	}
	return json.Marshal(set)
}

// RotateSigningKey adds a key that signs tokens from five minutes from now on. Tokens signed by the
// present one stay valid until they expire.
func (a *Authenticator) RotateSigningKey(ctx context.Context) error { return a.ring.rotate(ctx) }
