package testkit_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pombal-api/pombal/internal/testkit"
)

func connect(tb testing.TB, url string) *pgx.Conn {
	tb.Helper()
	conn, err := pgx.Connect(tb.Context(), url)
	if err != nil {
		tb.Fatalf("connect: %v", err)
	}
	tb.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func TestNewPostgres(t *testing.T) {
	url := testkit.NewPostgres(t)
	var n int
	if err := connect(t, url).QueryRow(t.Context(), "SELECT count(*) FROM pg_class WHERE relname='x'").Scan(&n); err != nil {
		t.Fatal(err)
	}
}

func prepareTables(url string) error {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	for i := range 20 {
		if _, err := conn.Exec(ctx, "CREATE TABLE t"+string(rune('a'+i))+" (id uuid primary key, a text unique, b timestamptz, c jsonb)"); err != nil {
			return err
		}
	}
	return conn.Close(ctx)
}

func BenchmarkNewPostgres(b *testing.B) {
	for b.Loop() {
		b.Run("x", func(b *testing.B) {testkit.NewPostgres(b)})
	}
}

func BenchmarkTemplatePostgres(b *testing.B) {
	for range b.N {
		b.Run("y", func(b *testing.B) {testkit.TemplatePostgres(b, "bench", prepareTables)})
	}
}
