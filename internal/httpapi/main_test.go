package httpapi_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/pombal-api/pombal/internal/testkit/apitest"
)

// TestMain holds the tests of this package, together, to two promises: no goroutine is left behind, and
// everything that openapi.yaml documents was seen.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 && everythingRan() {
		code = report(uncovered(), leaks())
	}
	os.Exit(code)
}

// everythingRan tells whether no flag has left tests out.
func everythingRan() bool {
	for _, name := range []string{"test.run", "test.skip", "test.list", "test.fuzz"} {
		if f := flag.Lookup(name); f != nil && f.Value.String() != "" {
			return false
		}
	}
	return !testing.Short()
}

func report(problems ...[]string) int {
	code := 0
	for _, list := range problems {
		for _, problem := range list {
			fmt.Fprintln(os.Stderr, problem)
			code = 1
		}
	}
	return code
}

func leaks() []string {
	if err := goleak.Find(); err != nil {
		return []string{"goroutines are left behind: " + err.Error()}
	}
	return nil
}

// seenElsewhere says why no test of this package meets an answer that is documented.
func seenElsewhere(what string) bool {
	// The database must break for it: internal/app has the tests that break it.
	return strings.HasSuffix(what, " 503")
}

func uncovered() (problems []string) {
	contract, err := apitest.Contract()
	if err != nil {
		return []string{err.Error()}
	}
	for _, what := range append(contract.Uncovered2xx(), contract.UncoveredErrors()...) {
		if !seenElsewhere(what) {
			problems = append(problems, "no test has seen the documented answer "+what)
		}
	}
	return problems
}
