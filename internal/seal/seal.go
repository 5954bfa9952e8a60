// Package seal encrypts what must not be readable in a copy of the database, and derives every other
// key the program needs from the operator's one secret.
//
// A sealed value is bound to the place it belongs to, which the caller names (domain has them): moved into another
// row, it does not open. The operator may name several secrets: the first seals, all open, so that a secret is
// replaced by putting the new one in front and dropping the old one when nothing needs it any more.
package seal

import (
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/tink-crypto/tink-go/v2/aead/subtle"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// A sealed value is: version (1 byte), key id (4 bytes), then Tink's XChaCha20-Poly1305 output: nonce
// (24 bytes), ciphertext, tag (16 bytes). The long random nonce lets one key seal any number of values.
const (
	version    = 1
	prefixSize = 1 + 4
)

// Overhead is how many bytes longer a sealed value is than the value.
const Overhead = prefixSize + 24 + 16

// Purposes of derived keys start with this, so that a later scheme cannot collide with this one.
const purposePrefix = "pombal/v1/"

// ErrCannotOpen is returned for anything that was not sealed under one of the secrets for that place.
var ErrCannotOpen = errors.New("sealed value does not open: it was sealed under another secret, " +
	"belongs to another row, or was changed")

// Sealer seals and opens values. It is safe for concurrent use.
type Sealer struct {
	secrets [][]byte
	keys    []sealingKey // in the order of secrets
}

// sealingKey is what one secret seals with.
type sealingKey struct {
	prefix [prefixSize]byte
	aead   tink.AEAD
}

// New returns a Sealer over the operator's secrets, as [ParseSecret] returns them: the first seals, all
// open. It refuses weak ones.
func New(secrets ...[]byte) (*Sealer, error) {
	if len(secrets) == 0 {
		return nil, errors.New("no secret was given. " + howToMake)
	}
	s := &Sealer{}
	for i, secret := range secrets {
		if err := checkBytes(secret); err != nil {
			return nil, fmt.Errorf("secret %d: %w", i+1, err)
		}
		key, err := newSealingKey(secret)
		if err != nil {
			return nil, err
		}
		s.secrets = append(s.secrets, slices.Clone(secret))
		s.keys = append(s.keys, key)
	}
	return s, nil
}

func newSealingKey(secret []byte) (sealingKey, error) {
	aead, err := subtle.NewXChaCha20Poly1305(derive(secret, "seal", 32))
	if err != nil {
		return sealingKey{}, fmt.Errorf("prepare sealing: %w", err)
	}
	key := sealingKey{aead: aead}
	key.prefix[0] = version
	copy(key.prefix[1:], derive(secret, "seal-key-id", prefixSize-1))
	return key, nil
}

// Seal encrypts plain under the first secret, bound to ad, which Open must be given again.
func (s *Sealer) Seal(plain, ad []byte) []byte {
	key := s.keys[0]
	sealed, err := key.aead.Encrypt(plain, key.bind(ad))
	if err != nil {
		panic("seal: " + err.Error()) //nolint:forbidigo // only for a plaintext that no address space can hold
	}
	return slices.Concat(key.prefix[:], sealed)
}

// Open returns what Seal was given. Its only error is [ErrCannotOpen], which never holds a plaintext.
func (s *Sealer) Open(sealed, ad []byte) ([]byte, error) {
	if len(sealed) < Overhead {
		return nil, ErrCannotOpen
	}
	for _, key := range s.keys {
		if [prefixSize]byte(sealed) != key.prefix {
			continue
		}
		if plain, err := key.aead.Decrypt(sealed[prefixSize:], key.bind(ad)); err == nil {
			return plain, nil
		}
	}
	return nil, ErrCannotOpen
}

// Current reports whether sealed was sealed under the first secret; what was not should be sealed
// again before its secret is dropped.
func (s *Sealer) Current(sealed []byte) bool {
	return len(sealed) >= Overhead && [prefixSize]byte(sealed) == s.keys[0].prefix
}

// bind authenticates the prefix together with the caller's associated data.
func (k *sealingKey) bind(ad []byte) []byte { return slices.Concat(k.prefix[:], ad) }

// Derive returns n bytes that depend on the first secret and on purpose alone, such as
// Derive("api-key-pepper", 32). n is at most 8,160.
func (s *Sealer) Derive(purpose string, n int) []byte { return derive(s.secrets[0], purpose, n) }

// DeriveAll is Derive for each secret, the first secret's first: what was made under an older secret
// must be recognised under it.
func (s *Sealer) DeriveAll(purpose string, n int) [][]byte {
	keys := make([][]byte, len(s.secrets))
	for i, secret := range s.secrets {
		keys[i] = derive(secret, purpose, n)
	}
	return keys
}

// derive is HKDF-SHA256 without a salt: the secret is uniformly random already.
func derive(secret []byte, purpose string, n int) []byte {
	key, err := hkdf.Key(sha256.New, secret, nil, purposePrefix+purpose, n)
	if err != nil {
		panic("seal: derive " + purpose + ": " + err.Error()) //nolint:forbidigo // only for an n beyond HKDF's limit, which no caller asks for
	}
	return key
}
