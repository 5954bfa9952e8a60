package testkit_test

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pombal-api/pombal/internal/testkit"
)

// connect opens a connection that the test's end closes.
func connect(tb testing.TB, url string) *pgx.Conn {
	tb.Helper()
	conn, err := pgx.Connect(tb.Context(), url)
	if err != nil {
		tb.Fatalf("connect: %v", err)
	}
	tb.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// scalar returns the single value of a query.
func scalar[T any](tb testing.TB, conn *pgx.Conn, sql string, args ...any) T {
	tb.Helper()
	var v T
	if err := conn.QueryRow(tb.Context(), sql, args...).Scan(&v); err != nil {
		tb.Fatalf("%s: %v", sql, err)
	}
	return v
}

const countTables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"

func createTable(url string) error {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "CREATE TABLE pigeons (name text PRIMARY KEY)")
	return errors.Join(err, conn.Close(ctx))
}

func TestNewPostgres_GivesEachTestADatabaseThatEndsWithIt(t *testing.T) {
	t.Parallel()
	outer := connect(t, testkit.NewPostgres(t))
	var name string
	t.Run("inner", func(t *testing.T) {
		url := testkit.NewPostgres(t)
		if err := createTable(url); err != nil {
			t.Fatal(err)
		}
		// Still open when the database is dropped, as a leaked pool would be.
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		name = scalar[string](t, conn, "SELECT current_database()")
	})
	if n := scalar[int](t, outer, countTables); n != 0 {
		t.Errorf("the table of another test is visible")
	}
	if scalar[bool](t, outer, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name) {
		t.Errorf("the database %s outlived its test", name)
	}
}

func TestTemplatePostgres_PreparesOnceAndClones(t *testing.T) {
	t.Parallel()
	name := t.Name() + rand.Text() // the cluster may know the name of an earlier run
	var prepared atomic.Int32
	prepare := func(url string) error {
		prepared.Add(1)
		return createTable(url)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			conn := connect(t, testkit.TemplatePostgres(t, name, prepare))
			if n := scalar[int](t, conn, countTables); n != 1 {
				t.Errorf("the clone has %d tables, want 1", n)
			}
			if _, err := conn.Exec(t.Context(), "INSERT INTO pigeons VALUES ('homer')"); err != nil {
				t.Errorf("insert: %v", err)
			}
		})
	}
	wg.Wait()
	if n := prepared.Load(); n != 1 {
		t.Errorf("prepared %d times, want once", n)
	}
	last := connect(t, testkit.TemplatePostgres(t, name, prepare))
	if n := scalar[int](t, last, "SELECT count(*) FROM pigeons"); n != 0 {
		t.Errorf("the clone has %d rows of other tests", n)
	}
}

func TestNewPrivatePostgres_KeepsWhatWasCommitted(t *testing.T) {
	t.Parallel()
	server := testkit.NewPrivatePostgres(t, "max_connections = 25")
	if err := createTable(server.URL); err != nil {
		t.Fatal(err)
	}
	if got := scalar[string](t, connect(t, server.URL), "SHOW fsync"); got != "on" {
		t.Errorf("fsync is %s", got)
	}
	for name, down := range map[string]func(){"kill": server.Kill9, "stop": server.Stop} {
		down()
		if conn, err := pgx.Connect(t.Context(), server.URL); err == nil {
			_ = conn.Close(t.Context())
			t.Errorf("%s: the server still answers", name)
		}
		server.Start()
		conn := connect(t, server.URL)
		if n := scalar[int](t, conn, countTables); n != 1 {
			t.Errorf("%s: %d tables after the restart, want 1", name, n)
		}
		if got := scalar[string](t, conn, "SHOW max_connections"); got != "25" {
			t.Errorf("%s: max_connections is %s, want the setting of the test", name, got)
		}
	}
}

func TestEngines_GiveWhatTheyPromise(t *testing.T) {
	t.Parallel()
	for _, engine := range testkit.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			db := engine.New(t)
			if db.Dir == "" || (engine.Name == "postgres") != (db.URL != "") {
				t.Errorf("%+v", db)
			}
		})
	}
}
