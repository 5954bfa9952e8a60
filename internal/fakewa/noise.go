package fakewa

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"go.mau.fi/whatsmeow/proto/waWa6"
	"go.mau.fi/whatsmeow/socket"
	"google.golang.org/protobuf/proto"
)

// hello is what a client has proved and said in the handshake.
type hello struct {
	static  [32]byte // its Noise key
	payload *waWa6.ClientPayload
}

// handshake is the state of Noise_XX_25519_AESGCM_SHA256, as responder.
type handshake struct {
	hash    [32]byte
	chain   []byte
	cipher  cipher.AEAD
	counter uint32
}

func newHandshake() *handshake {
	h := &handshake{chain: []byte(socket.NoiseStartPattern)}
	copy(h.hash[:], socket.NoiseStartPattern)
	h.mixHash(socket.WAConnHeader)
	return h
}

func (h *handshake) mixHash(data []byte) {
	sum := sha256.New()
	sum.Write(h.hash[:])
	sum.Write(data)
	sum.Sum(h.hash[:0])
}

// mixKey replaces the key by one that depends on a Diffie-Hellman secret of own and remote too.
func (h *handshake) mixKey(own *ecdh.PrivateKey, remote []byte) error {
	public, err := ecdh.X25519().NewPublicKey(remote)
	if err != nil {
		return err
	}
	secret, err := own.ECDH(public)
	if err != nil {
		return err
	}
	chain, key, err := h.expand(secret)
	if err != nil {
		return err
	}
	h.chain, h.counter = chain, 0
	h.cipher, err = newGCM(key)
	return err
}

func (h *handshake) expand(secret []byte) (first, second []byte, err error) {
	both, err := hkdf.Key(sha256.New, secret, h.chain, "", 64)
	if err != nil {
		return nil, nil, err
	}
	return both[:32], both[32:], nil
}

func (h *handshake) seal(plain []byte) []byte {
	sealed := h.cipher.Seal(nil, nonce(h.counter), plain, h.hash[:])
	h.counter++
	h.mixHash(sealed)
	return sealed
}

func (h *handshake) open(sealed []byte) ([]byte, error) {
	plain, err := h.cipher.Open(nil, nonce(h.counter), sealed, h.hash[:])
	if err != nil {
		return nil, err
	}
	h.counter++
	h.mixHash(sealed)
	return plain, nil
}

var errHandshake = errors.New("fakewa: the client's handshake is malformed")

// accept carries out the handshake and leaves the frames encrypted.
func accept(ctx context.Context, f *frames, own *identity) (*hello, error) {
	var first waWa6.HandshakeMessage
	if err := readMessage(ctx, f, &first); err != nil {
		return nil, err
	}
	h := newHandshake()
	ephemeral, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	answer, err := h.answer(first.GetClientHello().GetEphemeral(), ephemeral, own)
	if err != nil {
		return nil, err
	}
	if err = f.write(ctx, answer); err != nil {
		return nil, err
	}
	var second waWa6.HandshakeMessage
	if err = readMessage(ctx, f, &second); err != nil {
		return nil, err
	}
	client, err := h.finish(second.GetClientFinish(), ephemeral)
	if err != nil {
		return nil, err
	}
	return client, h.split(f)
}

func readMessage(ctx context.Context, f *frames, m *waWa6.HandshakeMessage) error {
	raw, err := f.read(ctx)
	if err != nil {
		return err
	}
	if err := proto.Unmarshal(raw, m); err != nil {
		return fmt.Errorf("%w: %w", errHandshake, err)
	}
	return nil
}

// answer takes the client's ephemeral key and returns the server's hello.
func (h *handshake) answer(client []byte, ephemeral *ecdh.PrivateKey, own *identity) ([]byte, error) {
	static, err := ecdh.X25519().NewPrivateKey(own.static.Priv[:])
	if err != nil {
		return nil, err
	}
	h.mixHash(client)
	h.mixHash(ephemeral.PublicKey().Bytes())
	if err := h.mixKey(ephemeral, client); err != nil {
		return nil, fmt.Errorf("%w: %w", errHandshake, err)
	}
	sealedStatic := h.seal(own.static.Pub[:])
	if err := h.mixKey(static, client); err != nil {
		return nil, fmt.Errorf("%w: %w", errHandshake, err)
	}
	return proto.Marshal(&waWa6.HandshakeMessage{ServerHello: &waWa6.HandshakeMessage_ServerHello{
		Ephemeral: ephemeral.PublicKey().Bytes(),
		Static:    sealedStatic,
		Payload:   h.seal(own.chain),
	}})
}

// finish learns who the client is.
func (h *handshake) finish(m *waWa6.HandshakeMessage_ClientFinish, ephemeral *ecdh.PrivateKey) (*hello, error) {
	static, err := h.open(m.GetStatic())
	if err != nil || len(static) != 32 {
		return nil, errHandshake
	}
	if err = h.mixKey(ephemeral, static); err != nil {
		return nil, fmt.Errorf("%w: %w", errHandshake, err)
	}
	raw, err := h.open(m.GetPayload())
	if err != nil {
		return nil, errHandshake
	}
	client := &hello{static: [32]byte(static), payload: &waWa6.ClientPayload{}}
	if err := proto.Unmarshal(raw, client.payload); err != nil {
		return nil, fmt.Errorf("%w: %w", errHandshake, err)
	}
	return client, nil
}

// split gives the frames their two keys.
func (h *handshake) split(f *frames) error {
	fromClient, toClient, err := h.expand(nil)
	if err != nil {
		return err
	}
	if f.in.cipher, err = newGCM(fromClient); err != nil {
		return err
	}
	f.out.cipher, err = newGCM(toClient)
	return err
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func nonce(counter uint32) []byte {
	var n [12]byte
	binary.BigEndian.PutUint32(n[8:], counter)
	return n[:]
}
