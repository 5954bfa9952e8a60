package fakewa

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// savedState is what a server remembers over a restart: who there is, which devices are linked, and what
// they have not acknowledged. Signal sessions, one-time keys and media are left out: devices upload new
// keys, people begin new sessions and ask again for what they cannot read. So a state that is a little old
// does no harm.
type savedState struct {
	Seed     string           `json:"seed"` // what it is a state of
	Accounts []savedAccount   `json:"accounts"`
	Contacts []ContactOptions `json:"contacts"`
	Groups   []savedGroup     `json:"groups"`
}

type savedAccount struct {
	AccountOptions
	Issued  int           `json:"issued"`            // how many devices it has had
	Patches [][]byte      `json:"patches,omitempty"` // of the shared settings
	Devices []savedDevice `json:"devices"`
}

type savedDevice struct {
	ID           uint16        `json:"id"`
	Noise        []byte        `json:"noise"`
	Registration uint32        `json:"registration"`
	Identity     []byte        `json:"identity"`
	SignedID     uint32        `json:"signedId"`
	Signed       []byte        `json:"signed"`
	Signature    []byte        `json:"signature"`
	Since        time.Time     `json:"since"`
	Greeted      bool          `json:"greeted"`
	Queue        []savedStanza `json:"queue,omitempty"`
}

type savedStanza struct {
	ID      string `json:"id"`
	Tag     string `json:"tag"`
	Kind    string `json:"kind,omitempty"`
	Payload []byte `json:"payload"`
}

type savedGroup struct {
	ID      string    `json:"id"`
	Subject string    `json:"subject"`
	Created time.Time `json:"created"`
	Members []string  `json:"members"`
}

var errState = errors.New("fakewa: the state file is not of this server")

// fingerprint tells seeds apart without giving them away.
func (s *Server) fingerprint() string {
	sum := derive(s.seed, "fingerprint")
	return hex.EncodeToString(sum[:8])
}

// unsaved notes that the state file is out of date.
func (s *Server) unsaved() {
	select {
	case s.outdated <- struct{}{}:
	default: // it is noted already
	}
}

// keep saves the state whenever it is out of date, until the server closes.
func (s *Server) keep() {
	for {
		select {
		case <-s.outdated:
			if err := s.save(); err != nil {
				s.log.Error("fakewa: the state cannot be saved", "error", err)
			}
		case <-s.closing:
			return
		}
	}
}

// save writes the state file, if there is one, at once or not at all.
func (s *Server) save() error {
	if s.stateFile == "" {
		return nil
	}
	raw, err := json.Marshal(s.snapshot())
	if err != nil {
		return err
	}
	if err = os.MkdirAll(filepath.Dir(s.stateFile), 0o700); err != nil {
		return err
	}
	if err = os.WriteFile(s.stateFile+".new", raw, 0o600); err != nil {
		return err
	}
	return os.Rename(s.stateFile+".new", s.stateFile)
}

func (s *Server) snapshot() savedState {
	state := savedState{Seed: s.fingerprint()}
	patches := make(map[*Account][][]byte)
	for _, a := range s.Accounts() {
		a.peer.mu.Lock()
		patches[a] = slices.Concat(a.app.patches, a.app.saved)
		a.peer.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range everybody[*Account](s) {
		saved := a.saved()
		saved.Patches = patches[a]
		state.Accounts = append(state.Accounts, saved)
	}
	for _, c := range everybody[*Contact](s) {
		state.Contacts = append(state.Contacts, c.options)
	}
	for _, g := range s.groups {
		state.Groups = append(state.Groups, g.saved())
	}
	return state
}

// saved describes the account. The caller holds Server.mu.
func (a *Account) saved() savedAccount {
	p := a.profile
	saved := savedAccount{
		AccountOptions: AccountOptions{Phone: p.phone, PushName: p.name, About: p.about, PictureURL: p.picture},
		Issued:         a.issued,
	}
	for _, d := range a.linked() {
		saved.Devices = append(saved.Devices, d.saved())
	}
	return saved
}

// saved describes the device by copies, which are written without Server.mu. The caller holds it.
func (d *device) saved() savedDevice {
	noise, keys := d.noise, d.keys
	saved := savedDevice{
		ID: d.id, Noise: noise[:], Registration: keys.registration, Identity: keys.identity[:],
		SignedID: keys.signed.id, Signed: keys.signed.key[:], Signature: keys.signed.signature[:],
		Since: d.since, Greeted: d.greeted,
	}
	for _, waiting := range [][]stanza{d.inflight, d.queue} {
		for _, st := range waiting {
			saved.Queue = append(saved.Queue, savedStanza{ID: st.id, Tag: st.tag, Kind: st.kind, Payload: st.payload})
		}
	}
	return saved
}

func (g *Group) saved() savedGroup {
	saved := savedGroup{ID: g.id, Subject: g.subject, Created: g.created}
	for _, who := range g.members {
		saved.Members = append(saved.Members, who.whois().phone)
	}
	return saved
}

// load reads the state file, if there is one.
func (s *Server) load() error {
	if s.stateFile == "" {
		return nil
	}
	raw, err := os.ReadFile(s.stateFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var state savedState
	if err = json.Unmarshal(raw, &state); err != nil || state.Seed != s.fingerprint() {
		return fmt.Errorf("%w: %s", errState, s.stateFile)
	}
	return s.restore(&state)
}

func (s *Server) restore(state *savedState) error {
	for _, saved := range state.Accounts {
		a, err := s.AddAccount(saved.AccountOptions)
		if err != nil {
			return err
		}
		if err = a.restore(&saved); err != nil {
			return err
		}
	}
	for _, options := range state.Contacts {
		if _, err := s.AddContact(options); err != nil {
			return err
		}
	}
	for _, saved := range state.Groups {
		g, err := s.AddGroup(GroupOptions{Subject: saved.Subject, Members: saved.Members})
		if err != nil {
			return err
		}
		s.mu.Lock()
		delete(s.groups, g.id)
		g.id, g.created = saved.ID, saved.Created
		s.groups[g.id] = g
		s.mu.Unlock()
	}
	return nil
}

func (a *Account) restore(saved *savedAccount) error {
	a.peer.mu.Lock()
	a.app.saved = saved.Patches
	a.peer.mu.Unlock()
	a.srv.mu.Lock()
	defer a.srv.mu.Unlock()
	a.issued = saved.Issued
	for _, sd := range saved.Devices {
		d, ok := sd.device(a)
		if !ok {
			return errState
		}
		a.devices[d.id] = d
	}
	return nil
}

func (sd *savedDevice) device(a *Account) (*device, bool) {
	if len(sd.Noise) != 32 || len(sd.Identity) != 32 || len(sd.Signed) != 32 || len(sd.Signature) != 64 {
		return nil, false
	}
	d := &device{
		account: a, id: sd.ID, noise: [32]byte(sd.Noise), since: sd.Since, greeted: sd.Greeted,
		keys: deviceKeys{
			registration: sd.Registration, identity: [32]byte(sd.Identity),
			signed: publicKey{id: sd.SignedID, key: [32]byte(sd.Signed), signature: [64]byte(sd.Signature)},
		},
	}
	for _, st := range sd.Queue {
		d.queue = append(d.queue, stanza{id: st.ID, tag: st.Tag, kind: st.Kind, payload: st.Payload})
	}
	return d, true
}
