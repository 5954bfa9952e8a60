package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/pombal-api/pombal/internal/domain"
)

const (
	// opTimeout bounds an operation whose caller set no deadline, waiting for a connection included. It is
	// a little longer than the server's own statement timeout.
	opTimeout = 12 * time.Second
	// attempts bounds the tries of a transaction that PostgreSQL asks to repeat, or of a read whose
	// connection turned out to be dead.
	attempts = 4
)

// scope is a pool or a transaction, with the wall that its statements carry.
type scope struct {
	db   *gorm.DB
	wall wall
	// news is what others are told after the commit; nil outside of transactions.
	news *news
}

// rows starts a statement on the table of model, narrowed to what is bound.
func (sc scope) rows(model interface{ TableName() string }) *gorm.DB {
	db := sc.all(model)
	if b, ok := sc.wall.binding(model.TableName()); ok {
		db = db.Where(b)
	}
	return db
}

// all starts a statement on the table of model without any condition: for tables that belong to nobody,
// for new rows, and for passes.
func (sc scope) all(model interface{ TableName() string }) *gorm.DB {
	return sc.db.Set(wallKey, sc.wall).Model(model)
}

// with returns the scope under another wall, in the same transaction.
func (sc scope) with(w wall) scope { return scope{sc.db, w, sc.news} }

// eq is the condition that a column has a value; NULL for a zero uid, millis or optional.
func eq(column string, value any) clause.Eq {
	return clause.Eq{Column: clause.Column{Name: column}, Value: value}
}

// in is the condition that a column has one of the values.
func in(column string, values []any) clause.IN {
	return clause.IN{Column: clause.Column{Name: column}, Values: values}
}

// forUpdate locks the rows read until the transaction ends; on SQLite the whole database is locked anyway.
func forUpdate() clause.Locking { return clause.Locking{Strength: clause.LockingStrengthUpdate} }

// ascending orders by columns.
func ascending(columns ...string) clause.OrderBy {
	var order clause.OrderBy
	for _, c := range columns {
		order.Columns = append(order.Columns, clause.OrderByColumn{Column: clause.Column{Name: c}})
	}
	return order
}

// bounded returns ctx with a deadline.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, opTimeout)
}

// read runs do outside a transaction. do may run again when its connection was dead, so it must assign
// its results rather than add to them.
func (s *Store) read(ctx context.Context, w wall, do func(scope) error) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	var err error
	for range attempts {
		err = do(scope{db: s.reader.WithContext(ctx), wall: w})
		if !isDeadConnection(err) {
			break
		}
	}
	return translate(ended(ctx, err))
}

// load is read with a result.
func load[T any](ctx context.Context, s *Store, w wall, do func(scope) (T, error)) (T, error) {
	return resultOf(func(work func(scope) error) error { return s.read(ctx, w, work) }, do)
}

// change is write with a result.
func change[T any](ctx context.Context, s *Store, w wall, do func(scope) (T, error)) (T, error) {
	return resultOf(func(work func(scope) error) error { return s.write(ctx, w, work) }, do)
}

// resultOf runs do and returns its result, which is the zero value with every error.
func resultOf[T any](run func(func(scope) error) error, do func(scope) (T, error)) (T, error) {
	var result, none T
	err := run(func(sc scope) (err error) {
		result, err = do(sc)
		return err
	})
	if err != nil {
		return none, err
	}
	return result, nil
}

// snapshot is read for several statements that must see the same data.
func (s *Store) snapshot(ctx context.Context, w wall, do func(scope) error) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	var err error
	for range attempts {
		err = s.reader.WithContext(ctx).Transaction(func(tx *gorm.DB) error { return do(scope{db: tx, wall: w}) },
			&sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
		if !isDeadConnection(err) {
			break
		}
	}
	return translate(ended(ctx, err))
}

// write runs do in a transaction. It runs again when the database asks for that.
func (s *Store) write(ctx context.Context, w wall, do func(scope) error) error {
	published, err := s.writeUntold(ctx, w, do)
	if err == nil {
		s.tell(&published)
	}
	return err
}

// writeUntold is write for a caller who tells what was published by itself.
func (s *Store) writeUntold(ctx context.Context, w wall, do func(scope) error) (published news, err error) {
	err = s.transact(ctx, w, func(sc scope) error {
		published = news{}
		sc.news = &published
		return do(sc)
	})
	return published, err
}

func (s *Store) transact(ctx context.Context, w wall, do func(scope) error) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	if s.pool == nil {
		return s.writeGrouped(ctx, w, false, do)
	}
	return repeated(ctx, func() (done bool, err error) {
		err = s.writer.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
			failed := do(scope{db: tx, wall: w})
			done = failed == nil
			return failed
		})
		return done, err
	})
}

// repeated runs a transaction, again when the database asks for that. done reports that only the commit was left.
func repeated(ctx context.Context, transaction func() (done bool, err error)) error {
	var err error
	for range attempts {
		var done bool
		done, err = transaction()
		if err != nil && done && !isRepeatable(err) {
			return commitError(ended(ctx, err))
		}
		if !isRepeatable(err) {
			break
		}
	}
	return translate(ended(ctx, err))
}

// ended adds that ctx is over to an error that came of it: database/sql ends a transaction with its context
// and then only says that the transaction is gone.
func ended(ctx context.Context, err error) error {
	if ctx.Err() == nil || err == nil || isDomain(err) || errors.Is(err, ctx.Err()) {
		return err
	}
	return fmt.Errorf("%w: %w", ctx.Err(), err)
}

// commitError translates the failure of a commit. When the connection was lost in it, nobody knows
// whether the change was made.
func commitError(err error) error {
	err = translate(err)
	if e, ok := errors.AsType[*domain.Error](err); ok && e.Code == domain.CodeUnavailable {
		return &domain.Error{
			Code: e.Code, RetryAfter: e.RetryAfter, Err: e.Err,
			Message: "The database did not confirm the change: it may have been made or not. " +
				"Look before you repeat it, or repeat the call with the same Idempotency-Key.",
		}
	}
	return err
}

// keepExisting makes an insert do nothing where a row with this key is there already.
func keepExisting(key ...string) clause.OnConflict {
	conflict := clause.OnConflict{DoNothing: true}
	for _, name := range key {
		conflict.Columns = append(conflict.Columns, clause.Column{Name: name})
	}
	return conflict
}
