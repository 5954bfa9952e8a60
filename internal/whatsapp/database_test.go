package whatsapp_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/pombal-api/pombal/internal/testkit"
	"github.com/pombal-api/pombal/internal/whatsapp"
)

// TestNodesOpenAtOnce lets nodes find an empty database, in which another program has the library's tables.
func TestNodesOpenAtOnce(t *testing.T) {
	t.Parallel()
	url := testkit.NewPostgres(t)
	first, err := whatsapp.Open(t.Context(), whatsapp.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{"ALTER SCHEMA whatsmeow RENAME TO other"} {
		if _, err := first.DB().ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	var nodes sync.WaitGroup
	for range 3 {
		nodes.Go(func() {
			d, err := whatsapp.Open(t.Context(), whatsapp.Config{URL: url, MaxConns: 1})
			if err != nil {
				t.Error(err)
				return
			}
			wantDevices(t, d, 0)
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	nodes.Wait()
}

func TestOpenFails(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]whatsapp.Config{
		"no folder":    {DataDir: file},
		"no URL":       {URL: "postgres://%zz"},
		"no server":    {URL: "postgres://nobody@127.0.0.1:1/none"},
		"no database":  {URL: "port=1 host=127.0.0.1 dbname=none pool_max_conns=3"},
		"not a folder": {DataDir: filepath.Join(file, "below")},
	} {
		if d, err := whatsapp.Open(t.Context(), cfg); err == nil {
			t.Errorf("%s: opened", name)
			_ = d.Close()
		}
	}
	d := (&host{addr: "127.0.0.1:1"}).newSQLiteDriver(t) // the process trusts this sandbox
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := whatsapp.Open(t.Context(), whatsapp.Config{DataDir: t.TempDir()}, whatsapp.Sandbox("", [32]byte{})); err == nil {
		t.Error("the process trusts two sandboxes")
	}
}

func TestTheFileIsPrivate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d, err := whatsapp.Open(t.Context(), whatsapp.Config{DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	files, err := filepath.Glob(filepath.Join(dir, "whatsmeow.db*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("files: %v, %v", files, err)
	}
	for _, file := range files {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", file, info.Mode(), err)
		}
	}
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1"} {
		var got string
		if err := d.DB().QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %s, %v", pragma, got, err)
		}
	}
}
