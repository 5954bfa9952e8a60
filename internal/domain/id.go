package domain

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"time"
)

// ID identifies an object: a UUIDv7 (RFC 9562), so ids sort by the time they were made.
// The zero ID means "none" and never names an object.
type ID [16]byte

// Prefixes of the TypeID form that /v1 shows.
const (
	PrefixInstance = "inst"
	PrefixAccount  = "acct"
	PrefixAPIKey   = "key"
	PrefixRequest  = "req"
	PrefixEvent    = "evt"
	PrefixWebhook  = "wh"
	PrefixDelivery = "log"
	PrefixInbound  = "whin"
)

// crockford is Crockford's base32 alphabet in lower case, as the TypeID specification fixes it.
const crockford = "0123456789abcdefghjkmnpqrstvwxyz"

// encodedLen is the length of 16 bytes in base32 without padding.
const encodedLen = 26

// ErrMalformedID is returned for text that cannot name any object.
var ErrMalformedID = errors.New("malformed id")

// NewID returns a new UUIDv7 stamped with now.
func NewID(now time.Time) ID {
	var id ID
	_, _ = rand.Read(id[6:]) // never fails since Go 1.24: the runtime aborts instead
	ms := uint64(now.UnixMilli())
	binary.BigEndian.PutUint32(id[0:4], uint32(ms>>16))
	binary.BigEndian.PutUint16(id[4:6], uint16(ms))
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	return id
}

// IsZero reports whether id names nothing.
func (id ID) IsZero() bool { return id == ID{} }

// String returns the UUID spelling: 8-4-4-4-12 lower-case hex digits.
func (id ID) String() string { return string(id.AppendUUID(nil)) }

// AppendUUID appends the UUID spelling to dst.
func (id ID) AppendUUID(dst []byte) []byte {
	var b [36]byte
	hex.Encode(b[0:8], id[0:4])
	hex.Encode(b[9:13], id[4:6])
	hex.Encode(b[14:18], id[6:8])
	hex.Encode(b[19:23], id[8:10])
	hex.Encode(b[24:36], id[10:16])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return append(dst, b[:]...)
}

// ParseUUID reads the UUID spelling in either case.
func ParseUUID(s string) (ID, error) {
	var id ID
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return ID{}, ErrMalformedID
	}
	digits := s[0:8] + s[9:13] + s[14:18] + s[19:23] + s[24:36]
	if _, err := hex.Decode(id[:], []byte(digits)); err != nil {
		return ID{}, ErrMalformedID
	}
	return id, nil
}

// Prefixed returns the TypeID spelling, such as inst_01jd9k….
func (id ID) Prefixed(prefix string) string {
	return string(id.AppendPrefixed(make([]byte, 0, len(prefix)+1+encodedLen), prefix))
}

// AppendPrefixed appends the TypeID spelling to dst.
func (id ID) AppendPrefixed(dst []byte, prefix string) []byte {
	dst = append(dst, prefix...)
	dst = append(dst, '_')
	var b [encodedLen]byte
	hi, lo := binary.BigEndian.Uint64(id[:8]), binary.BigEndian.Uint64(id[8:])
	for i := encodedLen - 1; i >= 0; i-- {
		b[i] = crockford[lo&31]
		lo = lo>>5 | hi<<59
		hi >>= 5
	}
	return append(dst, b[:]...)
}

// ParsePrefixed reads the TypeID spelling. Anything but the exact prefix and 26 characters of the
// alphabet is ErrMalformedID: one object has one spelling.
func ParsePrefixed(prefix, s string) (ID, error) {
	if len(s) != len(prefix)+1+encodedLen || s[:len(prefix)] != prefix || s[len(prefix)] != '_' {
		return ID{}, ErrMalformedID
	}
	digits := s[len(prefix)+1:]
	if digits[0] > '7' { // 26 digits hold 130 bits; the first two must be zero
		return ID{}, ErrMalformedID
	}
	var hi, lo uint64
	for i := range encodedLen {
		v := crockfordValue(digits[i])
		if v < 0 {
			return ID{}, ErrMalformedID
		}
		hi = hi<<5 | lo>>59
		lo = lo<<5 | uint64(v)
	}
	var id ID
	binary.BigEndian.PutUint64(id[:8], hi)
	binary.BigEndian.PutUint64(id[8:], lo)
	return id, nil
}

// crockfordValue returns the value of one digit, or -1.
func crockfordValue(c byte) int {
	for i := range len(crockford) {
		if crockford[i] == c {
			return i
		}
	}
	return -1
}
