package fakewa_test

import (
	"context"
	"crypto/rand"
	"sync"

	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/util/keys"
)

// memory is a client's store without a database, for many clients at once. It is as small as it can be:
// few prekeys, no contacts, no settings.
type memory struct {
	store.NoopStore
	mu       sync.Mutex
	sessions map[string][]byte
	preKeys  []*keys.PreKey
	appKeys  map[string]store.AppStateSyncKey
	versions map[string]uint64
	hashes   map[string][128]byte
}

// newMemoryDevice returns a device that has never been linked.
func newMemoryDevice() *store.Device {
	m := &memory{
		sessions: make(map[string][]byte), appKeys: make(map[string]store.AppStateSyncKey),
		versions: make(map[string]uint64), hashes: make(map[string][128]byte),
	}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret)
	d := &store.Device{
		NoiseKey: keys.NewKeyPair(), IdentityKey: keys.NewKeyPair(), RegistrationID: 1, AdvSecretKey: secret,
		LIDs: m, Container: m,
	}
	d.SignedPreKey = d.IdentityKey.CreateSignedPreKey(1)
	d.SetAllStores(m)
	return d
}

func (m *memory) IsTrustedIdentity(context.Context, string, [32]byte) (bool, error) { return true, nil }

func (m *memory) GetSession(_ context.Context, address string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sessions[address], nil
}

func (m *memory) HasSession(_ context.Context, address string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.sessions[address]
	return ok, nil
}

func (m *memory) PutSession(_ context.Context, address string, session []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sessions[address] = session
	return nil
}

// fewPreKeys is the fewest that make the client content.
const fewPreKeys = 5

func (m *memory) GetOrGenPreKeys(context.Context, uint32) ([]*keys.PreKey, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.preKeys) < fewPreKeys {
		m.preKeys = append(m.preKeys, keys.NewPreKey(uint32(len(m.preKeys)+1)))
	}
	return m.preKeys, nil
}

func (m *memory) GetPreKey(_ context.Context, id uint32) (*keys.PreKey, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range m.preKeys {
		if k.KeyID == id {
			return k, nil
		}
	}
	return nil, nil
}

func (m *memory) UploadedPreKeyCount(context.Context) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.preKeys), nil
}

func (m *memory) PutAppStateSyncKey(_ context.Context, id []byte, key store.AppStateSyncKey) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.appKeys[string(id)] = key
	return nil
}

func (m *memory) GetAppStateSyncKey(_ context.Context, id []byte) (*store.AppStateSyncKey, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := m.appKeys[string(id)]
	return &key, nil
}

func (m *memory) PutAppStateVersion(_ context.Context, name string, version uint64, hash [128]byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.versions[name], m.hashes[name] = version, hash
	return nil
}

func (m *memory) GetAppStateVersion(_ context.Context, name string) (uint64, [128]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.versions[name], m.hashes[name], nil
}

func (m *memory) DoDecryptionTxn(ctx context.Context, fn func(context.Context) error) error {
	return fn(ctx)
}

func (m *memory) GetManyLIDsForPNs(context.Context, []types.JID) (map[types.JID]types.JID, error) {
	return map[types.JID]types.JID{}, nil
}
