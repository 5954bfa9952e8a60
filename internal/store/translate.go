package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
	"gorm.io/gorm"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/pombal-api/pombal/internal/domain"
)

// translate turns an error of the database into one that callers may see, where there is one. Not-found
// errors are turned earlier, by orNotFound, since only the query knows what was looked for.
func translate(err error) error {
	switch {
	case err == nil:
		return nil
	case isDomain(err), errors.Is(err, context.Canceled), errors.Is(err, errWall):
		return err
	case isUnavailable(err):
		return domain.Unavailable(err)
	case isUnstorable(err):
		e := domain.Invalid(domain.Detail{Field: "body", Code: "invalid_characters", Message: unstorable})
		e.Err = err
		return e
	}
	return fmt.Errorf("store: %w", err)
}

func isDomain(err error) bool {
	_, ok := errors.AsType[*domain.Error](err)
	return ok
}

// orNotFound replaces the absence of a row by the error that tells the caller.
func orNotFound(err error, notFound func() *domain.Error) error {
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return notFound()
	}
	return err
}

// pgCode returns the SQLSTATE of a PostgreSQL error, "" for any other.
func pgCode(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}

// sqliteCode returns the primary result code of an SQLite error, 0 for any other.
func sqliteCode(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code() & 0xff
	}
	return 0
}

// isUnavailable reports whether the same call may succeed later without anybody changing it.
func isUnavailable(err error) bool {
	switch code := pgCode(err); {
	case code == "":
	case strings.HasPrefix(code, "08"), // connection exceptions
		strings.HasPrefix(code, "53"), // too many connections, out of memory, disk full
		strings.HasPrefix(code, "57"), // shutdown, crash, canceled by a timeout
		strings.HasPrefix(code, "58"), // system errors, such as I/O
		code == "25006",               // read-only: a standby that is being promoted
		code == "55P03",               // a lock was not granted in time
		code == "25P03",               // idle in transaction for too long
		isRepeatable(err):
		return true
	}
	switch sqliteCode(err) {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL,
		sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_NOMEM,
		sqlite3.SQLITE_PROTOCOL:
		return true
	}
	return errors.Is(err, context.DeadlineExceeded) || pgconn.Timeout(err) || isConnectionLost(err)
}

// isConnectionLost reports whether the database could not be reached, or not any more.
func isConnectionLost(err error) bool {
	var connect *pgconn.ConnectError
	var network net.Error
	return errors.As(err, &connect) || errors.As(err, &network) || isDeadConnection(err) || isClosed(err)
}

// isDeadConnection reports whether a connection broke, so that another one may do better.
func isDeadConnection(err error) bool {
	var connect *pgconn.ConnectError
	if err == nil || errors.As(err, &connect) {
		return false
	}
	for _, dead := range []error{
		driver.ErrBadConn, sql.ErrConnDone, pgconn.ErrConnClosed, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed,
		syscall.ECONNRESET, syscall.EPIPE,
	} {
		if errors.Is(err, dead) {
			return true
		}
	}
	return pgCode(err) == "57P01" // this connection was terminated
}

// isClosed reports whether the store was closed under the call. Neither pool exports its error.
func isClosed(err error) bool {
	text := err.Error()
	return strings.HasSuffix(text, "sql: database is closed") || strings.HasSuffix(text, "closed pool")
}

// isRepeatable reports whether PostgreSQL undid a transaction that may simply run again.
func isRepeatable(err error) bool {
	code := pgCode(err)
	return code == "40001" || code == "40P01" // serialization failure, deadlock
}

// violated reports whether err breaks the named unique index, whose columns SQLite names instead.
func violated(err error, index, columns string) bool {
	if !errors.Is(err, gorm.ErrDuplicatedKey) {
		return false
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.ConstraintName == index
	}
	return strings.Contains(err.Error(), columns)
}
