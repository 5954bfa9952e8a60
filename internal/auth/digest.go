package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"sync"
)

// digester computes HMAC-SHA-256 under one pepper without allocating. A slow hash would buy nothing
// against secrets of 128 random bits and more; the pepper makes a copy of the database useless.
type digester struct{ pool sync.Pool }

type digestState struct {
	mac hash.Hash
	in  [MaxInstanceToken]byte
	out [sha256.Size]byte
}

func newDigester(pepper []byte) *digester {
	return &digester{pool: sync.Pool{New: func() any {
		return &digestState{mac: hmac.New(sha256.New, pepper)}
	}}}
}

// sum returns the digest of text, of which at most MaxInstanceToken bytes count.
func (d *digester) sum(text string) [sha256.Size]byte {
	s := d.pool.Get().(*digestState)
	defer d.pool.Put(s)
	n := copy(s.in[:], text)
	s.mac.Reset()
	s.mac.Write(s.in[:n])
	s.mac.Sum(s.out[:0])
	clear(s.in[:n])
	return s.out
}

// digesters are the digesters of all peppers, the current one first.
type digesters []*digester

// instancePepper derives the pepper of instance tokens, so that no digest of a key is ever that of a
// token. No secret of a key is spelled like the label.
func instancePepper(pepper []byte) []byte {
	mac := hmac.New(sha256.New, pepper)
	mac.Write([]byte("pombal/v1/instance-token"))
	return mac.Sum(nil)
}
