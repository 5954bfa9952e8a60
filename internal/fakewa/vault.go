package fakewa

import (
	"context"

	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/util/keys"
)

// vault is what a peer remembers, in memory. It implements the stores of the client library that a peer
// uses; the others do nothing. It is guarded by the peer's mutex.
type vault struct {
	store.NoopStore
	sessions   map[string][]byte
	senderKeys map[senderKeyName][]byte
	preKeys    map[uint32]*keys.PreKey
	lastKey    uint32
	appKeys    map[string]store.AppStateSyncKey
	appMACs    map[string][]byte // of the one collection that there is, by index
}

// senderKeyName is whose sender key it is, and in which group.
type senderKeyName struct{ group, user string }

func newVault() *vault {
	return &vault{
		sessions:   make(map[string][]byte),
		senderKeys: make(map[senderKeyName][]byte),
		preKeys:    make(map[uint32]*keys.PreKey),
		appKeys:    make(map[string]store.AppStateSyncKey),
		appMACs:    make(map[string][]byte),
	}
}

// maxPreKeyID is the highest number that fits on the wire.
const maxPreKeyID = 1<<24 - 1

func (v *vault) newPreKey() *keys.PreKey {
	v.lastKey = v.lastKey%maxPreKeyID + 1
	k := keys.NewPreKey(v.lastKey)
	v.preKeys[k.KeyID] = k
	return k
}

// IsTrustedIdentity trusts everybody: a simulated phone accepts that others get a new one.
func (v *vault) IsTrustedIdentity(context.Context, string, [32]byte) (bool, error) { return true, nil }

// GetSession returns a session, nil when there is none.
func (v *vault) GetSession(_ context.Context, address string) ([]byte, error) {
	return v.sessions[address], nil
}

// HasSession tells whether there is a session.
func (v *vault) HasSession(_ context.Context, address string) (bool, error) {
	_, ok := v.sessions[address]
	return ok, nil
}

// PutSession keeps a session.
func (v *vault) PutSession(_ context.Context, address string, session []byte) error {
	v.sessions[address] = session
	return nil
}

// DeleteSession forgets a session.
func (v *vault) DeleteSession(_ context.Context, address string) error {
	delete(v.sessions, address)
	return nil
}

// GetPreKey returns a one-time key, nil when it is unknown or used up.
func (v *vault) GetPreKey(_ context.Context, id uint32) (*keys.PreKey, error) {
	return v.preKeys[id], nil
}

// RemovePreKey uses up a one-time key.
func (v *vault) RemovePreKey(_ context.Context, id uint32) error {
	delete(v.preKeys, id)
	return nil
}

// PutSenderKey keeps somebody's key of a group.
func (v *vault) PutSenderKey(_ context.Context, group, user string, session []byte) error {
	v.senderKeys[senderKeyName{group, user}] = session
	return nil
}

// GetSenderKey returns somebody's key of a group, nil when there is none.
func (v *vault) GetSenderKey(_ context.Context, group, user string) ([]byte, error) {
	return v.senderKeys[senderKeyName{group, user}], nil
}

// PutAppStateSyncKey keeps a key of the settings that devices share.
func (v *vault) PutAppStateSyncKey(_ context.Context, id []byte, key store.AppStateSyncKey) error {
	v.appKeys[string(id)] = key
	return nil
}

// GetAppStateSyncKey returns a key of the settings that devices share, nil when it is unknown.
func (v *vault) GetAppStateSyncKey(_ context.Context, id []byte) (*store.AppStateSyncKey, error) {
	key, ok := v.appKeys[string(id)]
	if !ok {
		return nil, nil
	}
	return &key, nil
}

// PutAppStateMutationMACs keeps what later changes are checked with.
func (v *vault) PutAppStateMutationMACs(_ context.Context, _ string, _ uint64, list []store.AppStateMutationMAC) error {
	for _, m := range list {
		v.appMACs[string(m.IndexMAC)] = m.ValueMAC
	}
	return nil
}

// GetAppStateMutationMAC returns what a change is checked with, nil when there is none.
func (v *vault) GetAppStateMutationMAC(_ context.Context, _ string, index []byte) ([]byte, error) {
	return v.appMACs[string(index)], nil
}
