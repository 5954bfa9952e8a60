package deliveries

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"net/url"
	"path/filepath"
	"sync"
)

// outboxSQLite is a table in SQLite with one writer, which does what has come meanwhile in one transaction.
type outboxSQLite struct {
	db                    *sql.DB
	conn                  *sql.Conn
	insertion             *sql.Stmt
	claiming              *sql.Stmt
	removing              *sql.Stmt
	begin, commit, revert *sql.Stmt
	works                 chan *work
	writing               sync.WaitGroup
}

// work is something to do in a transaction.
type work struct {
	do   func(context.Context) error
	done chan error
}

// floorGroup bounds a transaction.
const floorGroup = 256

const (
	makeSQLite = `
CREATE TABLE outbox (id integer PRIMARY KEY AUTOINCREMENT, target integer NOT NULL, claimed_at integer, data blob NOT NULL);
CREATE INDEX outbox_free ON outbox (id) WHERE claimed_at IS NULL`

	insertSQLite = `INSERT INTO outbox (target, data) VALUES (?1, ?2)`

	claimSQLite = `
UPDATE outbox SET claimed_at = unixepoch() WHERE id IN (
    SELECT id FROM outbox INDEXED BY outbox_free WHERE claimed_at IS NULL ORDER BY id LIMIT ?1
) RETURNING id, target, data`

	removeSQLite = `DELETE FROM outbox WHERE id IN (SELECT value FROM json_each(?1))`
)

func openSQLite(ctx context.Context, dir string) (*outboxSQLite, error) {
	// As Pombal's store has it.
	options := url.Values{"_pragma": {
		"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)", "temp_store(MEMORY)", "cache_size(-16384)", "mmap_size(1073741824)",
	}}
	dsn := url.URL{Scheme: "file", Path: filepath.Join(dir, "outbox.db"), RawQuery: options.Encode()}
	o := &outboxSQLite{works: make(chan *work, floorGroup)}
	var err error
	if o.db, err = sql.Open("sqlite", dsn.String()); err != nil {
		return nil, err
	}
	if o.conn, err = o.db.Conn(ctx); err != nil {
		return nil, err
	}
	if _, err = o.conn.ExecContext(ctx, makeSQLite); err != nil {
		return nil, err
	}
	for _, s := range []struct {
		to   **sql.Stmt
		text string
	}{
		{&o.insertion, insertSQLite}, {&o.claiming, claimSQLite}, {&o.removing, removeSQLite},
		{&o.begin, "BEGIN IMMEDIATE"}, {&o.commit, "COMMIT"}, {&o.revert, "ROLLBACK"},
	} {
		if *s.to, err = o.conn.PrepareContext(ctx, s.text); err != nil { //nolint:sqlclosecheck // they end with the connection
			return nil, err
		}
	}
	ctx = context.WithoutCancel(ctx)      // a statement that is interrupted would undo the others' work
	o.writing.Go(func() { o.write(ctx) }) // close waits for it
	return o, nil
}

// write is the writer.
func (o *outboxSQLite) write(ctx context.Context) {
	for first := range o.works {
		group := []*work{first}
		_, err := o.begin.ExecContext(ctx)
		if err == nil {
			err = first.do(ctx)
		}
		for more := true; err == nil && more && len(group) < floorGroup; {
			select {
			case next, ok := <-o.works:
				if more = ok; ok {
					group = append(group, next)
					err = next.do(ctx)
				}
			default:
				more = false
			}
		}
		if err == nil {
			_, err = o.commit.ExecContext(ctx)
		}
		if err != nil {
			_, _ = o.revert.ExecContext(ctx) // the benchmark is over anyway
		}
		for _, w := range group {
			w.done <- err
		}
	}
}

// transact lets the writer do something, and returns when it is durable.
func (o *outboxSQLite) transact(do func(context.Context) error) error {
	w := &work{do: do, done: make(chan error, 1)}
	o.works <- w
	return <-w.done
}

func (o *outboxSQLite) insert(_ context.Context, target int, data []byte) (id int64, err error) {
	err = o.transact(func(ctx context.Context) error {
		result, failed := o.insertion.ExecContext(ctx, target, data)
		if failed == nil {
			id, failed = result.LastInsertId()
		}
		return failed
	})
	return id, err
}

func (o *outboxSQLite) claim(_ context.Context, n int) (list []row, err error) {
	err = o.transact(func(ctx context.Context) error {
		rows, failed := o.claiming.QueryContext(ctx, n)
		if failed != nil {
			return failed
		}
		defer func() { _ = rows.Close() }() // Err has told
		for rows.Next() {
			var r row
			if failed = rows.Scan(&r.id, &r.target, &r.data); failed != nil {
				return failed
			}
			list = append(list, r)
		}
		return rows.Err()
	})
	return list, err
}

func (o *outboxSQLite) remove(_ context.Context, ids []int64) error {
	text, err := json.Marshal(ids)
	if err != nil {
		return err
	}
	return o.transact(func(ctx context.Context) error {
		_, err := o.removing.ExecContext(ctx, string(text))
		return err
	})
}

func (o *outboxSQLite) close() error {
	close(o.works)
	o.writing.Wait()
	return errors.Join(o.insertion.Close(), o.claiming.Close(), o.removing.Close(), o.begin.Close(), o.commit.Close(),
		o.revert.Close(), o.conn.Close(), o.db.Close())
}
