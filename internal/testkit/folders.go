package testkit

import (
	"errors"
	"io/fs"
	"os"
	"sync"
	"testing"
	"testing/fstest"
)

// templateFolders are what was prepared in this process, by name.
var templateFolders sync.Map

// TemplateFolder returns a folder of the test's own that starts as a copy of what prepare put into an empty one.
// prepare runs once for each name in a process. It must have closed all files.
func TemplateFolder(tb testing.TB, name string, prepare func(dir string) error) (dir string) {
	tb.Helper()
	once, _ := templateFolders.LoadOrStore(name, sync.OnceValues(func() (fstest.MapFS, error) { return prepared(prepare) }))
	files, err := once.(func() (fstest.MapFS, error))() //nolint:forcetypeassert // the map has no others
	dir = tb.TempDir()
	if err == nil {
		err = os.CopyFS(dir, files)
	}
	if err != nil {
		tb.Fatalf("prepare the template folder %q: %v", name, err)
	}
	return dir
}

// prepared returns the files that prepare makes in an empty folder.
func prepared(prepare func(dir string) error) (fstest.MapFS, error) {
	dir, err := os.MkdirTemp("", "pombal-template-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err = prepare(dir); err != nil {
		return nil, err
	}
	root := os.DirFS(dir)
	names, err := fs.Glob(root, "*")
	files := fstest.MapFS{}
	for _, name := range names {
		data, failed := fs.ReadFile(root, name)
		files[name] = &fstest.MapFile{Data: data, Mode: 0o600}
		err = errors.Join(err, failed)
	}
	return files, err
}
