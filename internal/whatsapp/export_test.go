package whatsapp

import (
	"database/sql"
	"time"
)

// CodeTimes changes how long QR codes are shown.
func CodeTimes(first, next time.Duration) Option {
	return func(d *Driver) error {
		d.times.firstCode, d.times.nextCode = first, next
		return nil
	}
}

// LoginTime changes how long a login may take.
func LoginTime(limit time.Duration) Option {
	return func(d *Driver) error {
		d.times.login = limit
		return nil
	}
}

// DB is the database of the device store.
func (d *Driver) DB() *sql.DB { return d.db }
