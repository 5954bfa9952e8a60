package whatsapp_test

import (
	"testing"
	"time"

	"go.mau.fi/whatsmeow"
	"go.uber.org/goleak"
)

// seed is the one seed of all tests: what clients trust is a variable of the process.
const seed = "a seed for tests only"

func TestMain(m *testing.M) {
	whatsmeow.KeepAliveIntervalMin = 400 * time.Millisecond
	whatsmeow.KeepAliveIntervalMax = 600 * time.Millisecond
	whatsmeow.KeepAliveResponseDeadline = time.Second
	goleak.VerifyTestMain(m)
}
