package fakewa

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.mau.fi/whatsmeow/proto/waAdv"
	"go.mau.fi/whatsmeow/types"
	"google.golang.org/protobuf/proto"
)

const (
	// pairingTime is how long a client may show codes: the first for a minute, five more for 20 s each.
	pairingTime = 160 * time.Second
	// codesShown is how many references a client gets, one per QR code.
	codesShown = 6
)

// What can go wrong when a phone links a device.
var (
	// ErrUnknownCode is returned for a QR text or a pairing code that nobody shows, or not any more.
	ErrUnknownCode = errors.New("fakewa: nobody shows this code, or not any more")
	// ErrWrongCode is returned when the typed code is not the one that the client shows.
	ErrWrongCode = errors.New("fakewa: the code is not the one that the client shows")
	// ErrTooManyDevices is returned when the phone has as many linked devices as it can.
	ErrTooManyDevices = errors.New("fakewa: the phone has too many linked devices")
	// ErrRefused is returned when the client does not accept the phone's answer.
	ErrRefused = errors.New("fakewa: the client has refused the phone")
)

// Prefixes of what phones and devices sign, so that one signature cannot stand for another.
const (
	signedByAccount = "\x06\x00"
	signedByDevice  = "\x06\x01"
)

// pairing is a connection that waits for a phone. Guarded by Server.mu.
type pairing struct {
	conn    *conn
	refs    []string
	expires time.Time
	claimed bool // a phone is at it
	static  [32]byte
	keys    deviceKeys
	code    *codePairing // nil until the client asks for a code
}

