package whatsapp

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"go.mau.fi/libsignal/logger"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waCompanionReg"
	"go.mau.fi/whatsmeow/store"
	waLog "go.mau.fi/whatsmeow/util/log"
)

// libraryOnce guards what the libraries keep per process.
//
//nolint:gochecknoglobals // it guards variables of the libraries
var libraryOnce sync.Once

// deviceName is what the phone's list of linked devices shows.
const deviceName = "Pombal"

// prepareLibrary sets what belongs to the process: the name of the device, and the logger of the Signal
// library, which would otherwise be made on first use without a lock, and write to standard output.
func prepareLibrary(log *slog.Logger) {
	libraryOnce.Do(func() {
		store.SetOSInfo(deviceName, [3]uint32{1, 0, 0})
		store.DeviceProps.PlatformType = waCompanionReg.DeviceProps_DESKTOP.Enum()
		l := logger.Loggable(signalLog{log})
		logger.Setup(&l)
	})
}

// signalLog is the logger of the Signal library. Debug and Info are dropped: Debug receives keys.
type signalLog struct{ log *slog.Logger }

// Debug drops the record.
func (signalLog) Debug(string, string) {}

// Info drops the record.
func (signalLog) Info(string, string) {}

// Warning keeps the record for who debugs.
func (l signalLog) Warning(caller, msg string) {
	l.log.Debug("signal: "+clip(msg), slog.String("caller", caller))
}

// Error keeps the record for who debugs: what fails to decrypt is asked for again.
func (l signalLog) Error(caller, msg string) {
	l.log.Debug("signal: "+clip(msg), slog.String("caller", caller))
}

// Configure does nothing.
func (signalLog) Configure(string) {}

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
