package store_test

import (
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pressly/goose/v3"

	"github.com/pombal-api/pombal/internal/store"
	"github.com/pombal-api/pombal/internal/testkit"
	"github.com/pombal-api/pombal/migrations"
)

// schemaDigest names the schema, so that a database made for an older one is not taken for this one's.
func schemaDigest(t testing.TB) string {
	t.Helper()
	sum := sha256.New()
	err := fs.WalkDir(migrations.FS, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(migrations.FS, path)
		_, _ = sum.Write(append([]byte(path), content...))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(sum.Sum(nil)[:8])
}

// ownNames are what only one of the engines has: each finds the deliveries of an event, and the events of an account or an
// instance, in the way that costs it least to write.
var ownNames = []string{
	"events.number", "event_order.account_id not null", "event_order.position not null", "event_order.type not null", "event_order.instance_id",
	"event_order.number not null", "deliveries.number", "deliveries_log",
	"deliveries.number not null", "deliveries.event_id not null", "deliveries_of_event", "events_of_instance",
}

func TestMigrate_EnginesHaveEqualTables(t *testing.T) {
	t.Parallel()
	columns := map[string]string{
		store.DialectSQLite: `SELECT m.name || '.' || c.name || CASE WHEN c."notnull" THEN ' not null' ELSE '' END
			FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table' ORDER BY 1`,
		store.DialectPostgres: `SELECT table_name || '.' || column_name || CASE is_nullable WHEN 'NO' THEN ' not null' ELSE '' END
			FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'ordered_events' ORDER BY 1`,
	}
	indexes := map[string]string{
		store.DialectSQLite:   `SELECT name FROM sqlite_master WHERE type = 'index' AND name NOT LIKE 'sqlite_%' ORDER BY 1`,
		store.DialectPostgres: `SELECT indexname FROM pg_indexes WHERE schemaname = 'public' AND indexname NOT LIKE '%key' ORDER BY 1`,
	}
	for what, queries := range map[string]map[string]string{"columns": columns, "indexes": indexes} {
		found := map[string][]string{}
		for dialect, query := range queries {
			_, place := openStore(t, dialect)
			found[dialect] = ours(readStrings(t, openSQL(t, dialect, place), query))
		}
		same(t, what, found[store.DialectSQLite], found[store.DialectPostgres])
		if len(found[store.DialectSQLite]) < 10 {
			t.Errorf("%s: %v", what, found)
		}
	}
}

// ours leaves out what goose and SQLite keep for themselves, and ownNames.
func ours(names []string) []string {
	return slices.DeleteFunc(names, func(n string) bool {
		return strings.HasPrefix(n, "goose_") || strings.HasPrefix(n, "sqlite_") || slices.Contains(ownNames, n)
	})
}

func readStrings(t testing.TB, db *sql.DB, query string) (list []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		list = append(list, s)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

// Every migration can be undone, so that it can be tried.
func TestMigrate_DownAndUp(t *testing.T) {
	t.Parallel()
	for _, dialect := range []string{store.DialectSQLite, store.DialectPostgres} {
		s, place := openStore(t, dialect)
		files := must[fs.FS](t)(fs.Sub(migrations.FS, dialect))
		kind := goose.DialectPostgres
		if dialect == store.DialectSQLite {
			kind = goose.DialectSQLite3
		}
		p := must[*goose.Provider](t)(goose.NewProvider(kind, openSQL(t, dialect, place), files))
		if _, err := p.DownTo(t.Context(), 0); err != nil {
			t.Fatal(dialect, err)
		}
		if err := s.CheckSchema(t.Context()); err == nil || !strings.Contains(err.Error(), `run "pombal migrate"`) {
			t.Errorf("%s: an empty database: %v", dialect, err)
		}
		if err := s.Migrate(t.Context()); err != nil {
			t.Fatal(dialect, err)
		}
		if err := s.CheckSchema(t.Context()); err != nil {
			t.Error(dialect, err)
		}
	}
}

// Nodes that start at once on an empty database migrate it once.
func TestMigrate_Concurrently(t *testing.T) {
	t.Parallel()
	for _, engine := range testkit.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			database := engine.New(t)
			var nodes sync.WaitGroup
			for range 10 {
				nodes.Go(func() {
					s, err := store.Open(t.Context(), store.Config{URL: database.URL, DataDir: database.Dir, MaxConns: 2})
					if err != nil {
						t.Error(err)
						return
					}
					if err := errors.Join(s.Migrate(t.Context()), s.CheckSchema(t.Context()), s.Close()); err != nil {
						t.Error(err)
					}
				})
			}
			nodes.Wait()
			place := database.URL
			if place == "" {
				place = database.Dir
			}
			db := openSQL(t, engine.Name, place)
			applied := readStrings(t, db, "SELECT CAST(version_id AS text) FROM goose_db_version WHERE version_id > 0 ORDER BY id")
			same(t, "applied", applied, []string{"1", "2", "3", "4", "5"})
		})
	}
}

func TestMigrate_RefusesNewer(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		execSQL(t, f, []string{"INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, true)"})
		for what, err := range map[string]error{"migrate": f.Migrate(t.Context()), "check": f.CheckSchema(t.Context())} {
			if err == nil || !strings.Contains(err.Error(), "made by a newer Pombal: schema 999, this binary knows ") {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
}
