package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	for _, kv := range os.Environ() { // what the developer's own server is told is not for these tests
		name, _, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, "POMBAL_") && !strings.HasPrefix(name, "POMBAL_TEST_") && name != "POMBAL_SOAK" {
			_ = os.Unsetenv(name)
		}
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if dir, err := buildDir(); err == nil {
			_ = os.RemoveAll(dir)
		}
		os.Exit(code)
	}))
}

// soak returns long in `make soak` and short otherwise.
func soak(short, long int) int {
	if os.Getenv("POMBAL_SOAK") != "" {
		return long
	}
	return short
}

// buildDir is where this run's binary is built.
var buildDir = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "pombal-test-cmd-") })

// buildBinary builds the program as it is shipped: static, without the race detector.
var buildBinary = sync.OnceValues(func() (string, error) {
	dir, err := buildDir()
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "pombal")
	build := exec.CommandContext(context.Background(), "go", "build", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return binary, nil
})

// binary returns the path of the program.
func binary(tb testing.TB) string {
	tb.Helper()
	path, err := buildBinary()
	if err != nil {
		tb.Fatal(err)
	}
	return path
}

// runHere carries out a command in this process and returns what it prints.
func runHere(ctx context.Context, args ...string) (stdout, stderr string, err error) {
	var out, errOut bytes.Buffer
	err = run(ctx, args, &out, &errOut)
	return out.String(), errOut.String(), err
}

// eventually tries until try succeeds, and fails with its last error when that takes longer than within.
func eventually(tb testing.TB, within time.Duration, try func() error) {
	tb.Helper()
	if err := retry(tb.Context(), within, try); err != nil {
		tb.Fatal(err)
	}
}

// retry is eventually for goroutines that are not the test's own.
func retry(ctx context.Context, within time.Duration, try func() error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(within); ; {
		err := try()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("still after %v: %w", within, err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}
