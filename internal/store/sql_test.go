package store_test

import (
	"database/sql"
	"path/filepath"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/pombal-api/pombal/internal/store"
)

// openSQL opens the fixture's database behind the store's back.
func openSQL(t testing.TB, dialect, place string) *sql.DB {
	t.Helper()
	driver, dsn := "pgx", place
	if dialect == store.DialectSQLite {
		driver, dsn = "sqlite", filepath.Join(place, "pombal.db")+"?_pragma=busy_timeout(5000)"
	}
	db := must[*sql.DB](t)(sql.Open(driver, dsn))
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// execSQL runs statements that tests need and the store does not offer.
func execSQL(t testing.TB, f *fixture, statements []string) {
	t.Helper()
	db := openSQL(t, f.Dialect(), f.place)
	for _, s := range statements {
		if _, err := db.ExecContext(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}
