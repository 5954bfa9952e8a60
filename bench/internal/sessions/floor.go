package sessions

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"runtime"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/store/sqlstore"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	waLog "go.mau.fi/whatsmeow/util/log"
	"golang.org/x/sync/errgroup"
)

// floor is the least that keeps sessions connected: a client of the library for each device, which reconnects by
// itself, and nothing that knows of them, paces them or remembers what became of them.
type floor struct {
	db      *sql.DB
	devices *sqlstore.Container
	http    *http.Client // of all clients
	jids    []string
	roll    *roll
}

func openFloor(ctx context.Context, s Script, r *roll) (keeper, error) {
	whatsmeow.WACertPubKey = rootKey()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", s.WhatsApp)
	}
	f := &floor{
		http: &http.Client{Transport: &http.Transport{DialContext: dial, DialTLSContext: dial}}, // in plain TCP
		jids: s.JIDs, roll: r,
	}
	var dialect string
	var err error
	if f.db, dialect, err = openDevices(s.Devices); err != nil {
		return nil, err
	}
	f.devices = sqlstore.NewWithDB(f.db, dialect, waLog.Noop)
	return f, errors.Join(f.devices.Upgrade(ctx), f.devices.LIDMap.FillCache(ctx))
}

// openDevices opens the devices as Pombal's driver does, with the same durability and as many connections.
func openDevices(d Database) (db *sql.DB, dialect string, err error) {
	if d.URL == "" {
		options := url.Values{"_txlock": {"immediate"}, "_pragma": {
			"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)", "temp_store(MEMORY)",
		}}
		dsn := url.URL{Scheme: "file", Path: filepath.Join(d.Dir, "whatsmeow.db"), RawQuery: options.Encode()}
		if db, err = sql.Open("sqlite", dsn.String()); err != nil {
			return nil, "", err
		}
		db.SetMaxOpenConns(1)
		return db, "sqlite", nil
	}
	cfg, err := pgx.ParseConfig(d.URL)
	if err != nil {
		return nil, "", err
	}
	cfg.RuntimeParams["search_path"] = "whatsmeow"
	db = stdlib.OpenDB(*cfg)
	conns := max(4, 2*runtime.GOMAXPROCS(0))
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db, "pgx", nil
}

// floorParallel is how many clients connect at once at the start.
const floorParallel = 50

func (f *floor) run(ctx context.Context) error {
	var connecting errgroup.Group
	connecting.SetLimit(floorParallel)
	clients := make([]*whatsmeow.Client, len(f.jids))
	for i, jid := range f.jids {
		connecting.Go(func() (err error) {
			clients[i], err = f.connect(ctx, jid)
			return err
		})
	}
	err := connecting.Wait()
	if err == nil {
		<-ctx.Done()
	}
	for _, c := range clients {
		c.Disconnect()
	}
	return err
}

func (f *floor) connect(ctx context.Context, address string) (*whatsmeow.Client, error) {
	jid, err := types.ParseJID(address)
	if err != nil {
		return nil, err
	}
	device, err := f.devices.GetDevice(ctx, jid)
	if err != nil {
		return nil, err
	}
	if device == nil {
		return nil, fmt.Errorf("there is no device %s", jid)
	}
	c := whatsmeow.NewClient(device, waLog.Noop)
	c.SetWebsocketHTTPClient(f.http)
	c.SetMediaHTTPClient(f.http)
	c.AddEventHandler(func(e any) {
		switch e.(type) {
		case *events.Connected:
			f.roll.set(address, true)
		case *events.Disconnected:
			f.roll.set(address, false)
		}
	})
	return c, c.ConnectContext(ctx)
}

func (f *floor) close() error { return f.db.Close() }
