package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/testkit"
)

func TestTranslate(t *testing.T) {
	t.Parallel()
	if translate(nil) != nil {
		t.Error("no error became one")
	}
	for code, sqlStates := range map[domain.Code][]string{
		domain.CodeUnavailable: {
			"08000", "08006", "53300", "53100", "57P01", "57P02", "57P03", "57014", "58030", "25006", "55P03", "25P03", "40001", "40P01",
		},
		domain.CodeInvalidParameters: {"22021", "22P05", "54000", "22001"},
		domain.CodeInternal:          {"42P01", "23502", "23514", "22P02", "42601"},
	} {
		for _, state := range sqlStates {
			err := translate(fmt.Errorf("while reading: %w", &pgconn.PgError{Code: state}))
			if domain.CodeOf(err) != code {
				t.Errorf("SQLSTATE %s: %v, want %s", state, err, code)
			}
		}
	}
	for _, err := range []error{driver.ErrBadConn, io.EOF, io.ErrUnexpectedEOF, context.DeadlineExceeded, pgconn.ErrConnClosed} {
		if got := translate(fmt.Errorf("x: %w", err)); domain.CodeOf(got) != domain.CodeUnavailable || !errors.Is(got, err) {
			t.Errorf("%v became %v", err, got)
		}
	}
	for _, err := range []error{context.Canceled, errWall, domain.AccountNotFound()} {
		if got := translate(err); got != err { //nolint:errorlint // as it is
			t.Errorf("%v became %v", err, got)
		}
	}
}

// Only the commit can fail without anybody knowing whether the change was made.
func TestCommitError(t *testing.T) {
	t.Parallel()
	err := commitError(io.ErrUnexpectedEOF)
	if domain.CodeOf(err) != domain.CodeUnavailable || err.(*domain.Error).Message == domain.Unavailable(nil).Message { //nolint:errorlint // just made
		t.Errorf("a lost commit: %v", err)
	}
	if err := commitError(&pgconn.PgError{Code: "23503"}); domain.CodeOf(err) != domain.CodeInternal {
		t.Errorf("a refused commit: %v", err)
	}
}

// A client that hangs up, or a deadline that passes, in the middle of a transaction is what the caller hears
// of, whatever database/sql makes of it.
func TestWrite_ContextEndsWithin(t *testing.T) {
	t.Parallel()
	for _, engine := range testkit.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			f := newWallFixture(t, engine)
			for what, with := range map[string]func() (context.Context, context.CancelFunc){
				"canceled": func() (context.Context, context.CancelFunc) { return context.WithCancel(t.Context()) },
				"too late": func() (context.Context, context.CancelFunc) {
					return context.WithTimeout(t.Context(), 100*time.Millisecond)
				},
			} {
				ctx, cancel := with()
				for _, run := range []func(context.Context, wall, func(scope) error) error{f.s.write, f.s.snapshot} {
					err := run(ctx, wall{account: f.mine}, func(sc scope) error {
						var err error
						for err == nil { // until database/sql has noticed
							if what == "canceled" {
								cancel()
							}
							err = sc.rows(&instanceRow{}).Take(&instanceRow{}).Error
						}
						return err
					})
					if ok := errors.Is(err, context.Canceled) || domain.CodeOf(err) == domain.CodeUnavailable; !ok {
						t.Errorf("%s: %v", what, err)
					}
				}
				cancel()
			}
			if _, err := f.s.AccountByID(t.Context(), f.mine); err != nil {
				t.Errorf("after that: %v", err)
			}
		})
	}
}

// A full disk is nobody's fault and passes.
func TestSQLite_Full(t *testing.T) {
	t.Parallel()
	f := newWallFixture(t, testkit.Engines()[0])
	db, err := f.s.writer.DB()
	if err != nil {
		t.Fatal(err)
	}
	if _, err = db.ExecContext(t.Context(), "PRAGMA max_page_count = 1"); err != nil { // as many as there are
		t.Fatal(err)
	}
	a, _ := f.s.Account(f.mine)
	for range 1000 {
		if err = a.CreateInstance(t.Context(), &domain.Instance{Name: "x", ProfileStatus: string(make([]byte, 0, 100))}, 0); err != nil {
			break
		}
	}
	if domain.CodeOf(err) != domain.CodeUnavailable {
		t.Errorf("full: %v", err)
	}
	if _, err = db.ExecContext(t.Context(), "PRAGMA max_page_count = 1000000"); err != nil {
		t.Fatal(err)
	}
	if err := a.CreateInstance(t.Context(), &domain.Instance{Name: "y"}, 0); err != nil {
		t.Errorf("room again: %v", err)
	}
}

// PRAGMAs that durability and the wall's composite keys rest on, on every connection of both pools.
func TestSQLite_Pragmas(t *testing.T) {
	t.Parallel()
	f := newWallFixture(t, testkit.Engines()[0])
	writer, err := f.s.writer.DB()
	if err != nil {
		t.Fatal(err)
	}
	for pragma, want := range map[string][2]string{
		"journal_mode": {"wal", "wal"}, "synchronous": {"2", "2"}, "foreign_keys": {"1", "1"}, "query_only": {"0", "1"}, "busy_timeout": {"5000", "5000"},
	} {
		var got [2]string
		if err := writer.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got[0]); err != nil {
			t.Fatal(err)
		}
		if err := f.s.pages.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got[1]); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("%s is %v, want %v", pragma, got, want)
		}
	}
	if _, err := f.s.pages.ExecContext(t.Context(), "DELETE FROM instances"); err == nil {
		t.Error("a reader may write")
	}
}
