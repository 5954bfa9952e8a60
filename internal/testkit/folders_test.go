package testkit_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/pombal-api/pombal/internal/testkit"
)

func TestTemplateFolder_PreparesOnceAndCopies(t *testing.T) {
	t.Parallel()
	times := 0
	prepare := func(dir string) error {
		times++
		return errors.Join(os.WriteFile(filepath.Join(dir, "a.db"), []byte("a"), 0o600), os.WriteFile(filepath.Join(dir, "b.db"), nil, 0o600))
	}
	for range 2 {
		dir := testkit.TemplateFolder(t, t.Name(), prepare)
		a, err := os.ReadFile(filepath.Join(dir, "a.db"))
		if err != nil || string(a) != "a" {
			t.Errorf("the copy has %q, %v", a, err)
		}
		if _, err = os.Stat(filepath.Join(dir, "b.db")); err != nil {
			t.Error(err)
		}
		// What one test does to its folder is not in the next.
		if err = os.WriteFile(filepath.Join(dir, "a.db"), []byte("changed"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if times != 1 {
		t.Errorf("prepared %d times", times)
	}
}
