// Package js_test runs the tests of the JavaScript SDK with Node, so that `go test ./...` covers it.
package js_test

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// devLifetime ends a server that does not become ready, or a test that hangs, before go test's own limit.
const devLifetime = 3 * time.Minute

// TestSDK runs the SDK's own tests, which bring their servers with them.
func TestSDK(t *testing.T) {
	t.Parallel()
	var files []string
	for _, name := range testFiles(t) {
		if filepath.Base(name) != "live.test.js" {
			files = append(files, name)
		}
	}
	runNode(t, os.Environ(), files...)
}

// TestSDKAgainstDev runs the snippets of the documentation and the SDK's calls against `pombal dev`.
// go test does not see which sources that server is built from: pass -count=1 after changing them.
func TestSDKAgainstDev(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("builds and starts the server; run without -short")
	}
	nodePath(t) // before the build, which takes longer
	ready := startDev(t)
	runNode(t, append(os.Environ(), "POMBAL_TEST_DEV="+ready), filepath.Join("test", "live.test.js"))
}

// testFiles returns every test file of the SDK, so that a new one cannot be forgotten.
func testFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("test", "*.test.js"))
	if err != nil || len(files) == 0 {
		t.Fatalf("found %d test files: %v", len(files), err)
	}
	// Reading them tells go test to run again, rather than to answer from its cache, when one changes.
	sources, err := filepath.Glob("*.js")
	if err != nil || len(sources) == 0 {
		t.Fatalf("found %d sources: %v", len(sources), err)
	}
	sources = append(sources, "README.md", "package.json", "test/helpers.js", "test/seedpage.js")
	for _, name := range append(sources, files...) {
		if _, err := os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// nodePath returns the path of node. CI must have it; elsewhere the test is skipped without.
func nodePath(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("node")
	switch {
	case err != nil && os.Getenv("CI") != "":
		t.Fatal("CI must test the JavaScript SDK: install Node 18 or newer")
	case err != nil:
		t.Skip("install Node 18 or newer to test the JavaScript SDK")
	}
	return path
}

func runNode(t *testing.T, env []string, files ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), nodePath(t), append([]string{"--test"}, files...)...)
	cmd.Env = env
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("node --test %v: %v\n%s", files, err, out)
	}
}

// startDev builds the server, starts it on an empty data directory and a free port, and returns the
// line that it prints when it is ready. The server ends with the test.
func startDev(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "pombal")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../../cmd/pombal")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), devLifetime)
	t.Cleanup(cancel)
	dev := exec.CommandContext(ctx, binary, "dev", "--addr", "127.0.0.1:0", "--data-dir", t.TempDir(), "--json")
	dev.Cancel = func() error { return dev.Process.Signal(syscall.SIGTERM) }
	dev.WaitDelay = 10 * time.Second
	dev.Stderr = t.Output()
	stdout, err := dev.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err = dev.Start(); err != nil {
		t.Fatal(err)
	}
	// The test's context ends before this runs, and that stops the server.
	t.Cleanup(func() { _ = dev.Wait() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("pombal dev ended without saying that it is ready: %v", err)
	}
	return line
}
