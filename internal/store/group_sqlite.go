package store

import (
	"context"
	"database/sql"
	"time"

	"gorm.io/gorm"
)

// SQLite has one writer, and most of what a small transaction costs is the wait for the disk at its end. So changes
// that come at the same time share a transaction, each within its own savepoint.

const (
	// groupSize and groupTime bound how much a transaction takes in: the first one waits for the last.
	groupSize = 64
	groupTime = 5 * time.Millisecond
	// companyTime is how long a patient work waits for another one to share its transaction with, while events are published
	// one after another: the next are about to come.
	companyTime = 3 * time.Millisecond
)

// groupedWrite is a piece of work for the writer.
type groupedWrite struct {
	ctx  context.Context
	wall wall
	do   func(scope) error

	err      error
	done     bool // do succeeded, so err is that of the commit
	panicked any
}

// writeGrouped runs do in a transaction that it may share. Patient is a change that nobody waits for.
func (s *Store) writeGrouped(ctx context.Context, w wall, patient bool, do func(scope) error) error {
	work := &groupedWrite{ctx: ctx, wall: w, do: do}
	err := s.writes.do(ctx, work, func(next func() (*groupedWrite, bool)) {
		if patient && s.publications.before.Load() > 1 {
			s.writes.gather(1, companyTime)
		}
		(&group{s: s, ctx: context.WithoutCancel(ctx)}).run(next) //nolint:contextcheck // each work brings its own
	})
	switch {
	case err != nil:
		return translate(ended(ctx, err))
	case work.panicked != nil:
		panic(work.panicked) //nolint:forbidigo // it is do's own, which another goroutine may have run
	case work.err != nil && work.done:
		return commitError(work.err)
	}
	return translate(ended(ctx, work.err))
}

// group is a transaction with what it has done so far. Its context never ends.
type group struct {
	s    *Store
	ctx  context.Context
	tx   *gorm.DB // nil before the first work
	done []*groupedWrite
}

func (g *group) run(next func() (*groupedWrite, bool)) {
	begun := time.Now()
	for n := 0; n < groupSize && (n == 0 || time.Since(begun) < groupTime); n++ {
		work, ok := next()
		if !ok {
			break
		}
		if work.err = work.ctx.Err(); work.err == nil {
			g.add(work)
		}
	}
	if g.tx == nil {
		return
	}
	g.fail(g.tx.Commit().Error)
}

// begin opens a transaction that knows the prepared statements.
func (g *group) begin() error {
	g.s.prepared.prepare(g.ctx)
	tx := g.s.writer.WithContext(g.ctx).Begin()
	if tx.Error != nil {
		return tx.Error
	}
	if plain, ok := tx.Statement.ConnPool.(*sql.Tx); ok {
		tx.Statement.ConnPool = &preparedTx{plain, g.s.prepared, map[string]*sql.Stmt{}}
	}
	g.tx = tx
	return nil
}

// fail gives the works done so far the error of their commit.
func (g *group) fail(err error) {
	for _, work := range g.done {
		work.err = err
	}
	g.tx, g.done = nil, nil
}

// add does a work, and undoes it if it fails.
func (g *group) add(work *groupedWrite) {
	if g.tx == nil {
		if work.err = g.begin(); work.err != nil {
			return
		}
	}
	shared := len(g.done) > 0 // or else undoing the work is undoing everything
	if shared {
		if work.err = g.exec("SAVEPOINT work"); work.err != nil {
			return
		}
	}
	work.err = g.try(work)
	if work.err == nil && work.panicked == nil {
		work.err = work.ctx.Err()
	}
	switch failed := work.err != nil || work.panicked != nil; {
	case failed && !shared:
		_ = g.tx.Rollback()
		g.tx = nil
	case failed:
		if err := g.exec("ROLLBACK TO work"); err != nil { // SQLite itself has undone everything
			_ = g.tx.Rollback()
			g.fail(err)
			return
		}
		_ = g.exec("RELEASE work")
	default:
		work.done = true
		g.done = append(g.done, work)
		if shared {
			_ = g.exec("RELEASE work") // it would be released by the commit, too
		}
	}
}

// try runs the work itself.
func (g *group) try(work *groupedWrite) error {
	defer func() { work.panicked = recover() }()
	return work.do(scope{db: g.tx.WithContext(uninterrupted{work.ctx}), wall: work.wall})
}

// uninterrupted is a context that statements look at before they begin (see guard and handOf), and never after: to
// interrupt one would undo the whole transaction.
type uninterrupted struct{ context.Context }

// Done is never closed.
func (uninterrupted) Done() <-chan struct{} { return nil }

func (g *group) exec(text string) error {
	_, err := g.tx.Statement.ConnPool.ExecContext(g.ctx, text)
	return err
}
