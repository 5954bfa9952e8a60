package fakewa

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"sync"

	"go.mau.fi/libsignal/keys/prekey"
	"go.mau.fi/libsignal/protocol"
	"go.mau.fi/libsignal/session"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/util/keys"
	"google.golang.org/protobuf/proto"
)

// peer is the Signal side of a phone: it encrypts what the phone sends and decrypts what it gets.
type peer struct {
	mu    sync.Mutex // held during each operation; locked before Server.mu
	dev   *store.Device
	vault *vault
}

// newPeer makes a peer whose keys depend on the seed and the phone number only.
func newPeer(seed []byte, phone string) *peer {
	v := newVault()
	dev := &store.Device{
		IdentityKey:    deriveKeyPair(seed, "identity of "+phone),
		RegistrationID: uint32(deriveNumber(seed, "registration of "+phone, 1, 16380)),
		LIDs:           v,
		Container:      v,
	}
	signed := &keys.PreKey{KeyPair: *deriveKeyPair(seed, "signed prekey of "+phone), KeyID: 1}
	signed.Signature = dev.IdentityKey.Sign(&signed.KeyPair)
	dev.SignedPreKey = signed
	dev.SetAllStores(v)
	return &peer{dev: dev, vault: v}
}

// publish returns the peer's keys for others, with a new one-time key.
func (p *peer) publish() (k deviceKeys, one publicKey, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fresh := p.vault.newPreKey()
	k = deviceKeys{
		registration: p.dev.RegistrationID,
		identity:     *p.dev.IdentityKey.Pub,
		signed:       publicKey{id: p.dev.SignedPreKey.KeyID, key: *p.dev.SignedPreKey.Pub, signature: *p.dev.SignedPreKey.Signature},
	}
	return k, publicKey{id: fresh.KeyID, key: *fresh.Pub}, nil
}

// forget drops the session with a device.
func (p *peer) forget(device types.JID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.vault.sessions, device.SignalAddress().String())
}

// cipher returns what encrypts and decrypts with one device. The caller holds mu.
func (p *peer) cipher(with types.JID) (*session.Builder, *session.Cipher) {
	builder := session.NewBuilderFromSignal(p.dev, with.SignalAddress(), store.SignalProtobufSerializer)
	return builder, session.NewCipher(builder, with.SignalAddress())
}

// encrypt returns an enc node for the device. bundle is asked for when there is no session yet. The caller
// holds mu, until the node is in the device's queue: order is part of the protocol.
func (p *peer) encrypt(ctx context.Context, to types.JID, m *waE2E.Message, bundle func() *prekey.Bundle) (node, error) {
	plain, err := proto.Marshal(m)
	if err != nil {
		return node{}, fmt.Errorf("fakewa: marshal a message: %w", err)
	}
	builder, cipher := p.cipher(to)
	has, err := p.dev.ContainsSession(ctx, to.SignalAddress())
	if err != nil {
		return node{}, err
	}
	if !has {
		if err = builder.ProcessBundle(ctx, bundle()); err != nil {
			return node{}, fmt.Errorf("fakewa: begin a session with %s: %w", to, err)
		}
	}
	sealed, err := cipher.Encrypt(ctx, pad(plain))
	if err != nil {
		return node{}, fmt.Errorf("fakewa: encrypt for %s: %w", to, err)
	}
	kind := "msg"
	if sealed.Type() == protocol.PREKEY_TYPE {
		kind = "pkmsg"
	}
	return node{Tag: "enc", Attrs: attrs{"v": "2", "type": kind}, Content: sealed.Serialize()}, nil
}

var errEncryption = errors.New("fakewa: an encrypted part is of an unknown kind")

// decrypt reads an enc node that a device has made for this peer.
func (p *peer) decrypt(ctx context.Context, from types.JID, enc *node) (*waE2E.Message, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, cipher := p.cipher(from)
	content, _ := enc.Content.([]byte)
	var plain []byte
	switch text(enc, "type") {
	case "pkmsg":
		sealed, err := protocol.NewPreKeySignalMessageFromBytes(content,
			store.SignalProtobufSerializer.PreKeySignalMessage, store.SignalProtobufSerializer.SignalMessage)
		if err != nil {
			return nil, err
		}
		if plain, err = cipher.DecryptMessage(ctx, sealed); err != nil {
			return nil, err
		}
	case "msg":
		sealed, err := protocol.NewSignalMessageFromBytes(content, store.SignalProtobufSerializer.SignalMessage)
		if err != nil {
			return nil, err
		}
		if plain, err = cipher.Decrypt(ctx, sealed); err != nil {
			return nil, err
		}
	default:
		return nil, errEncryption
	}
	return parseMessage(plain)
}

// parseMessage reads a decrypted message, which ends in n bytes of the value n.
func parseMessage(plain []byte) (*waE2E.Message, error) {
	plain, err := unpad(plain)
	if err != nil {
		return nil, err
	}
	m := &waE2E.Message{}
	if err := proto.Unmarshal(plain, m); err != nil {
		return nil, fmt.Errorf("fakewa: a decrypted message is malformed: %w", err)
	}
	return m, nil
}

var errPadding = errors.New("fakewa: a decrypted message has bad padding")

func unpad(plain []byte) ([]byte, error) {
	if len(plain) == 0 {
		return nil, errPadding
	}
	n := int(plain[len(plain)-1])
	if n == 0 || n > len(plain) {
		return nil, errPadding
	}
	return plain[:len(plain)-n], nil
}

func pad(plain []byte) []byte {
	n := 1 + randomBelow(15)
	return append(plain, bytes.Repeat([]byte{byte(n)}, n)...)
}

func randomBelow(n int64) int {
	i, err := rand.Int(rand.Reader, big.NewInt(n))
	if err != nil {
		return 0 // the system's source of randomness does not fail
	}
	return int(i.Int64())
}
