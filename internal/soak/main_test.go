package soak

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if order := os.Getenv(orderVariable); order != "" {
		os.Exit(runNode(order))
	}
	// The tests wait more than they work.
	_ = flag.Set("test.parallel", "8")
	goleak.VerifyTestMain(m)
}

// isLong tells `make soak` from an ordinary run of the tests.
func isLong() bool { return os.Getenv("POMBAL_SOAK") != "" }

// many is how many instances a test has.
func many(short, long int) int {
	return max(6, soak(short, long)/scale)
}

// soak returns long in `make soak` and short otherwise.
func soak[T any](short, long T) T {
	if isLong() {
		return long
	}
	return short
}

// lease is how long a node is alive without renewal: session.Config's default, which is what serve has.
const lease = 15 * time.Second

// retry tries until try succeeds, and returns its last error when that takes longer than within.
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

// eventually is retry for those who cannot go on without.
func eventually(tb testing.TB, within time.Duration, try func() error) {
	tb.Helper()
	if err := retry(tb.Context(), within, try); err != nil {
		tb.Fatal(err)
	}
}

// pause waits, and reports whether ctx goes on.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
