package whatsapp

import (
	"context"
	"sync"
	"testing"
	"time"

	"go.mau.fi/whatsmeow/proto/waAdv"
	"go.mau.fi/whatsmeow/types"
)

// TestPreKeysAreMadeOnce makes keys from many goroutines at once, as a device does whose contacts ask for keys
// again while it uploads new ones. With SQLite they share one connection, and must not wait for each other for ever.
func TestPreKeysAreMadeOnce(t *testing.T) {
	t.Parallel()
	d, err := Open(t.Context(), Config{DataDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	device := d.devices.NewDevice()
	jid := types.NewJID("5511999990001", types.DefaultUserServer)
	device.ID = &jid
	device.Account = &waAdv.ADVSignedDeviceIdentity{
		Details: []byte{1}, AccountSignature: make([]byte, 64), AccountSignatureKey: make([]byte, 32), DeviceSignature: make([]byte, 64),
	}
	if err = d.devices.PutDevice(t.Context(), device); err != nil {
		t.Fatal(err)
	}
	batchPreKeys(device)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	const makers, each = 4, 50
	var all sync.WaitGroup
	for range makers {
		all.Go(func() {
			if list, failed := device.PreKeys.GetOrGenPreKeys(ctx, each); failed != nil || len(list) != each {
				t.Errorf("%d keys, want %d: %v", len(list), each, failed)
			}
		})
		all.Go(func() {
			if _, failed := device.PreKeys.GenOnePreKey(ctx); failed != nil {
				t.Error(failed)
			}
		})
	}
	all.Wait()
	var stored int
	if err = d.db.QueryRowContext(ctx, "SELECT count(*) FROM whatsmeow_pre_keys").Scan(&stored); err != nil {
		t.Fatal(err)
	}
	if want := each + makers; stored != want { // those that were not uploaded are given out again
		t.Errorf("%d keys are stored, want %d", stored, want)
	}
}
