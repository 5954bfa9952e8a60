package fakewa

import (
	"encoding/binary"

	"go.mau.fi/libsignal/ecc"
	signalid "go.mau.fi/libsignal/keys/identity"
	"go.mau.fi/libsignal/keys/prekey"
	"go.mau.fi/libsignal/util/optional"
	"go.mau.fi/whatsmeow/types"
)

// publicKey is a key that others may use to begin a Signal session.
type publicKey struct {
	id        uint32 // 24 bits on the wire
	key       [32]byte
	signature [64]byte // of signed prekeys
}

// deviceKeys are what a device has uploaded.
type deviceKeys struct {
	registration uint32
	identity     [32]byte
	signed       publicKey
	oneTime      []publicKey
}

func countPreKeys(q *iq) ([]node, error) {
	s := q.c.srv
	s.mu.Lock()
	defer s.mu.Unlock()
	return []node{el("count", attrs{"value": len(q.c.device.keys.oneTime)})}, nil
}

func uploadPreKeys(q *iq) ([]node, error) {
	uploaded, ok := parseKeys(q.n)
	if !ok {
		return nil, iqError{406, "not-acceptable"}
	}
	s := q.c.srv
	s.mu.Lock()
	defer s.mu.Unlock()
	d := q.c.device
	uploaded.oneTime = append(d.keys.oneTime, uploaded.oneTime...)
	d.keys = uploaded
	s.notify()
	return nil, nil
}

func parseKeys(n *node) (k deviceKeys, ok bool) {
	registration := bytesAt(n, "registration")
	identityKey, ok := keyAt(n, "identity")
	signed, found := find(n, "skey")
	list, listed := find(n, "list")
	if !ok || !found || !listed || len(registration) != 4 {
		return k, false
	}
	k.registration = binary.BigEndian.Uint32(registration)
	k.identity = identityKey
	if k.signed, ok = parseKey(signed); !ok {
		return k, false
	}
	for _, child := range list.GetChildren() {
		one, ok := parseKey(&child)
		if !ok {
			return k, false
		}
		k.oneTime = append(k.oneTime, one)
	}
	return k, true
}

func parseKey(n *node) (k publicKey, ok bool) {
	id := bytesAt(n, "id")
	if k.key, ok = keyAt(n, "value"); !ok || len(id) != 3 {
		return k, false
	}
	k.id = uint32(id[0])<<16 | uint32(id[1])<<8 | uint32(id[2])
	copy(k.signature[:], bytesAt(n, "signature"))
	return k, true
}

// take uses up a one-time key. Without one a session can be begun too. The caller holds Server.mu.
func (k *deviceKeys) take() (one publicKey, ok bool) {
	if len(k.oneTime) == 0 {
		return one, false
	}
	one = k.oneTime[0]
	k.oneTime = k.oneTime[1:]
	return one, true
}

// bundle is what it takes to begin a session with the device, for peers. The caller holds Server.mu.
func (d *device) bundle() *prekey.Bundle {
	one, ok := d.keys.take()
	id, key := optional.NewEmptyUint32(), ecc.ECPublicKeyable(nil)
	if ok {
		id, key = optional.NewOptionalUint32(one.id), ecc.NewDjbECPublicKey(one.key)
	}
	return prekey.NewBundle(d.keys.registration, uint32(d.id), id, d.keys.signed.id, key,
		ecc.NewDjbECPublicKey(d.keys.signed.key), d.keys.signed.signature,
		signalid.NewKey(ecc.NewDjbECPublicKey(d.keys.identity)))
}

// fetchPreKeys answers with what it takes to begin sessions with the devices that are asked for.
func fetchPreKeys(q *iq) ([]node, error) {
	var users []node
	for _, child := range q.body.GetChildren() {
		wanted := address(&child, "jid")
		user := el("user", attrs{"jid": wanted}, el("error", attrs{"code": 404, "text": "item-not-found"}))
		if bundle, ok := q.c.srv.bundleNodes(wanted); ok {
			user.Content = bundle
		}
		users = append(users, user)
	}
	return []node{el("list", nil, users...)}, nil
}

// bundleNodes returns the keys of a phone or of a linked device.
func (s *Server) bundleNodes(wanted types.JID) ([]node, bool) {
	s.mu.Lock()
	who, ok := s.people[wanted.User]
	if account, is := who.(*Account); is && wanted.Device > 0 {
		defer s.mu.Unlock()
		d, linked := account.devices[wanted.Device]
		if !linked {
			return nil, false
		}
		one, has := d.keys.take()
		return keyNodes(&d.keys, one, has), true
	}
	s.mu.Unlock()
	if !ok || wanted.Device > 0 {
		return nil, false
	}
	k, one, err := who.signal().publish()
	if err != nil {
		return nil, false
	}
	return keyNodes(&k, one, true), true
}

func keyNodes(k *deviceKeys, one publicKey, has bool) []node {
	nodes := []node{
		data("registration", binary.BigEndian.AppendUint32(nil, k.registration)),
		data("type", []byte{ecc.DjbType}),
		data("identity", k.identity[:]),
		keyNode("skey", k.signed, data("signature", k.signed.signature[:])),
	}
	if has {
		nodes = append(nodes, keyNode("key", one))
	}
	return nodes
}

func keyNode(tag string, k publicKey, more ...node) node {
	id := []byte{byte(k.id >> 16), byte(k.id >> 8), byte(k.id)}
	return el(tag, nil, append([]node{data("id", id), data("value", k.key[:])}, more...)...)
}
