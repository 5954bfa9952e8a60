package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/pombal-api/pombal/migrations"
)

// Migrate brings the schema to the version of this binary. Of several processes that start at once, one
// does it while the others wait. A newer schema is refused.
func (s *Store) Migrate(ctx context.Context) error {
	// Looking first makes the usual start cost one query, and no lock.
	current, known, err := s.schemaVersions(ctx)
	if err != nil || current >= known {
		return errors.Join(err, checkVersions(current, known))
	}
	if s.pool != nil {
		err = s.migratePostgres(ctx)
	} else {
		err = s.migrateSQLite(ctx)
	}
	if err != nil {
		return translate(fmt.Errorf("migrate: %w", err))
	}
	return nil
}

func (s *Store) migratePostgres(ctx context.Context) error {
	db := stdlib.OpenDB(*s.migrationConfig())
	defer func() { _ = db.Close() }()
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 600), lock.WithUnlockTimeout(1, 10))
	if err != nil {
		return err
	}
	return migrateUp(ctx, goose.DialectPostgres, db, goose.WithSessionLocker(locker))
}

func (s *Store) migrateSQLite(ctx context.Context) error {
	file := flock.New(filepath.Join(s.cfg.DataDir, "migrate.lock"))
	defer func() { _ = file.Close() }()
	if _, err := file.TryLockContext(ctx, 20*time.Millisecond); err != nil {
		return fmt.Errorf("lock the data directory: %w", err)
	}
	db, err := s.writer.DB()
	if err != nil {
		return err
	}
	return migrateUp(ctx, goose.DialectSQLite3, db)
}

func migrateUp(ctx context.Context, dialect goose.Dialect, db *sql.DB, options ...goose.ProviderOption) error {
	folder := DialectPostgres
	if dialect == goose.DialectSQLite3 {
		folder = DialectSQLite
	}
	files, err := fs.Sub(migrations.FS, folder)
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(dialect, db, files, append(options, goose.WithDisableGlobalRegistry(true))...)
	if err != nil {
		return err
	}
	_, err = p.Up(ctx)
	return err
}

// CheckSchema returns an error that says what to do, unless the schema is exactly the one of this binary.
func (s *Store) CheckSchema(ctx context.Context) error {
	current, known, err := s.schemaVersions(ctx)
	if err != nil {
		return err
	}
	return checkVersions(current, known)
}

func checkVersions(current, known int64) error {
	switch {
	case current > known:
		return fmt.Errorf("the database was made by a newer Pombal: schema %d, this binary knows %d; "+
			"use a newer binary, or restore the backup from before the upgrade", current, known)
	case current < known:
		return fmt.Errorf("the database has schema %d, this binary needs %d: run \"pombal migrate\"", current, known)
	}
	return nil
}

// schemaVersions returns the database's version, 0 for an empty one, and the newest that this binary
// knows. Unlike goose it changes nothing, so it also works on a pool that may not write.
func (s *Store) schemaVersions(ctx context.Context) (current, known int64, err error) {
	known, err = newestMigration(s.Dialect())
	if err != nil {
		return 0, 0, err
	}
	db, err := s.reader.DB()
	if err != nil {
		return 0, 0, fmt.Errorf("check the schema: %w", err)
	}
	exists := "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'goose_db_version'"
	if s.pool != nil {
		exists = "SELECT count(to_regclass('goose_db_version'))"
	}
	var tables int
	if err = db.QueryRowContext(ctx, exists).Scan(&tables); err != nil || tables == 0 {
		return 0, known, translate(err)
	}
	err = db.QueryRowContext(ctx, "SELECT COALESCE(MAX(version_id), 0) FROM goose_db_version WHERE is_applied").Scan(&current)
	return current, known, translate(err)
}

// newestMigration returns the highest number among the embedded files.
func newestMigration(folder string) (int64, error) {
	files, err := fs.Glob(migrations.FS, folder+"/*.sql")
	if err != nil || len(files) == 0 {
		return 0, fmt.Errorf("no migrations in %s: %w", folder, err)
	}
	return goose.NumericComponent(path.Base(files[len(files)-1]))
}
