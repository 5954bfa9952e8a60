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

// byKeyPostgres makes the planner take rows by their keys until the transaction ends. In a new database it
// would believe that a table is small, and go on to read all of it until statistics are gathered.
const byKeyPostgres crossing = `
SELECT set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),
    set_config('enable_mergejoin', 'off', true)`

// queue adds a statement to a batch.
func queue(b *pgx.Batch, sql crossing, args ...any) *pgx.QueuedQuery {
	return b.Queue(string(sql), args...)
}

// writePostgres runs do in a transaction without GORM. It runs again when the database asks for that.
func (s *Store) writePostgres(ctx context.Context, do func(pgx.Tx) error) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	return repeated(ctx, func() (done bool, err error) {
		err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
			failed := do(tx)
			done = failed == nil
			return failed
		})
		return done, err
	})
}

// txQuerier is a transaction of database/sql, on either engine.
type txQuerier interface {
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
			err = s.eachByKey(ctx, question.postgres, do, args...)
		} else {
			err = s.eachPrepared(ctx, question.sqlite, do, args...)
		}
		if !isDeadConnection(err) {
			break
		}
	}
	return translate(ended(ctx, err))
}

// eachByKey runs a statement as a transaction of its own, see byKeyPostgres, and calls do for each of its rows.
func (s *Store) eachByKey(ctx context.Context, sql crossing, do func(scanned) error, args ...any) error {
	b := new(pgx.Batch)
	queue(b, byKeyPostgres)
	queue(b, sql, args...).Query(func(rows pgx.Rows) error { return eachRow(rows, do) })
	return s.pool.SendBatch(ctx, b).Close()
}

func eachRow(rows pgx.Rows, do func(scanned) error) error {
	defer rows.Close()
	for rows.Next() {
		if err := do(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// eachPrepared asks a question on SQLite, where to prepare it would cost more than to answer it.
func (s *Store) eachPrepared(ctx context.Context, question crossing, do func(scanned) error, args ...any) error {
	stmt, err := s.questionStmt(ctx, question) //nolint:sqlclosecheck // the store closes it
	if err != nil {
		return err
	}
	rows, err := stmt.QueryContext(ctx, args...)
	if err != nil {
		return err
	}
	return eachSQLRow(rows, do)
}

// questionStmt returns the statement of a question, which is there until the store is closed.
func (s *Store) questionStmt(ctx context.Context, question crossing) (*sql.Stmt, error) {
	if stmt, ok := s.questions.Load(question); ok {
		return stmt.(*sql.Stmt), nil
	}
	mine, err := s.pages.PrepareContext(ctx, string(question))
	if err != nil {
		return nil, err
	}
	stmt, loaded := s.questions.LoadOrStore(question, mine)
	if loaded { // somebody else was quicker
		err = mine.Close() //nolint:sqlclosecheck // the other one stays
	}
	return stmt.(*sql.Stmt), err
}

func eachInTx(ctx context.Context, q txQuerier, sql crossing, do func(scanned) error, args ...any) error {
	rows, err := q.QueryContext(ctx, string(sql), args...)
	if err != nil {
		return err
	}
	return eachSQLRow(rows, do)
}

func eachSQLRow(rows *sql.Rows, do func(scanned) error) error {
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := do(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

func execInTx(ctx context.Context, tx gorm.ConnPool, sql crossing, args ...any) error {
	_, err := tx.ExecContext(ctx, string(sql), args...)
	return err
}
