package whatsapp

import (
	"context"
	"sync"

	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/util/keys"
)

// batchedPreKeys makes the one-time keys of a device in one transaction. The library makes them in one each: 812
// after a pairing, which are as many waits for the disk.
type batchedPreKeys struct {
	store.PreKeyStore
	txn func(context.Context, func(context.Context) error) error

	// The library has a lock of its own, which it takes before it asks for a connection to the database. A
	// transaction has one already: with SQLite the only one. So nobody may wait for that lock.
	making sync.Mutex
}

// batchPreKeys changes how a stored device makes keys.
func batchPreKeys(device *store.Device) {
	// This is the library's only way into a transaction of its database.
	device.PreKeys = &batchedPreKeys{PreKeyStore: device.PreKeys, txn: device.EventBuffer.DoDecryptionTxn}
}

// GetOrGenPreKeys returns as many keys that have not been uploaded, making what is missing.
func (b *batchedPreKeys) GetOrGenPreKeys(ctx context.Context, count uint32) (list []*keys.PreKey, err error) {
	b.making.Lock()
	defer b.making.Unlock()
	err = b.txn(ctx, func(ctx context.Context) error {
		list, err = b.PreKeyStore.GetOrGenPreKeys(ctx, count)
		return err
	})
	return list, err
}

// GenOnePreKey makes a key that counts as uploaded.
func (b *batchedPreKeys) GenOnePreKey(ctx context.Context) (*keys.PreKey, error) {
	b.making.Lock()
	defer b.making.Unlock()
	return b.PreKeyStore.GenOnePreKey(ctx)
}
