package fakewa_test

import (
	"testing"
	"time"

	"go.mau.fi/libsignal/logger"
	"go.mau.fi/whatsmeow"
	"go.uber.org/goleak"

	"github.com/pombal-api/pombal/internal/fakewa"
)

// seed is the one seed of all tests: what clients trust is a variable of the process.
const seed = "a seed for tests only"

func TestMain(m *testing.M) {
	whatsmeow.WACertPubKey = fakewa.RootKey([]byte(seed))
	whatsmeow.KeepAliveIntervalMin = 400 * time.Millisecond
	whatsmeow.KeepAliveIntervalMax = 600 * time.Millisecond
	whatsmeow.KeepAliveResponseDeadline = 2 * time.Second
	whatsmeow.KeepAliveMaxFailTime = 3 * time.Second
	quiet := logger.Loggable(silence{})
	logger.Setup(&quiet)
	goleak.VerifyTestMain(m,
		// The client waits a minute for more history, whatever is done to it.
		goleak.IgnoreAnyFunction("go.mau.fi/whatsmeow.(*Client).handleHistorySyncNotificationLoop"),
		// It loses its reader when a frame arrives while it disconnects.
		goleak.IgnoreTopFunction("go.mau.fi/whatsmeow/socket.(*FrameSocket).frameComplete"))
}

// silence replaces libsignal's logger, which is made on first use without a lock.
type silence struct{}

func (silence) Debug(string, string)   {}
func (silence) Info(string, string)    {}
func (silence) Warning(string, string) {}
func (silence) Error(string, string)   {}
func (silence) Configure(string)       {}
