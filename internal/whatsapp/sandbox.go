package whatsapp

import (
	"errors"
	"sync"

	"go.mau.fi/whatsmeow"
)

// trustOnce guards whatsmeow.WACertPubKey, which belongs to the process and is read by every connection.
//
//nolint:gochecknoglobals // it guards a variable of the library
var trustOnce sync.Once

var errTrust = errors.New("whatsapp: a process can trust one sandbox only, and it trusts another one already")

// Sandbox sends all connections, through the instance's proxy if it has one, to a fake WhatsApp at addr
// ("host:port", plain TCP) and makes the whole process trust the root key of its certificates, and nobody
// else's, for good. It is for development and tests.
func Sandbox(addr string, root [32]byte) Option {
	return func(d *Driver) error {
		trustOnce.Do(func() { whatsmeow.WACertPubKey = root })
		if whatsmeow.WACertPubKey != root {
			return errTrust
		}
		d.sandbox = addr
		return nil
	}
}
