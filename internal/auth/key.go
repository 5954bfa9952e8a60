package auth

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"strings"

	"github.com/pombal-api/pombal/internal/domain"
)

// The form of a key is pmb_<lookup>_<secret><crc>. Underscores let a double click select all of it; the
// prefix lets scanners find leaked keys; the checksum lets them, and us, tell a key from
// garbage without asking the database.
const (
	keyPrefix  = "pmb_"
	lookupSize = 12
	secretSize = 31 // base62 characters: 184 bits
	crcSize    = 6

	secretStart = len(keyPrefix) + lookupSize + 1
	crcStart    = secretStart + secretSize
	keySize     = crcStart + crcSize
)

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// ErrMalformedKey is returned for text that is not an API key or was changed since it was made.
var ErrMalformedKey = errors.New("malformed API key")

// lookup is the public part of a key, by which it is found.
type lookup [lookupSize]byte

// ParsedKey holds the two parts of a well-formed key. Both share the memory of the text that was parsed.
type ParsedKey struct {
	Lookup string // names the key; not secret
	Secret string
}

// NewKey makes an API key. The digest, under pepper, and the rest are for storing; Plain is for the
// customer's eyes and is kept nowhere.
func NewKey(pepper []byte) domain.NewKeySecret {
	return KeyWithLookup(pepper, randomBase62(lookupSize))
}

// KeyWithLookup makes a new secret for the key that is found by lookup, for its rotation.
func KeyWithLookup(pepper []byte, lookup string) domain.NewKeySecret {
	secret := randomBase62(secretSize)
	plain := appendChecksum(keyPrefix + lookup + "_" + secret)
	digest := newDigester(pepper).sum(secret)
	return domain.NewKeySecret{
		Plain:    plain,
		Lookup:   lookup,
		LastFour: plain[keySize-4:], // what a person sees at the end of what they hold
		Digest:   digest[:],
	}
}

// ParseKey takes a key apart. Anything but the exact form with the right checksum is ErrMalformedKey.
// It allocates nothing.
func ParseKey(text string) (ParsedKey, error) {
	if len(text) != keySize || !strings.HasPrefix(text, keyPrefix) || text[secretStart-1] != '_' {
		return ParsedKey{}, ErrMalformedKey
	}
	key := ParsedKey{Lookup: text[len(keyPrefix) : secretStart-1], Secret: text[secretStart:crcStart]}
	if !isBase62(key.Lookup) || !isBase62(key.Secret) {
		return ParsedKey{}, ErrMalformedKey
	}
	if crc := checksum(text[:crcStart]); text[crcStart:] != string(crc[:]) {
		return ParsedKey{}, ErrMalformedKey
	}
	return key, nil
}

func appendChecksum(text string) string {
	crc := checksum(text)
	return text + string(crc[:])
}

// checksum is the CRC-32 (IEEE) of text in base62, most significant digit first. The plain loop, unlike
// crc32.ChecksumIEEE, needs no copy of text on the heap.
func checksum(text string) [crcSize]byte {
	crc := ^uint32(0)
	for i := range len(text) {
		crc = crc32.IEEETable[byte(crc)^text[i]] ^ crc>>8
	}
	crc = ^crc
	var digits [crcSize]byte
	for i := crcSize - 1; i >= 0; i-- {
		digits[i] = base62[crc%62]
		crc /= 62
	}
	return digits
}

func isBase62(text string) bool {
	for i := range len(text) {
		c := text[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

// randomBase62 returns n characters, each of them equally likely: bytes that would favour the first
// characters of the alphabet are thrown away.
func randomBase62(n int) string {
	const fair = 256 / 62 * 62
	text := make([]byte, 0, n)
	var random [64]byte
	for len(text) < n {
		_, _ = rand.Read(random[:]) // never fails since Go 1.24: the runtime aborts instead
		for _, b := range random {
			if b < fair && len(text) < n {
				text = append(text, base62[b%62])
			}
		}
	}
	return string(text)
}

// Lengths of an instance's own token, which the caller may choose.
const (
	MinInstanceToken = 16
	MaxInstanceToken = 255
)

// NewInstanceToken makes the token of an instance: 128 random bits, spelled as the clients of the
// Evolution-compatible routes expect them, such as A1B2C3D4-E5F6-7890-ABCD-EF1234567890.
func NewInstanceToken() string {
	var random [16]byte
	_, _ = rand.Read(random[:])
	h := strings.ToUpper(hex.EncodeToString(random[:]))
	return h[0:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:32]
}

// IsInstanceToken reports whether text may be the token of an instance: 16 to 255 visible ASCII
// characters that cannot be mistaken for an API key.
func IsInstanceToken(text string) bool {
	if len(text) < MinInstanceToken || len(text) > MaxInstanceToken || strings.HasPrefix(text, keyPrefix) {
		return false
	}
	for i := range len(text) {
		if text[i] <= ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}

// InstanceTokenDigest returns what an instance is found by when its token is presented. pepper is the
// one of API keys; the digest uses a key derived from it.
func InstanceTokenDigest(pepper []byte, token string) []byte {
	digest := newDigester(instancePepper(pepper)).sum(token)
	return digest[:]
}
