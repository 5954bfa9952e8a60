package whatsapp

import (
	"context"
	"fmt"
	"log/slog"

	"go.mau.fi/libsignal/logger"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waCompanionReg"
	"go.mau.fi/whatsmeow/store"
	waLog "go.mau.fi/whatsmeow/util/log"
)

// deviceName is what the phone's list of linked devices shows.
const deviceName = "Pombal"

// init sets what the libraries keep per process, and read without a lock: the name of the device, and the
// logger of the Signal library, which would otherwise be made on first use and write to standard output.
func init() {
	store.SetOSInfo(deviceName, [3]uint32{1, 0, 0})
	store.DeviceProps.PlatformType = waCompanionReg.DeviceProps_DESKTOP.Enum()
	l := logger.Loggable(silence{})
	logger.Setup(&l)
}

// silence is the logger of the Signal library: its Debug receives keys, and whatsmeow logs what fails.
type silence struct{}

// Debug drops the record.
func (silence) Debug(string, string) {}

// Info drops the record.
func (silence) Info(string, string) {}

// Warning drops the record.
func (silence) Warning(string, string) {}

// Error drops the record.
func (silence) Error(string, string) {}

// Configure does nothing.
func (silence) Configure(string) {}

// libraryLog is the logger of whatsmeow. Debug is dropped: it receives every stanza. The others are one level
// lower than the library thinks, since what it calls an error, such as a cut connection, is everyday business.
type libraryLog struct {
	log    *slog.Logger
	module string
}

var _ waLog.Logger = libraryLog{}

// Debugf drops the record.
func (libraryLog) Debugf(string, ...any) {}

// Infof logs at Debug.
func (l libraryLog) Infof(msg string, args ...any) { l.write(slog.LevelDebug, msg, args) }

// Warnf logs at Debug.
func (l libraryLog) Warnf(msg string, args ...any) { l.write(slog.LevelDebug, msg, args) }

// Errorf logs at Info.
func (l libraryLog) Errorf(msg string, args ...any) { l.write(slog.LevelInfo, msg, args) }

// Sub returns the logger of a part of the library.
func (l libraryLog) Sub(module string) waLog.Logger {
	return libraryLog{log: l.log, module: l.module + "/" + module}
}

func (l libraryLog) write(level slog.Level, msg string, args []any) {
	ctx := context.TODO() //nolint:forbidigo // the library's interface has none
	if !l.log.Enabled(ctx, level) {
		return
	}
	for i, arg := range args {
		args[i] = withoutContents(arg)
	}
	l.log.Log(ctx, level, l.module+": "+clip(fmt.Sprintf(msg, args...)))
}

// withoutContents replaces a stanza, which may hold messages and keys, by its name.
func withoutContents(arg any) any {
	switch n := arg.(type) {
	case *waBinary.Node:
		return "<" + n.Tag + ">"
	case waBinary.Node:
		return "<" + n.Tag + ">"
	case []byte:
		return fmt.Sprintf("%d bytes", len(n))
	}
	return arg
}

// clip keeps records short.
func clip(s string) string {
	const most = 500
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
