package fakewa

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"strings"

	"go.mau.fi/whatsmeow/types"
)

// codePairing is a client that shows a code of eight characters, for one phone.
type codePairing struct {
	phone    string
	ref      string
	wrapped  []byte       // the client's ephemeral key, encrypted with the code
	finished chan<- *node // where the client's second message goes; nil while no phone waits for it. Guarded by Server.mu
}

// linkByCode takes in both messages of a client that pairs by code.
func linkByCode(q *iq) ([]node, error) {
	switch text(q.body, "stage") {
	case "companion_hello":
		return offerCode(q)
	case "companion_finish":
		return finishCode(q)
	}
	return nil, iqError{400, "bad-request"}
}

// wrappedSize is the length of an encrypted ephemeral key: salt, initialization vector, key.
const wrappedSize = 32 + 16 + 32

// offerCode notes that a client shows a code to a phone. The code itself it keeps for itself.
func offerCode(q *iq) ([]node, error) {
	phone := address(q.body, "jid").User
	wrapped := bytesAt(q.body, "link_code_pairing_wrapped_companion_ephemeral_pub")
	s := q.c.srv
	s.mu.Lock()
	defer s.mu.Unlock()
	a, known := s.people[phone].(*Account)
	if q.c.pairing == nil || !known || a.profile.phone != phone || len(wrapped) != wrappedSize {
		return nil, iqError{400, "bad-request"}
	}
	p := q.c.pairing
	p.code = &codePairing{phone: phone, ref: newRef(), wrapped: wrapped}
	p.refs = append(p.refs, p.code.ref)
	s.pairings[p.code.ref] = p
	s.notify()
	return []node{el("link_code_companion_reg", attrs{"stage": "companion_hello"},
		data("link_code_pairing_ref", []byte(p.code.ref)))}, nil
}

// finishCode passes the client's second message to the phone.
func finishCode(q *iq) ([]node, error) {
	s := q.c.srv
	s.mu.Lock()
	defer s.mu.Unlock()
	p := q.c.pairing
	if p == nil || p.code == nil || p.code.finished == nil {
		return nil, iqError{400, "bad-request"}
	}
	p.code.finished <- q.body
	p.code.finished = nil
	return nil, nil
}

// WaitForCode returns when a client shows a code to this phone.
func (a *Account) WaitForCode(ctx context.Context) error {
	return a.srv.WaitFor(ctx, func() bool {
		_, ok := a.shownCode()
		return ok
	})
}

// shownCode returns the newest code that is shown to this phone.
func (a *Account) shownCode() (shown *codePairing, ok bool) {
	a.srv.mu.Lock()
	defer a.srv.mu.Unlock()
	var newest *pairing
	for _, p := range a.srv.pairings {
		fits := p.code != nil && p.code.phone == a.profile.phone
		if fits && (newest == nil || p.expires.After(newest.expires)) {
			newest = p
		}
	}
	if newest == nil {
		return nil, false
	}
	return newest.code, true
}

// TypeCode links the client that shows the code to this phone, and returns when it is linked. The code may
// have a dash. A wrong code leaves the client waiting: the phone may try again.
func (a *Account) TypeCode(ctx context.Context, code string) error {
	code = strings.ToUpper(strings.ReplaceAll(code, "-", ""))
	shown, ok := a.shownCode()
	if !ok {
		return ErrUnknownCode
	}
	p, err := a.srv.claim(shown.ref, func(p *pairing) bool { return p.code == shown })
	if err != nil {
		return err
	}
	secret, err := a.agree(ctx, p, shown, code)
	if err != nil {
		a.srv.release(p)
		return err
	}
	return a.link(ctx, p, secret)
}

