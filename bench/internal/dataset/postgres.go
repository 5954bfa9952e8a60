package dataset

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pombal-api/pombal/internal/domain"
)

func postgresEngine() engine {
	return engine{
		id: func(id domain.ID) any {
			if id.IsZero() {
				return nil
			}
			return [16]byte(id)
		},
		time: func(ms int64) any { return time.UnixMilli(ms).UTC() },
	}
}

// LoadPostgres fills an empty, migrated database. It needs a superuser, because it keeps the server from
// checking foreign keys row by row.
func (d *Data) LoadPostgres(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	if err := d.copyPostgres(ctx, conn); err != nil {
		return err
	}
	// What autovacuum would do in time: the visibility map for scans of indexes alone, and statistics.
	for _, statement := range []string{"VACUUM (ANALYZE)", "CHECKPOINT"} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

// copyPostgres copies all tables in one transaction, which began by emptying instances: so, with
// wal_level=minimal, its rows and indexes need no log.
func (d *Data) copyPostgres(ctx context.Context, conn *pgx.Conn) error {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(ctx) }()
	indexes, err := dropIndexes(ctx, tx)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "SET LOCAL session_replication_role = replica; TRUNCATE instances CASCADE"); err != nil {
		return fmt.Errorf("prepare to load: %w", err)
	}
	for _, t := range d.tables(postgresEngine()) {
		source := pgx.CopyFromSlice(t.rows, func(i int) ([]any, error) { return t.row(i), nil })
		if _, err := tx.CopyFrom(ctx, pgx.Identifier{t.name}, t.columns, source); err != nil {
			return fmt.Errorf("load %s: %w", t.name, err)
		}
	}
	for _, statement := range indexes {
		if _, err := tx.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return tx.Commit(ctx)
}

// dropIndexes drops the indexes of instances, but for the primary key's, and returns how to make them
// again. Sorting at the end is many times faster than inserting at random.
func dropIndexes(ctx context.Context, tx pgx.Tx) ([]string, error) {
	rows, err := tx.Query(ctx, `SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'instances' AND indexname NOT IN
		(SELECT conname FROM pg_constraint WHERE conrelid = 'instances'::regclass)`)
	if err != nil {
		return nil, err
	}
	type index struct{ Name, Definition string }
	indexes, err := pgx.CollectRows(rows, pgx.RowToStructByPos[index])
	if err != nil {
		return nil, err
	}
	var again []string
	for _, i := range indexes {
		if _, err := tx.Exec(ctx, "DROP INDEX "+i.Name); err != nil {
			return nil, err
		}
		again = append(again, i.Definition)
	}
	return again, nil
}
