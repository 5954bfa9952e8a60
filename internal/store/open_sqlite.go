package store

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

	"github.com/libtnb/sqlite"
	"gorm.io/gorm"
)

// sqliteFile is the database's name in the data directory.
const sqliteFile = "pombal.db"

func (s *Store) openSQLite(ctx context.Context) error {
	dir, err := filepath.Abs(s.cfg.DataDir)
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	if err = os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	path := filepath.Join(dir, sqliteFile)
	if err = makePrivate(path); err != nil {
		return fmt.Errorf("make %s: %w", path, err)
	}
	// Two pools, because a transaction that reads before it writes fails when another one has written in
	// between. So whoever may write waits for the one connection, and begins by taking the write lock.
	var writer *sql.DB
	if s.writer, writer, err = s.openSQLitePool(ctx, path, url.Values{"_txlock": {"immediate"}}, 1); err != nil {
		return err
	}
	s.prepared = newPreparedWrites(writer)
	readers := max(4, runtime.GOMAXPROCS(0))
	s.pageTurns = make(chan struct{}, readers)
	s.reader, s.pages, err = s.openSQLitePool(ctx, path, url.Values{"_query_only": {"1"}}, readers)
	return err
}

// makePrivate makes the database's file, unless it is there, so that only its owner may read it: SQLite would
// leave that to the umask. The files beside it get the mode of this one. The file is closed before it gets
// its name, because to close a file gives up every lock that this process has on it.
func makePrivate(path string) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	err = errors.Join(file.Close(), os.Link(file.Name(), path))
	if errors.Is(err, fs.ErrExist) || errors.Is(err, errors.ErrUnsupported) || errors.Is(err, fs.ErrPermission) {
		err = nil // another process was quicker, or the file system has no links: SQLite makes it
	}
	return errors.Join(err, os.Remove(file.Name()))
}

func (s *Store) openSQLitePool(ctx context.Context, path string, options url.Values, conns int) (*gorm.DB, *sql.DB, error) {
	conn, err := sql.Open("sqlite", sqliteDSN(path, options))
	if err != nil {
		return nil, nil, fmt.Errorf("open SQLite: %w", err)
	}
	s.closers = append(s.closers, conn.Close)
	conn.SetMaxOpenConns(conns)
	conn.SetMaxIdleConns(conns)
	if err = conn.PingContext(ctx); err != nil {
		return nil, nil, fmt.Errorf("open %s: %w", path, err)
	}
	dialector, ok := sqlite.New(sqlite.Config{Conn: conn}).(*sqlite.Dialector)
	if !ok {
		return nil, nil, fmt.Errorf("open SQLite: unexpected dialector")
	}
	db, err := gorm.Open(sqliteDialector{dialector}, s.gormConfig())
	if err != nil {
		return nil, nil, fmt.Errorf("open SQLite: %w", err)
	}
	return db, conn, installWall(db)
}

// sqliteDSN spells the options that every connection gets.
func sqliteDSN(path string, options url.Values) string {
	options["_time_integer_format"] = []string{"unix_milli"}
	options["_pragma"] = []string{
		"busy_timeout(5000)", // another process, such as the command line, may be writing
		"journal_mode(WAL)",
		"synchronous(FULL)", // NORMAL loses acknowledged changes when the power fails
		"foreign_keys(1)",
		"temp_store(MEMORY)",
		"cache_size(-16384)",
		"mmap_size(1073741824)",
		"wal_autocheckpoint(12000)", // 48 MB: pages that change often are copied less often
	}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: options.Encode()}).String()
}

// sqliteDialector keeps the driver's error, which names the broken constraint, next to GORM's.
type sqliteDialector struct{ *sqlite.Dialector }

// Translate is part of GORM's ErrorTranslator.
func (d sqliteDialector) Translate(err error) error {
	if t := d.Dialector.Translate(err); t != err { //nolint:errorlint // has it been replaced at all?
		return fmt.Errorf("%w: %w", t, err)
	}
	return err
}
