// Package archtest holds the rules of the layout: who may import what, and how long a
// file, a function and a wait may be. It consists of tests only.
package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/pombal-api/pombal"

// pkg is what go list says of a package of this module.
type pkg struct {
	// ImportPath is the full path.
	ImportPath string
	// Imports are the direct ones, without those of tests.
	Imports []string
	// Deps are the direct and the indirect ones.
	Deps []string
}

// name returns the path within the module, "internal/store".
func (p pkg) name() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
}

// packages lists the module's packages. Errors within a package are the compiler's to
// report, not ours.
func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=ImportPath,Imports,Deps", module+"/...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var list []pkg
	decoder := json.NewDecoder(bytes.NewReader(out))
	for {
		var p pkg
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	// A rule about nothing would pass for ever.
	if !slices.ContainsFunc(list, func(p pkg) bool { return p.name() == "internal/domain" }) {
		t.Fatalf("go list found no internal/domain among %d packages", len(list))
	}
	return list
}

// isStandard tells a package of the standard library: its first element has no dot.
func isStandard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}

// within tells whether path is root or below it.
func within(path, root string) bool {
	return path == root || strings.HasPrefix(path, root+"/")
}

func withinAny(path string, roots []string) bool {
	return slices.ContainsFunc(roots, func(root string) bool { return within(path, root) })
}

func TestStandardLibraryOnly(t *testing.T) {
	t.Parallel()
	reasons := map[string]string{
		"internal/domain": "the vocabulary must outlive every library and be readable without them",
		"pkg/api":         "whoever imports the SDK gets no dependency with it",
	}
	for _, p := range packages(t) {
		reason, ok := reasons[p.name()]
		if !ok {
			continue
		}
		for _, dep := range p.Deps {
			if !isStandard(dep) {
				t.Errorf("%s depends on %s: %s", p.name(), dep, reason)
			}
		}
	}
}

// siblings says which packages of the module a package below internal/ may import
// besides internal/domain. What is not listed may import no other.
func siblings() map[string][]string {
	return map[string][]string{
		"internal/app":       {"internal", "migrations", "pkg/api", ""},
		"internal/httpapi":   {"pkg/api", ""},      // the wire types; the embedded openapi.yaml
		"internal/evolution": {"internal/httpapi"}, // its typed Echo adapter
		"internal/store":     {"migrations"},
		"internal/dashboard": {"pkg/api"},
		"internal/testkit":   {"internal", "migrations", "pkg/api", ""}, // it starts whole servers
	}
}

func TestSiblingsDoNotImportEachOther(t *testing.T) {
	t.Parallel()
	allowed := siblings()
	for _, p := range packages(t) {
		if !within(p.name(), "internal") {
			continue
		}
		root := rootOf(p.name())
		for _, path := range p.Imports {
			if !within(path, module) {
				continue
			}
			target := pkg{ImportPath: path}.name()
			ok := target == "internal/domain" || rootOf(target) == root || slices.ContainsFunc(allowed[root], func(a string) bool {
				return target == a || (a != "" && within(target, a))
			})
			if !ok {
				t.Errorf("%s imports %s: only internal/app knows its siblings; others declare a small interface "+
					"of domain types for what they use", p.name(), target)
			}
			if within(target, "internal/testkit") && !within(root, "internal/testkit") {
				t.Errorf("%s imports %s: only tests may", p.name(), target)
			}
		}
	}
}

// rootOf returns "internal/store" for "internal/store/pages".
func rootOf(name string) string {
	parts := strings.Split(name, "/")
	return strings.Join(parts[:min(2, len(parts))], "/")
}

func TestLibrariesStayInTheirPackage(t *testing.T) {
	t.Parallel()
	rules := []struct {
		library string
		homes   []string
		reason  string
	}{
		{"gorm.io", []string{"internal/store"}, "only the store knows SQL, and only it has the guard of the account wall"},
		{"github.com/libtnb/sqlite", []string{"internal/store"}, "only the store knows SQL"},
		{"modernc.org/sqlite", []string{"internal/store", "internal/whatsapp", "bench"}, "only the store knows SQL"},
		{"github.com/jackc/pgx", []string{"internal/store", "internal/whatsapp", "internal/wake", "internal/testkit", "internal/app", "bench"}, "only the store knows SQL; whatsapp opens the library's own schema, wake listens, app opens the pool"},
		{"github.com/pressly/goose", []string{"internal/store", "migrations"}, "the store owns the schema"},
		{"database/sql", []string{"internal/store", "internal/whatsapp", "internal/app", "bench"}, "only the store knows SQL"},
		{"github.com/golang-jwt/jwt", []string{"internal/auth"}, "one place decides which tokens are good"},
		{"github.com/labstack/echo", []string{"internal/httpapi", "internal/evolution", "internal/app"}, "handlers are ordinary functions behind one adapter; app only mounts the routes"},
		{"github.com/go-playground/validator", []string{"internal/httpapi", "internal/evolution"}, "requests are validated where they are read"},
		{"github.com/tink-crypto", []string{"internal/seal"}, "one place knows how secrets are sealed"},
		{"go.mau.fi", []string{"internal/whatsapp", "internal/fakewa", "bench"}, "sessions know no protocol"},
		{"github.com/alecthomas/kong", []string{"cmd/pombal"}, "the command line is the binary's"},
		{"github.com/getkin/kin-openapi", []string{"internal/testkit"}, "the document is held against answers in tests, not in production"},
		{"github.com/santhosh-tekuri/jsonschema", []string{"internal/testkit"}, "the document is held against answers in tests, not in production"},
		{"testing", []string{"internal/testkit", "internal/fakewa", "bench"}, "production code does not link the test framework"},
	}
	for _, p := range packages(t) {
		for _, rule := range rules {
			for _, path := range p.Imports {
				if within(path, rule.library) && !withinAny(p.name(), rule.homes) {
					t.Errorf("%s imports %s: %s", p.name(), path, rule.reason)
				}
			}
		}
	}
}

func TestOnlyTheEdgeKnowsHTTP(t *testing.T) {
	t.Parallel()
	inner := []string{"internal/domain", "internal/store", "internal/auth", "internal/session", "internal/wake", "internal/seal", "internal/ratelimit"}
	for _, p := range packages(t) {
		if withinAny(p.name(), inner) && slices.Contains(p.Imports, "net/http") {
			t.Errorf("%s imports net/http: statuses and requests end in internal/httpapi; say it with a domain.Error", p.name())
		}
	}
}

func TestTheBinaryHasNoTestCode(t *testing.T) {
	t.Parallel()
	forbidden := map[string]string{
		module + "/internal/testkit":            "it is for tests",
		"testing":                               "it is for tests",
		"github.com/getkin/kin-openapi":         "the contract is checked in tests",
		"github.com/santhosh-tekuri/jsonschema": "the contract is checked in tests",
		"github.com/google/go-cmp":              "it panics on purpose",
		"pgregory.net/rapid":                    "it is for tests",
		"go.uber.org/goleak":                    "it is for tests",
		"github.com/mattn/go-sqlite3":           "the binary is built without cgo",
		"github.com/lib/pq":                     "there is one PostgreSQL driver, pgx",
	}
	for _, p := range packages(t) {
		if !within(p.name(), "cmd/pombal") {
			continue
		}
		for _, dep := range p.Deps {
			for root, reason := range forbidden {
				if within(dep, root) {
					t.Errorf("%s links %s: %s", p.name(), dep, reason)
				}
			}
		}
	}
}
