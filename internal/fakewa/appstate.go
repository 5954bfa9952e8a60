package fakewa

import (
	"bytes"
	"compress/zlib"
	"context"
	"fmt"
	"strconv"

	"go.mau.fi/whatsmeow/appstate"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/proto/waHistorySync"
	"go.mau.fi/whatsmeow/proto/waServerSync"
	"go.mau.fi/whatsmeow/store"
	waLog "go.mau.fi/whatsmeow/util/log"
	"google.golang.org/protobuf/proto"
)

// appState is the settings that an account's devices share. They are encrypted: the server could not read
// them if it were not the phone too.
//
// It consists of critical_block only, and that of changes of the name. Guarded by the peer's mutex.
type appState struct {
	saved   [][]byte // patches of the state file that are yet to apply
	patches [][]byte // patch i leads to version i+1
	hash    appstate.HashState
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
		if _, changes := find(&wanted, "patch"); changes {
			return nil, iqError{501, "feature-not-implemented"}
		}
		name := text(&wanted, "name")
		answer := el("collection", attrs{"name": name, "version": "0"})
		if name == string(appstate.WAPatchCriticalBlock) {
			have, _ := strconv.Atoi(text(&wanted, "version")) // none is 0
			patches, err := a.patchesAfter(q.c.ctx, have)
			if err != nil {
				return nil, err
			}
			answer.Attrs["version"] = have + len(patches)
			if len(patches) > 0 {
				answer.Content = []node{el("patches", nil, patches...)}
			}
		}
		collections = append(collections, answer)
	}
	return []node{el("sync", nil, collections...)}, nil
}

// patchesAfter returns the changes that lead from a version to the newest.
func (a *Account) patchesAfter(ctx context.Context, version int) ([]node, error) {
	a.srv.mu.Lock()
	name := a.profile.name
	a.srv.mu.Unlock()
	a.peer.mu.Lock()
	defer a.peer.mu.Unlock()
	if err := a.prepareSettings(ctx, name); err != nil {
		return nil, err
	}
	var list []node
	for _, patch := range a.app.patches[min(max(version, 0), len(a.app.patches)):] {
		list = append(list, data("patch", patch))
	}
	return list, nil
}

// prepareSettings sees to it that there is a first version. The caller holds the peer's mutex.
func (a *Account) prepareSettings(ctx context.Context, name string) error {
	for len(a.app.saved) > 0 {
		if err := a.applyPatch(ctx, a.app.saved[0]); err != nil {
			return err
		}
		a.app.saved = a.app.saved[1:]
	}
	if len(a.app.patches) == 0 {
		return a.addName(ctx, name)
	}
	return nil
}

// addName appends a change of the name. The caller holds the peer's mutex.
func (a *Account) addName(ctx context.Context, name string) error {
	processor, id, err := a.appProcessor(ctx)
	if err != nil {
		return err
	}
	raw, err := processor.EncodePatch(ctx, id, a.app.hash, appstate.BuildSettingPushName(name))
	if err != nil {
		return fmt.Errorf("fakewa: encode the name: %w", err)
	}
	patch := &waServerSync.SyncdPatch{}
	if err = proto.Unmarshal(raw, patch); err != nil {
		return err
	}
	patch.Version = &waServerSync.SyncdVersion{Version: proto.Uint64(a.app.hash.Version + 1)} // the encoder leaves it to the server
	if raw, err = proto.Marshal(patch); err != nil {
		return err
	}
	a.srv.unsaved()
	return a.applyPatch(ctx, raw)
}

// applyPatch appends a change of the shared settings. The caller holds the peer's mutex.
func (a *Account) applyPatch(ctx context.Context, raw []byte) error {
	processor, _, err := a.appProcessor(ctx)
	if err != nil {
		return err
	}
	patch := &waServerSync.SyncdPatch{}
	if err = proto.Unmarshal(raw, patch); err != nil {
		return err
	}
	list := &appstate.PatchList{Name: appstate.WAPatchCriticalBlock, Patches: []*waServerSync.SyncdPatch{patch}}
	_, hash, err := processor.DecodePatches(ctx, list, a.app.hash, true)
	if err != nil {
		return fmt.Errorf("fakewa: apply a change of the settings: %w", err)
	}
	a.app.hash = hash
	a.app.patches = append(a.app.patches, raw)
	return nil
}

// appProcessor returns what encodes and decodes the shared settings, and the key's name. The caller holds
// the peer's mutex.
func (a *Account) appProcessor(ctx context.Context) (processor *appstate.Processor, keyID []byte, err error) {
	id, key := a.appKey()
	err = a.peer.vault.PutAppStateSyncKey(ctx, id, store.AppStateSyncKey{Data: key, Timestamp: a.srv.now().UnixMilli()})
	return appstate.NewProcessor(a.peer.dev, waLog.Noop), id, err
}
