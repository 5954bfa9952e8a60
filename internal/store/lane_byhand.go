package store

import (
	"context"
	"database/sql"

	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"
)

// crossing is a statement by hand that crosses accounts on purpose: workers serve them all. Each joins rows by
// their account and never by an id alone. A test lists them.
type crossing string

// postgresQuerier is a pool or a transaction.
type postgresQuerier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func crossPostgres(ctx context.Context, q postgresQuerier, sql crossing, args ...any) (pgx.Rows, error) {
	return q.Query(ctx, string(sql), args...)
}

// execPostgres runs a statement whose rows nobody wants.
func execPostgres(ctx context.Context, q postgresQuerier, sql crossing, args ...any) error {
	rows, err := crossPostgres(ctx, q, sql, args...)
	if err != nil {
		return err
	}
	rows.Close()
	return rows.Err()
}

// writePostgres runs do in a transaction without GORM. It runs again when the database asks for that.
func (s *Store) writePostgres(ctx context.Context, do func(pgx.Tx) error) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	var err error
	for range attempts {
		if err = pgx.BeginFunc(ctx, s.pool, do); !isRepeatable(err) {
			break
		}
	}
	return translate(ended(ctx, err))
}

// sqliteQuerier is a pool or a transaction.
type sqliteQuerier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// prepareSQLite prepares a statement that runs for many rows of a transaction.
func prepareSQLite(ctx context.Context, tx gorm.ConnPool, sql crossing) (*sql.Stmt, error) {
	return tx.PrepareContext(ctx, string(sql))
}

// everywhere is a question that crosses accounts, for each engine.
type everywhere struct{ postgres, sqlite crossing }

// each asks a question outside a transaction, and calls do for each row of the answer. do may run again for
// rows that it has seen when a connection was dead, so start begins anew.
func (s *Store) each(ctx context.Context, question everywhere, start func(), do func(scanned) error, args ...any) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	var err error
	for range attempts {
		start()
		if s.pool != nil {
			err = eachPostgres(ctx, s.pool, question.postgres, do, args...)
		} else {
			err = eachSQLite(ctx, s.pages, question.sqlite, do, args...)
		}
		if !isDeadConnection(err) {
			break
		}
	}
	return translate(ended(ctx, err))
}

func eachPostgres(ctx context.Context, q postgresQuerier, sql crossing, do func(scanned) error, args ...any) error {
	rows, err := crossPostgres(ctx, q, sql, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := do(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

func eachSQLite(ctx context.Context, q sqliteQuerier, sql crossing, do func(scanned) error, args ...any) error {
	rows, err := q.QueryContext(ctx, string(sql), args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := do(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

func execSQLite(ctx context.Context, tx gorm.ConnPool, sql crossing, args ...any) error {
	_, err := tx.ExecContext(ctx, string(sql), args...)
	return err
}
