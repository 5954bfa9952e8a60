package store

import (
	"context"
	"database/sql"
	"errors"
	"sync"
)

// To prepare a statement costs SQLite more than to run it, and a transaction cannot keep what it prepares. So the
// writer's statements that come again and again are prepared between transactions.

const (
	// preparedAfter is how often a statement comes before it is prepared, preparedAtMost how many are.
	preparedAfter  = 5
	preparedAtMost = 200
	// countedAtMost bounds the statements that are being counted: some have lists of every length.
	countedAtMost = 1000
)

// preparedWrites are the writer's statements by their text.
type preparedWrites struct {
	mu     sync.Mutex
	db     *sql.DB
	stmts  map[string]*sql.Stmt
	counts map[string]int
	wanted []string
}

func newPreparedWrites(db *sql.DB) *preparedWrites {
	return &preparedWrites{db: db, stmts: map[string]*sql.Stmt{}, counts: map[string]int{}}
}

// find returns a statement that is prepared, and counts one that is not.
func (p *preparedWrites) find(text string) *sql.Stmt {
	p.mu.Lock()
	defer p.mu.Unlock()
	if stmt := p.stmts[text]; stmt != nil {
		return stmt
	}
	if len(p.counts) >= countedAtMost {
		clear(p.counts)
	}
	if p.counts[text]++; p.counts[text] == preparedAfter && len(p.stmts)+len(p.wanted) < preparedAtMost {
		p.wanted = append(p.wanted, text)
	}
	return nil
}

// prepare does so with the statements that have come often enough. No transaction may be open: there is one
// connection.
func (p *preparedWrites) prepare(ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, text := range p.wanted {
		if stmt, err := p.db.PrepareContext(ctx, text); err == nil { //nolint:sqlclosecheck // close does
			p.stmts[text] = stmt
		}
		delete(p.counts, text)
	}
	p.wanted = nil
}

func (p *preparedWrites) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, stmt := range p.stmts {
		errs = append(errs, stmt.Close())
	}
	clear(p.stmts)
	return errors.Join(errs...)
}

// preparedTx is a transaction that runs statements as they are prepared. It is a gorm.ConnPool.
type preparedTx struct {
	*sql.Tx
	prepared *preparedWrites
	bound    map[string]*sql.Stmt // to this transaction
}

func (t *preparedTx) stmt(ctx context.Context, text string) *sql.Stmt {
	if stmt := t.bound[text]; stmt != nil {
		return stmt
	}
	stmt := t.prepared.find(text)
	if stmt == nil {
		return nil
	}
	stmt = t.StmtContext(ctx, stmt)
	t.bound[text] = stmt
	return stmt
}

// PrepareContext is part of gorm.ConnPool. The result may be closed.
func (t *preparedTx) PrepareContext(ctx context.Context, text string) (*sql.Stmt, error) {
	if stmt := t.prepared.find(text); stmt != nil {
		return t.StmtContext(ctx, stmt), nil
	}
	return t.Tx.PrepareContext(ctx, text)
}

// ExecContext is part of gorm.ConnPool.
func (t *preparedTx) ExecContext(ctx context.Context, text string, args ...any) (sql.Result, error) {
	if stmt := t.stmt(ctx, text); stmt != nil { //nolint:sqlclosecheck // the transaction does
		return stmt.ExecContext(ctx, args...)
	}
	return t.Tx.ExecContext(ctx, text, args...)
}

// QueryContext is part of gorm.ConnPool.
func (t *preparedTx) QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	if stmt := t.stmt(ctx, text); stmt != nil { //nolint:sqlclosecheck // the transaction does
		return stmt.QueryContext(ctx, args...)
	}
	return t.Tx.QueryContext(ctx, text, args...)
}

// QueryRowContext is part of gorm.ConnPool.
func (t *preparedTx) QueryRowContext(ctx context.Context, text string, args ...any) *sql.Row {
	if stmt := t.stmt(ctx, text); stmt != nil { //nolint:sqlclosecheck // the transaction does
		return stmt.QueryRowContext(ctx, args...)
	}
	return t.Tx.QueryRowContext(ctx, text, args...)
}
