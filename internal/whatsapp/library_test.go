package whatsapp

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	waBinary "go.mau.fi/whatsmeow/binary"
)

func TestTheLibrarysLogHasNoSecrets(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := libraryLog{log: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})), module: "whatsmeow"}
	stanza := waBinary.Node{Tag: "message", Content: []byte("s3cret")}
	log.Debugf("s3cret %s", "s3cret")
	log.Infof("Received %s", &stanza)
	log.Sub("Recv").Warnf("Received %s", stanza)
	log.Errorf("Received %s", []byte("s3cret"))
	log.Errorf("%s", strings.Repeat("x", 10_000))
	if s := out.String(); strings.Contains(s, "s3cret") || strings.Count(s, "\n") != 4 || len(s) > 2000 {
		t.Errorf("logged: %s", s)
	}
	if s := out.String(); !strings.Contains(s, "<message>") || !strings.Contains(s, "whatsmeow/Recv") {
		t.Errorf("logged: %s", s)
	}
}
