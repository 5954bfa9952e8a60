package dataset

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"

	_ "modernc.org/sqlite" // the driver

	"github.com/pombal-api/pombal/internal/domain"
)

func sqliteEngine() engine {
	return engine{
		id: func(id domain.ID) any {
			if id.IsZero() {
				return nil
			}
			return id[:]
		},
		time: func(ms int64) any { return ms },
	}
}

// LoadSQLite fills an empty, migrated database file.
func (d *Data) LoadSQLite(ctx context.Context, path string) (err error) {
	options := url.Values{"_pragma": {"synchronous(OFF)", "foreign_keys(0)", "cache_size(-262144)"}}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: options.Encode()}).String())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if err = d.fillSQLite(ctx, tx); err != nil {
		return err
	}
	if err = tx.Commit(); err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)")
	return err
}

func (d *Data) fillSQLite(ctx context.Context, tx *sql.Tx) error {
	indexes, err := dropSQLiteIndexes(ctx, tx)
	if err != nil {
		return err
	}
	for _, t := range d.tables(sqliteEngine()) {
		if err := insert(ctx, tx, t); err != nil {
			return fmt.Errorf("load %s: %w", t.name, err)
		}
	}
	for _, statement := range indexes {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

// dropSQLiteIndexes drops the indexes of instances and returns how to make them again.
func dropSQLiteIndexes(ctx context.Context, tx *sql.Tx) ([]string, error) {
	rows, err := tx.QueryContext(ctx, "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'instances' AND sql IS NOT NULL")
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var names, again []string
	for rows.Next() {
		var name, definition string
		if err := rows.Scan(&name, &definition); err != nil {
			return nil, err
		}
		names, again = append(names, name), append(again, definition)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, err
	}
	for _, name := range names {
		if _, err := tx.ExecContext(ctx, "DROP INDEX "+name); err != nil {
			return nil, err
		}
	}
	return again, nil
}

// insert writes a table row by row.
func insert(ctx context.Context, tx *sql.Tx, t table) error {
	marks := strings.TrimSuffix(strings.Repeat("?,", len(t.columns)), ",")
	statement := "INSERT INTO " + t.name + " (" + strings.Join(t.columns, ",") + ") VALUES (" + marks + ")" //nolint:gosec // names of ours
	prepared, err := tx.PrepareContext(ctx, statement)
	if err != nil {
		return err
	}
	defer func() { _ = prepared.Close() }()
	for i := range t.rows {
		if _, err := prepared.ExecContext(ctx, t.row(i)...); err != nil {
			return err
		}
	}
	return nil
}
