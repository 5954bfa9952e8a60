package whatsapp

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"go.mau.fi/whatsmeow/store/sqlstore"
	_ "modernc.org/sqlite" // registers the driver "sqlite"
)

const (
	// sqliteFile is the database's name in the data directory.
	sqliteFile = "whatsmeow.db"
	// schema is where the library's tables are on PostgreSQL.
	schema = "whatsmeow"
	// upgradeLock lets one node at a time bring the tables up to date.
	upgradeLock = 0x706f6d62616c7761
)

func (d *Driver) openDevices(ctx context.Context, cfg Config) (err error) {
	if cfg.URL == "" {
		d.db, d.devices, err = openSQLite(ctx, cfg, libraryLog{log: d.log, module: "store"})
	} else {
		d.db, d.devices, err = openPostgres(ctx, cfg, libraryLog{log: d.log, module: "store"})
	}
	if err != nil {
		return err
	}
	// Otherwise each miss would ask the database under a lock of the whole process.
	if err = d.devices.LIDMap.FillCache(ctx); err != nil {
		return errors.Join(err, d.db.Close())
	}
	return nil
}

func openSQLite(ctx context.Context, cfg Config, log libraryLog) (*sql.DB, *sqlstore.Container, error) {
	dir, err := filepath.Abs(cfg.DataDir)
	if err != nil {
		return nil, nil, err
	}
	if err = os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, err
	}
	path := filepath.Join(dir, sqliteFile)
	if err = makePrivate(path); err != nil {
		return nil, nil, err
	}
	db, err := sql.Open("sqlite", sqliteDSN(path))
	if err != nil {
		return nil, nil, err
	}
	// More connections make it slower, not faster: they wait for each other's locks.
	db.SetMaxOpenConns(1)
	db.SetMaxIdleConns(1)
	devices := sqlstore.NewWithDB(db, "sqlite", log)
	if err = devices.Upgrade(ctx); err == nil {
		_, err = db.ExecContext(ctx, createOwners)
	}
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return db, devices, nil
}

// makePrivate makes the file, which holds the keys of all devices, so that only its owner may read it.
func makePrivate(path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) //nolint:gosec // the operator's folder, a constant name
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return file.Close()
}

func sqliteDSN(path string) string {
	options := url.Values{
		"_txlock": {"immediate"},
		"_pragma": {
			"busy_timeout(10000)",
			"journal_mode(WAL)",
			"synchronous(FULL)", // a lost step of a ratchet breaks a conversation
			"foreign_keys(1)",   // deleting a device deletes what belongs to it
			"temp_store(MEMORY)",
		},
	}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: options.Encode()}).String()
}

func openPostgres(ctx context.Context, cfg Config, log libraryLog) (*sql.DB, *sqlstore.Container, error) {
	conns := cfg.MaxConns
	if conns <= 0 {
		conns = max(4, 2*runtime.GOMAXPROCS(0))
	}
	if err := upgradePostgres(ctx, cfg.URL, log); err != nil {
		return nil, nil, err
	}
	conn, err := postgresConfig(cfg.URL, "10000")
	if err != nil {
		return nil, nil, err
	}
	db := stdlib.OpenDB(*conn)
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	db.SetConnMaxIdleTime(5 * time.Minute)
	return db, sqlstore.NewWithDB(db, "pgx", log), nil
}

// postgresConfig reads a URL. The server ends statements after the timeout, in milliseconds; "0" for never.
func postgresConfig(address, timeout string) (*pgx.ConnConfig, error) {
	pool, err := pgxpool.ParseConfig(address) // it knows the options of a pool, which the server does not
	if err != nil {
		return nil, fmt.Errorf("the database URL is not valid: %w", err)
	}
	conn := pool.ConnConfig
	conn.ConnectTimeout = 5 * time.Second
	conn.RuntimeParams["search_path"] = schema
	conn.RuntimeParams["statement_timeout"] = timeout
	conn.RuntimeParams["idle_in_transaction_session_timeout"] = timeout
	if conn.RuntimeParams["application_name"] == "" {
		conn.RuntimeParams["application_name"] = "pombal-devices"
	}
	return conn, nil
}

// upgradePostgres brings the tables up to date, in connections of its own, since it may take long.
func upgradePostgres(ctx context.Context, address string, log libraryLog) (err error) {
	cfg, err := postgresConfig(address, "0")
	if err != nil {
		return err
	}
	db := stdlib.OpenDB(*cfg)
	defer func() { err = errors.Join(err, db.Close()) }()
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }() // which releases the lock
	for _, statement := range []string{
		fmt.Sprintf("SELECT pg_advisory_lock(%d)", int64(upgradeLock)),
		"CREATE SCHEMA IF NOT EXISTS " + schema,
		// The library looks for this table in all schemas, and so may find one that is not ours.
		"CREATE TABLE IF NOT EXISTS whatsmeow_version (version INTEGER, compat INTEGER)",
	} {
		if _, err = conn.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	if err = sqlstore.NewWithDB(db, "pgx", log).Upgrade(ctx); err != nil {
		return err
	}
	_, err = conn.ExecContext(ctx, createOwners)
	return err
}
