package store_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Statements that do not go through GORM do not go through the wall either, so they live in few files,
// which are worth a second look when they change.
func TestSources_StatementsPastTheWall(t *testing.T) {
	t.Parallel()
	allowed := []string{
		"byhand.go",       // what GORM cannot compose, for one account
		"group_sqlite.go", // savepoints
		"prepared_sqlite.go",
		// what workers do for all accounts, see TestCrossing
		"lane_byhand.go", "lane_sqlite.go", "delivery_settle_postgres.go", "delivery_settle_sqlite.go",
		"event_publish_postgres.go", "event_publish_sqlite.go",
		"rate.go",                                    // leases, which belong to nobody
		"page_decode_pg.go", "page_decode_sqlite.go", // pages, composed within the wall
		"store.go", "migrate.go", // SELECT 1, and goose's table
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			method, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || isOther(method.X) {
				return true
			}
			switch method.Sel.Name {
			case "Query", "QueryRow", "Exec", "QueryContext", "QueryRowContext", "ExecContext", "SendBatch", "CopyFrom", "Acquire":
				if !slices.Contains(allowed, name) {
					t.Errorf("%s: %s", name, method.Sel.Name)
				}
			case "Raw", "Or", "Save", "Preload", "Joins", "Unscoped", "Association", "FirstOrCreate":
				t.Errorf("%s: %s", name, method.Sel.Name)
			}
			return true
		})
	}
}

// isOther reports whether x is what has methods of the same names: GORM's registry of callbacks, or cmp.
func isOther(x ast.Expr) bool {
	id, ok := x.(*ast.Ident)
	return ok && (id.Name == "on" || id.Name == "cmp")
}
