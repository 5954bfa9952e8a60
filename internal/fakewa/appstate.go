package fakewa

import (
	"bytes"
	"compress/zlib"
	"context"
	"fmt"
	"sync"

	"go.mau.fi/whatsmeow/appstate"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/proto/waHistorySync"
	"go.mau.fi/whatsmeow/proto/waServerSync"
	"go.mau.fi/whatsmeow/store"
	"google.golang.org/protobuf/proto"
)

// appState is the settings that an account's devices share. They are encrypted: the server could not read
// them if it were not the phone too.
type appState struct {
	once  sync.Once
	patch []byte // the one patch of critical_block: the account's name
	err   error
}

// appKey returns the key of the shared settings, which depends on the seed and the number only.
func (a *Account) appKey() (id, key []byte) {
	secret := derive(a.srv.seed, "app state of "+a.profile.phone)
	return []byte{0, 0, 0, 0, 0, 1}, secret[:]
}

// greetings are the messages that a phone sends to a new device.
func (a *Account) greetings() []*waE2E.Message {
	id, key := a.appKey()
	history, err := emptyHistory()
	share := &waE2E.ProtocolMessage{
		Type: waE2E.ProtocolMessage_APP_STATE_SYNC_KEY_SHARE.Enum(),
		AppStateSyncKeyShare: &waE2E.AppStateSyncKeyShare{Keys: []*waE2E.AppStateSyncKey{{
			KeyID: &waE2E.AppStateSyncKeyId{KeyID: id},
			KeyData: &waE2E.AppStateSyncKeyData{
				KeyData: key, Timestamp: proto.Int64(a.srv.now().UnixMilli()),
				Fingerprint: &waE2E.AppStateSyncKeyFingerprint{RawID: proto.Uint32(1), CurrentIndex: proto.Uint32(1)},
			},
		}}},
	}
	list := []*waE2E.Message{{ProtocolMessage: share}}
	if err != nil {
		return list
	}
	return append(list, &waE2E.Message{ProtocolMessage: &waE2E.ProtocolMessage{
		Type: waE2E.ProtocolMessage_HISTORY_SYNC_NOTIFICATION.Enum(),
		HistorySyncNotification: &waE2E.HistorySyncNotification{
			SyncType:                          waE2E.HistorySyncType_INITIAL_BOOTSTRAP.Enum(),
			ChunkOrder:                        proto.Uint32(1),
			Progress:                          proto.Uint32(100),
			InitialHistBootstrapInlinePayload: history,
		},
	}})
}

// emptyHistory is the past of a phone that has none.
func emptyHistory() ([]byte, error) {
	raw, err := proto.Marshal(&waHistorySync.HistorySync{
		SyncType: waHistorySync.HistorySync_INITIAL_BOOTSTRAP.Enum(),
		Progress: proto.Uint32(100),
	})
	if err != nil {
		return nil, err
	}
	var packed bytes.Buffer
	w := zlib.NewWriter(&packed)
	if _, err := w.Write(raw); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return packed.Bytes(), nil
}

// syncAppState answers with the settings: the name is in critical_block, the others are empty.
func syncAppState(q *iq) ([]node, error) {
	a := q.c.device.account
	var collections []node
	for _, wanted := range q.body.GetChildren() {
		name := text(&wanted, "name")
		have := text(&wanted, "version")
		answer := el("collection", attrs{"name": name, "version": "0"})
		if name == string(appstate.WAPatchCriticalBlock) {
			patch, err := a.namePatch(q.c.ctx)
			if err != nil {
				return nil, err
			}
			answer.Attrs["version"] = "1"
			if have == "" || have == "0" {
				answer.Content = []node{el("patches", nil, data("patch", patch))}
			}
		}
		collections = append(collections, answer)
	}
	return []node{el("sync", nil, collections...)}, nil
}

// namePatch returns the encrypted change that sets the account's name.
func (a *Account) namePatch(ctx context.Context) ([]byte, error) {
	a.app.once.Do(func() { a.app.patch, a.app.err = a.encodeName(ctx) })
	return a.app.patch, a.app.err
}

func (a *Account) encodeName(ctx context.Context) ([]byte, error) {
	id, key := a.appKey()
	a.peer.mu.Lock()
	defer a.peer.mu.Unlock()
	if err := a.peer.vault.PutAppStateSyncKey(ctx, id, store.AppStateSyncKey{Data: key, Timestamp: a.srv.now().UnixMilli()}); err != nil {
		return nil, err
	}
	a.srv.mu.Lock()
	change := appstate.BuildSettingPushName(a.profile.name)
	a.srv.mu.Unlock()
	raw, err := appstate.NewProcessor(a.peer.dev, nil).EncodePatch(ctx, id, appstate.HashState{}, change)
	if err != nil {
		return nil, fmt.Errorf("fakewa: encode the name: %w", err)
	}
	var patch waServerSync.SyncdPatch
	if err := proto.Unmarshal(raw, &patch); err != nil {
		return nil, err
	}
	patch.Version = &waServerSync.SyncdVersion{Version: proto.Uint64(1)} // the encoder leaves it to the server
	return proto.Marshal(&patch)
}