// agree exchanges keys with the client under the code, and returns the secret that both then know.
func (a *Account) agree(ctx context.Context, p *pairing, shown *codePairing, code string) ([]byte, error) {
	own, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	theirs, err := wrap(code, shown.wrapped[:32], shown.wrapped[32:48], shown.wrapped[48:])
	if err != nil {
		return nil, err
	}
	finish, err := a.exchange(ctx, p.conn, shown, own, code)
	if err != nil {
		return nil, err
	}
	shared, err := diffieHellman(own, theirs)
	if err != nil {
		return nil, ErrWrongCode
	}
	random, err := a.openBundle(finish, shared, p.keys.identity)
	if err != nil {
		return nil, err
	}
	static, err := ecdh.X25519().NewPrivateKey(a.peer.dev.IdentityKey.Priv[:])
	if err != nil {
		return nil, err
	}
	identities, err := diffieHellman(static, p.keys.identity[:])
	if err != nil {
		return nil, err
	}
	return hkdf.Key(sha256.New, join(shared, identities, random), nil, "adv_secret", 32)
}

// exchange sends the phone's key and waits for the client's.
func (a *Account) exchange(ctx context.Context, c *conn, shown *codePairing, own *ecdh.PrivateKey, code string) (*node, error) {
	head := make([]byte, 32+16) // salt and initialization vector
	_, _ = rand.Read(head)      // never fails
	sealed, err := wrap(code, head[:32], head[32:], own.PublicKey().Bytes())
	if err != nil {
		return nil, err
	}
	finished := make(chan *node, 1)
	a.srv.mu.Lock()
	shown.finished = finished
	a.srv.mu.Unlock()
	c.send(el("notification", attrs{"from": types.ServerJID, "type": "link_code_companion_reg", "id": newID(), "t": a.srv.stamp()},
		el("link_code_companion_reg", attrs{"stage": "primary_hello"},
			data("link_code_pairing_ref", []byte(shown.ref)),
			data("link_code_pairing_wrapped_primary_ephemeral_pub", append(head, sealed...)),
			data("primary_identity_pub", a.peer.dev.IdentityKey.Pub[:]))))
	select {
	case finish := <-finished:
		return finish, nil
	case <-c.dead:
		return nil, errGone
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// openBundle decrypts what the client has made with the shared secret. When the phone has another code than
// the client, the secrets differ and nothing comes out.
func (a *Account) openBundle(finish *node, shared []byte, device [32]byte) ([]byte, error) {
	bundle := bytesAt(finish, "link_code_pairing_wrapped_key_bundle")
	if len(bundle) < 32+12 {
		return nil, fmt.Errorf("%w: its keys are malformed", ErrRefused)
	}
	key, err := hkdf.Key(sha256.New, shared, bundle[:32], "link_code_pairing_key_bundle_encryption_key", 32)
	if err != nil {
		return nil, err
	}
	gcm, err := newGCM(key)
	if err != nil {
		return nil, err
	}
	plain, err := gcm.Open(nil, bundle[32:44], bundle[44:], nil)
	if err != nil || len(plain) != 96 {
		return nil, ErrWrongCode
	}
	if [32]byte(plain[:32]) != device || [32]byte(plain[32:64]) != *a.peer.dev.IdentityKey.Pub {
		return nil, fmt.Errorf("%w: its keys are of somebody else", ErrRefused)
	}
	return plain[64:], nil
}

// codeRounds makes it slow to guess a code.
const codeRounds = 2 << 16

// wrap encrypts or decrypts an ephemeral key with a code.
func wrap(code string, salt, iv, key []byte) ([]byte, error) {
	secret, err := pbkdf2.Key(sha256.New, code, salt, codeRounds, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, err
	}
	wrapped := make([]byte, len(key))
	cipher.NewCTR(block, iv).XORKeyStream(wrapped, key)
	return wrapped, nil
}

func diffieHellman(own *ecdh.PrivateKey, theirs []byte) ([]byte, error) {
	public, err := ecdh.X25519().NewPublicKey(theirs)
	if err != nil {
		return nil, err
	}
	return own.ECDH(public)
}
