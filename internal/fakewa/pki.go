package fakewa

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"go.mau.fi/libsignal/ecc"
	"go.mau.fi/whatsmeow/proto/waCert"
	"go.mau.fi/whatsmeow/util/keys"
	"google.golang.org/protobuf/proto"
)

// RootKey returns the public key that a client must trust to talk to a server of the same seed.
func RootKey(seed []byte) [32]byte { return *deriveKeyPair(seed, "root").Pub }

// derive returns 32 bytes that depend on the seed and the label only.
func derive(seed []byte, label string) [32]byte {
	mac := hmac.New(sha256.New, seed)
	mac.Write([]byte("pombal fakewa " + label))
	return [32]byte(mac.Sum(nil))
}

func deriveKeyPair(seed []byte, label string) *keys.KeyPair {
	secret := derive(seed, label)
	secret[0] &= 248
	secret[31] &= 127
	secret[31] |= 64
	return keys.NewKeyPairFromPrivateKey(secret)
}

// deriveNumber returns a number in [low, low+span).
func deriveNumber(seed []byte, label string, low, span uint64) uint64 {
	b := derive(seed, label)
	return low + binary.BigEndian.Uint64(b[:8])%span
}

// identity is what the server proves itself with: a key for the Noise handshake and the certificates
// that lead from the root to it.
type identity struct {
	static *keys.KeyPair
	chain  []byte // a marshalled waCert.CertChain
}

// Serial numbers of the certificates. Clients expect the issuer of the intermediate to be 0.
const (
	serialRoot = iota
	serialIntermediate
	serialLeaf
)

func newIdentity(seed []byte) (*identity, error) {
	root := deriveKeyPair(seed, "root")
	intermediate := deriveKeyPair(seed, "intermediate")
	leaf := deriveKeyPair(seed, "leaf")
	upper, err := certify(root, serialRoot, serialIntermediate, intermediate)
	if err != nil {
		return nil, err
	}
	lower, err := certify(intermediate, serialIntermediate, serialLeaf, leaf)
	if err != nil {
		return nil, err
	}
	chain, err := proto.Marshal(&waCert.CertChain{Intermediate: upper, Leaf: lower})
	if err != nil {
		return nil, fmt.Errorf("fakewa: marshal the certificates: %w", err)
	}
	return &identity{static: leaf, chain: chain}, nil
}

// certify signs the subject's key. The validity is so wide that no test clock leaves it.
func certify(issuer *keys.KeyPair, issuerSerial, serial uint32, subject *keys.KeyPair) (*waCert.CertChain_NoiseCertificate, error) {
	details, err := proto.Marshal(&waCert.CertChain_NoiseCertificate_Details{
		Serial:       &serial,
		IssuerSerial: &issuerSerial,
		Key:          subject.Pub[:],
		NotBefore:    proto.Uint64(unixOf(2000)),
		NotAfter:     proto.Uint64(unixOf(2200)),
	})
	if err != nil {
		return nil, fmt.Errorf("fakewa: marshal a certificate: %w", err)
	}
	signature := sign(issuer, details)
	return &waCert.CertChain_NoiseCertificate{Details: details, Signature: signature[:]}, nil
}

func unixOf(year int) uint64 {
	return uint64(time.Date(year, time.January, 1, 0, 0, 0, 0, time.UTC).Unix())
}

// sign makes an XEdDSA signature over the parts, one after the other.
func sign(key *keys.KeyPair, parts ...[]byte) [64]byte {
	return ecc.CalculateSignature(ecc.NewDjbECPrivateKey(*key.Priv), join(parts...))
}

// verify checks an XEdDSA signature.
func verify(public [32]byte, signature []byte, parts ...[]byte) bool {
	return len(signature) == 64 && ecc.VerifySignature(ecc.NewDjbECPublicKey(public), join(parts...), [64]byte(signature))
}

// join returns the parts in one new slice.
func join(parts ...[]byte) []byte {
	var all []byte
	for _, part := range parts {
		all = append(all, part...)
	}
	return all
}