// beginPairing gives a new client what it needs to show codes.
func (s *Server) beginPairing(c *conn, h *hello) {
	p, err := s.newPairing(c, h)
	if err != nil {
		s.log.Info("fakewa: pairing refused", "error", err)
		c.finish(failure(400, nil))
		return
	}
	refs := make([]node, 0, codesShown)
	for range codesShown {
		ref := newRef()
		p.refs = append(p.refs, ref)
		refs = append(refs, data("ref", []byte(ref)))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ref := range p.refs {
		s.pairings[ref] = p
	}
	c.pairing, c.state = p, StatePairing
	c.delay.Store(int64(s.delayOf(c)))
	c.send(el("iq", attrs{"from": types.ServerJID, "type": "set", "id": newID(), "xmlns": "md"},
		el("pair-device", nil, refs...)))
	s.notify()
}

func newRef() string {
	var raw [24]byte
	_, _ = rand.Read(raw[:]) // never fails
	return "2@" + base64.StdEncoding.EncodeToString(raw[:])
}

var errRegistration = errors.New("fakewa: the client's registration is malformed")

func (s *Server) newPairing(c *conn, h *hello) (*pairing, error) {
	r := h.payload.GetDevicePairingData()
	if len(r.GetERegid()) != 4 || len(r.GetEIdent()) != 32 || len(r.GetESkeyID()) != 3 || len(r.GetESkeyVal()) != 32 || len(r.GetESkeySig()) != 64 {
		return nil, errRegistration
	}
	id := r.GetESkeyID()
	return &pairing{
		conn: c, expires: s.now().Add(pairingTime), static: h.static,
		keys: deviceKeys{
			registration: binary.BigEndian.Uint32(r.GetERegid()),
			identity:     [32]byte(r.GetEIdent()),
			signed: publicKey{
				id:  uint32(id[0])<<16 | uint32(id[1])<<8 | uint32(id[2]),
				key: [32]byte(r.GetESkeyVal()), signature: [64]byte(r.GetESkeySig()),
			},
		},
	}, nil
}

// dropPairing forgets a pairing. The caller holds mu.
func (s *Server) dropPairing(p *pairing) {
	for _, ref := range p.refs {
		delete(s.pairings, ref)
	}
	p.conn.pairing = nil
}

// claim finds a pairing for a phone, which must release it unless it succeeds.
func (s *Server) claim(ref string, fits func(*pairing) bool) (*pairing, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.pairings[ref]
	if !ok || p.claimed || s.now().After(p.expires) || !fits(p) {
		return nil, ErrUnknownCode
	}
	p.claimed = true
	return p, nil
}

func (s *Server) release(p *pairing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.claimed = false
}

// qrCode is what a QR code says.
type qrCode struct {
	ref              string
	static, identity [32]byte
	secret           []byte
}

// parseQR reads the text of a QR code. Newer clients show an address with the code after the #.
func parseQR(s string) (qrCode, bool) {
	if _, after, found := strings.Cut(s, "#"); found {
		s = after
	}
	parts := strings.Split(s, ",")
	if len(parts) < 4 {
		return qrCode{}, false
	}
	var keys [3][]byte
	for i := range keys {
		raw, err := base64.StdEncoding.DecodeString(parts[i+1])
		if err != nil || len(raw) != 32 {
			return qrCode{}, false
		}
		keys[i] = raw
	}
	return qrCode{ref: parts[0], static: [32]byte(keys[0]), identity: [32]byte(keys[1]), secret: keys[2]}, true
}

// ScanQR links the client that shows the QR code, and returns when it is linked. The client then comes
// back and logs in.
func (a *Account) ScanQR(ctx context.Context, text string) error {
	code, ok := parseQR(text)
	if !ok {
		return fmt.Errorf("%w: this is not the text of a QR code", ErrUnknownCode)
	}
	p, err := a.srv.claim(code.ref, func(p *pairing) bool {
		return p.static == code.static && p.keys.identity == code.identity
	})
	if err != nil {
		return err
	}
	return a.link(ctx, p, code.secret)
}

// link finishes a pairing with the secret that phone and client share.
func (a *Account) link(ctx context.Context, p *pairing, secret []byte) error {
	d, err := a.newDevice(p)
	if err != nil {
		a.srv.release(p)
		return err
	}
	vouched, details, err := a.vouch(d, secret)
	if err != nil {
		a.srv.release(p)
		return err
	}
	answer, err := p.conn.call(ctx, pairSuccess(d, vouched, a.srv.stamp()))
	if err == nil {
		err = a.checkSigned(answer, details, d.keys.identity)
	}
	if err != nil {
		a.srv.release(p)
		return err
	}
	a.srv.mu.Lock()
	defer a.srv.mu.Unlock()
	a.devices[d.id] = d
	a.srv.dropPairing(p)
	a.srv.stats.Pairings++
	p.conn.finish(streamError("515", ""))
	a.srv.unsaved()
	a.srv.notify()
	return nil
}

// maxDevice is the highest number of a linked device. One byte must hold it.
const maxDevice = 99

// newDevice chooses the number of a device, which is linked later or never.
func (a *Account) newDevice(p *pairing) (*device, error) {
	a.srv.mu.Lock()
	id := uint16(0)
	for range maxDevice {
		a.issued++
		id = uint16((a.issued-1)%maxDevice + 1)
		if _, used := a.devices[id]; !used {
			break
		}
	}
	_, used := a.devices[id]
	again := a.issued > maxDevice
	d := &device{account: a, id: id, noise: p.static, keys: p.keys, since: a.srv.now()}
	a.srv.mu.Unlock()
	if used {
		return nil, ErrTooManyDevices
	}
	if again {
		a.srv.forgetSessions(d.lid())
	}
	return d, nil
}

// forgetSessions makes everybody begin anew with a device whose number another one has had.
func (s *Server) forgetSessions(device types.JID) {
	s.mu.Lock()
	people := make([]person, 0, len(s.people))
	for _, who := range s.people {
		people = append(people, who)
	}
	s.mu.Unlock()
	for _, who := range people {
		who.signal().forget(device)
	}
}

// vouch signs the device's identity with the account's.
func (a *Account) vouch(d *device, secret []byte) (vouched, details []byte, err error) {
	e2ee := waAdv.ADVEncryptionType_E2EE.Enum()
	details, err = proto.Marshal(&waAdv.ADVDeviceIdentity{
		RawID:     proto.Uint32(a.peer.dev.RegistrationID),
		Timestamp: proto.Uint64(uint64(a.srv.now().Unix())),
		KeyIndex:  proto.Uint32(uint32(d.id)), AccountType: e2ee, DeviceType: e2ee,
	})
	if err != nil {
		return nil, nil, err
	}
	key := a.peer.dev.IdentityKey
	signature := sign(key, []byte(signedByAccount), details, d.keys.identity[:])
	signed, err := proto.Marshal(&waAdv.ADVSignedDeviceIdentity{
		Details: details, AccountSignatureKey: key.Pub[:], AccountSignature: signature[:],
	})
	if err != nil {
		return nil, nil, err
	}
	if a.srv.spoils(a.profile.phone) {
		secret = make([]byte, len(secret))
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write(signed)
	vouched, err = proto.Marshal(&waAdv.ADVSignedDeviceIdentityHMAC{Details: signed, HMAC: mac.Sum(nil)})
	return vouched, details, err
}

func pairSuccess(d *device, vouched []byte, stamp string) node {
	return el("iq", attrs{"from": types.ServerJID, "type": "set", "id": newID(), "xmlns": "md", "t": stamp},
		el("pair-success", nil,
			data("device-identity", vouched),
			el("biz", attrs{"name": ""}),
			el("device", attrs{"jid": d.pn(), "lid": d.lid()}),
			el("platform", attrs{"name": "android"})))
}

// checkSigned sees to it that the client has signed its identity together with the account's.
func (a *Account) checkSigned(answer *node, details []byte, device [32]byte) error {
	if refusal, refused := find(answer, "error"); refused {
		return fmt.Errorf("%w: %s %s", ErrRefused, text(refusal, "code"), text(refusal, "text"))
	}
	var signed waAdv.ADVSignedDeviceIdentity
	if err := proto.Unmarshal(bytesAt(answer, "pair-device-sign", "device-identity"), &signed); err != nil {
		return fmt.Errorf("%w: its identity is malformed", ErrRefused)
	}
	if !verify(device, signed.GetDeviceSignature(), []byte(signedByDevice), details, device[:], a.peer.dev.IdentityKey.Pub[:]) {
		return fmt.Errorf("%w: its signature is wrong", ErrRefused)
	}
	return nil
}
