package archtest

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Limits of length, in lines. The aim is a median of 12 for functions, and 450 for files.
const (
	maxFile     = 600
	maxFunction = 80
)

// source is a file of the module that people wrote.
type source struct {
	path  string // from the module's root
	lines int
	file  *ast.File // nil if it is not Go
	fset  *token.FileSet
}

func (s source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

// sources reads every Go and JavaScript file except generated ones.
func sources(t *testing.T) []source {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	var list []source
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			hidden := strings.HasPrefix(entry.Name(), ".") && path != root
			if hidden || entry.Name() == "node_modules" || entry.Name() == "testdata" {
				return filepath.SkipDir
			}
			return nil
		}
		switch filepath.Ext(path) {
		case ".go", ".js", ".mjs":
		default:
			return nil
		}
		s, generated, err := readSource(root, path)
		if err == nil && !generated {
			list = append(list, s)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func readSource(root, path string) (s source, generated bool, err error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return s, false, err
	}
	s = source{path: strings.TrimPrefix(path, root+"/"), lines: bytes.Count(raw, []byte("\n"))}
	if filepath.Ext(path) != ".go" {
		return s, false, nil
	}
	s.fset = token.NewFileSet()
	s.file, err = parser.ParseFile(s.fset, path, raw, parser.ParseComments)
	return s, err == nil && ast.IsGenerated(s.file), err
}

func TestFilesAreShort(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		if s.lines > maxFile {
			t.Errorf("%s has %d lines: split what is over %d by concept", s.path, s.lines, maxFile)
		}
	}
}

func TestFunctionsAreShort(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		if s.file == nil || s.isTest() {
			continue
		}
		for _, decl := range s.file.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || fn.Body == nil {
				continue
			}
			lines := s.fset.Position(fn.End()).Line - s.fset.Position(fn.Pos()).Line + 1
			if lines > maxFunction {
				t.Errorf("%s: %s has %d lines: name its steps, the limit is %d", s.path, fn.Name.Name, lines, maxFunction)
			}
		}
	}
}

// TestTestsDoNotSleep allows time.Sleep only where time is fake. A sleep is too short on
// a busy machine and too long on every other; wait for the condition instead.
func TestTestsDoNotSleep(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		if s.file == nil || !s.isTest() {
			continue
		}
		fake := calls(s.file, "synctest", "Test")
		for _, sleep := range calls(s.file, "time", "Sleep") {
			if !inside(sleep, fake) {
				t.Errorf("%s:%d sleeps: wait for the condition, or use testing/synctest", s.path, s.fset.Position(sleep.Pos()).Line)
			}
		}
	}
}

// calls returns the calls of a package's function.
func calls(file *ast.File, pkg, name string) []*ast.CallExpr {
	var found []*ast.CallExpr
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		selector, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := selector.X.(*ast.Ident); ok && x.Name == pkg && selector.Sel.Name == name {
			found = append(found, call)
		}
		return true
	})
	return found
}

func inside(call *ast.CallExpr, outer []*ast.CallExpr) bool {
	for _, o := range outer {
		if o.Pos() <= call.Pos() && call.End() <= o.End() {
			return true
		}
	}
	return false
}
