package fakewa

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.mau.fi/whatsmeow/types"
)

// AccountOptions describe a phone with WhatsApp on it.
type AccountOptions struct {
	Phone      string `json:"phone"`                // digits of the international number; a leading + is dropped
	PushName   string `json:"pushName,omitempty"`   // what others see; linked devices learn it after the first login
	About      string `json:"about,omitempty"`      // the line below the name
	PictureURL string `json:"pictureUrl,omitempty"` // "" for no picture
}

// Account is a simulated phone, which can link devices.
type Account struct {
	srv     *Server
	profile profile
	peer    *peer
	app     appState

	// Guarded by srv.mu.
	devices  map[uint16]*device
	issued   int // how many devices it has had
	received history[Received]
}

// device is a linked device. Guarded by Server.mu.
type device struct {
	account  *Account
	id       uint16
	noise    [32]byte // what it proves itself with
	keys     deviceKeys
	since    time.Time
	greeted  bool     // it has had what a phone sends to a new device
	conn     *conn    // nil while it is away
	queue    []stanza // not written yet
	inflight []stanza // written, but not acknowledged
}

func (d *device) pn() types.JID {
	j := d.account.profile.pn()
	j.Device = d.id
	return j
}

func (d *device) lid() types.JID {
	j := d.account.profile.lid()
	j.Device = d.id
	return j
}

var errPhone = errors.New("fakewa: a phone number has 7 to 15 digits and does not begin with 0")

// phoneNumber returns the digits of a number.
func phoneNumber(s string) (string, error) {
	s = strings.TrimPrefix(s, "+")
	strange := strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	if strange || len(s) < 7 || len(s) > 15 || s[0] == '0' {
		return "", fmt.Errorf("%w: %q", errPhone, s)
	}
	return s, nil
}

// newProfile gives a phone number its second identity, which depends on the seed and the number only.
func (s *Server) newProfile(phone, name string) (profile, error) {
	phone, err := phoneNumber(phone)
	if err != nil {
		return profile{}, err
	}
	lid := deriveNumber(s.seed, "lid of "+phone, 100_000_000_000_000, 800_000_000_000_000)
	return profile{phone: phone, lidUser: strconv.FormatUint(lid, 10), name: name}, nil
}

// ErrTaken is returned for a number that somebody has already.
var ErrTaken = errors.New("fakewa: somebody has this number")

// register makes a person known. The number must be new.
func (s *Server) register(p person) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := p.whois()
	if _, taken := s.people[w.phone]; taken {
		return fmt.Errorf("%w: %s", ErrTaken, w.phone)
	}
	s.people[w.phone] = p
	s.people[w.lidUser] = p
	s.unsaved()
	s.notify()
	return nil
}

// AddAccount adds a phone. It fails when the number is malformed or taken.
func (s *Server) AddAccount(o AccountOptions) (*Account, error) {
	p, err := s.newProfile(o.Phone, o.PushName)
	if err != nil {
		return nil, err
	}
	p.about, p.picture = o.About, o.PictureURL
	a := &Account{srv: s, profile: p, peer: newPeer(s.seed, p.phone), devices: make(map[uint16]*device)}
	if err := s.register(a); err != nil {
		return nil, err
	}
	return a, nil
}

// Account returns the phone of a number.
func (s *Server) Account(phone string) (*Account, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.people[strings.TrimPrefix(phone, "+")].(*Account)
	return a, ok && a.profile.phone == strings.TrimPrefix(phone, "+")
}

// Accounts returns all phones, by number.
func (s *Server) Accounts() []*Account {
	s.mu.Lock()
	defer s.mu.Unlock()
	return everybody[*Account](s)
}

// everybody returns the people of one kind, by number. The caller holds mu.
func everybody[P person](s *Server) []P {
	var list []P
	for number, who := range s.people {
		if p, ok := who.(P); ok && number == who.whois().phone { // everybody is in it twice
			list = append(list, p)
		}
	}
	slices.SortFunc(list, func(a, b P) int { return strings.Compare(a.whois().phone, b.whois().phone) })
	return list
}

// linked returns the account's devices in order of their number. The caller holds Server.mu.
func (a *Account) linked() []*device {
	return slices.SortedFunc(maps.Values(a.devices), func(x, y *device) int { return int(x.id) - int(y.id) })
}

func (a *Account) whois() *profile { return &a.profile }
func (a *Account) signal() *peer   { return a.peer }

func (a *Account) receive(m Received) {
	a.srv.mu.Lock()
	defer a.srv.mu.Unlock()
	a.received.add(m)
	a.srv.notify()
}

// Phone returns the digits of the account's number.
func (a *Account) Phone() string { return a.profile.phone }

// LID returns the user part of the account's second identity.
func (a *Account) LID() string { return a.profile.lidUser }

// Received returns what the phone has got: messages to its number, and copies of what its linked devices
// have sent, oldest first. Only the newest ten thousand are certain to be there.
func (a *Account) Received() []Received { return a.receivedAfter(0) }

func (a *Account) receivedAfter(n int) []Received {
	a.srv.mu.Lock()
	defer a.srv.mu.Unlock()
	return a.received.after(n)
}

// DeviceInfo describes a linked device.
type DeviceInfo struct {
	ID        int       `json:"id"`
	Since     time.Time `json:"since"`
	Connected bool      `json:"connected"`
	PreKeys   int       `json:"preKeys"` // one-time keys that it has uploaded and nobody has used
	Queued    int       `json:"queued"`  // stanzas that it has not acknowledged
}

// Devices returns the linked devices in order of their number.
func (a *Account) Devices() []DeviceInfo {
	a.srv.mu.Lock()
	defer a.srv.mu.Unlock()
	list := []DeviceInfo{}
	for _, d := range a.linked() {
		list = append(list, DeviceInfo{
			ID: int(d.id), Since: d.since, Connected: d.conn != nil,
			PreKeys: len(d.keys.oneTime), Queued: len(d.queue) + len(d.inflight),
		})
	}
	return list
}

// ErrNoDevice is returned for a device that is not linked.
var ErrNoDevice = errors.New("fakewa: the phone has no such linked device")

// Unlink removes a linked device on the phone: it is told so, or refused at its next login.
func (a *Account) Unlink(device int) error {
	a.srv.mu.Lock()
	defer a.srv.mu.Unlock()
	d, ok := a.devices[uint16(device)]
	if !ok {
		return fmt.Errorf("%w: %d", ErrNoDevice, device)
	}
	delete(a.devices, d.id)
	if d.conn != nil {
		d.conn.finish(streamError("401", "device_removed"))
	}
	a.srv.unsaved()
	a.srv.notify()
	return nil
}

// streamError builds the stanza that ends a connection. Code and conflict may be "".
func streamError(code, conflict string) node {
	a := attrs{}
	if code != "" {
		a["code"] = code
	}
	if conflict == "" {
		return el("stream:error", a)
	}
	return el("stream:error", a, el("conflict", attrs{"type": conflict}))
}

// greet sends a new device what its phone has for it: the key of the shared settings, with which it reads
// the name, and an empty history.
func (s *Server) greet(c *conn) {
	s.mu.Lock()
	d := c.device
	if d == nil || d.greeted || d.conn != c {
		s.mu.Unlock()
		return
	}
	d.greeted = true
	s.mu.Unlock()
	s.unsaved()
	for _, m := range d.account.greetings() {
		if err := d.account.sendPeer(c.ctx, d, m); err != nil {
			s.log.Error("fakewa: the phone cannot reach its new device", "error", err)
			return
		}
	}
}
