package whatsapp

import (
	"context"
	"database/sql"
	"runtime"
	"syscall"
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

// LogoutTime changes how long a logout may take.
func LogoutTime(limit time.Duration) Option {
	return func(d *Driver) error {
		d.times.logout = limit
		return nil
	}
}

// ProxyControl sets Config.ProxyControl.
func ProxyControl(control func(network, address string, c syscall.RawConn) error) Option {
	return func(d *Driver) error {
		d.control = control
		return nil
	}
}

// DB is the database of the device store.
func (d *Driver) DB() *sql.DB { return d.db }

// Save stores the device as the library's goroutines do that do not mind the end of their context.
func (l *Link) Save(ctx context.Context) error { return l.device.Save(context.WithoutCancel(ctx)) }

// ConnectedAfterEnd ends the connection, and lets the library say that it is connected before the link has heard of the
// end.
func (l *Link) ConnectedAfterEnd(end func()) {
	l.ask(func() {
		end()
		for !l.conn.gone.Load() {
			runtime.Gosched()
		}
		l.conn.onConnected()
	})
}
