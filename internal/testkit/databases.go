// Package testkit gives tests what they share: databases, and the harness that holds
// HTTP answers against openapi.yaml. Only tests may import it.
package testkit

import "testing"

// Database is an empty database of one test: PostgreSQL when URL is set, else SQLite
// in the folder Dir.
type Database struct {
	// URL is what POMBAL_DATABASE_URL would be: "postgres://…", or empty for SQLite.
	URL string
	// Dir is what the data directory would be. It exists for both engines.
	Dir string
}

// Engine is a kind of database that Pombal runs on.
type Engine struct {
	// Name is "sqlite" or "postgres", good as the name of a subtest.
	Name string
	// New makes an empty database that ends with the test. For PostgreSQL it skips
	// the test where there is no server, see NewPostgres.
	New func(testing.TB) Database
}

// Engines lists the engines, so that one suite can run over each.
func Engines() []Engine {
	return []Engine{
		{Name: "sqlite", New: func(tb testing.TB) Database {
			tb.Helper()
			return Database{Dir: tb.TempDir()}
		}},
		{Name: "postgres", New: func(tb testing.TB) Database {
			tb.Helper()
			return Database{URL: NewPostgres(tb), Dir: tb.TempDir()}
		}},
	}
}
