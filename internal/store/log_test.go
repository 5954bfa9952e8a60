package store

import (
	"bytes"
	"context"
	"database/sql"
	"log/slog"
	"strings"
	"testing"
	"time"

	"gorm.io/gorm/logger"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/testkit"
)

// A slow statement is logged as text with parameters, never with values, which are names and phones.
func TestLog_NoValues(t *testing.T) {
	t.Parallel()
	database := testkit.Engines()[0].New(t)
	var out bytes.Buffer
	s, err := Open(t.Context(), Config{DataDir: database.Dir, Log: slog.New(slog.NewJSONHandler(&out, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if err = s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Every statement of this store takes long.
	old := slowLog{statementLog{s.cfg.Log}}
	s.writer.Logger, s.reader.Logger = old, old
	account, _ := addAccount(t, s, "Segredo")
	bound, err := s.Account(account)
	if err != nil {
		t.Fatal(err)
	}
	if err = bound.SetInstanceStates(t.Context(), []domain.InstanceState{{ID: account, Phone: new("5511987654321")}}); err != nil {
		t.Fatal(err)
	}
	for _, leak := range []string{"Segredo", "segredo", "5511987654321", account.String()} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("the log holds %q:\n%s", leak, out.String())
		}
	}
	if !strings.Contains(out.String(), `"slow statement"`) || !strings.Contains(out.String(), "INSERT INTO `instances`") {
		t.Errorf("slow statements were not logged:\n%s", out.String())
	}
}

// slowLog pretends that everything began a second ago.
type slowLog struct{ statementLog }

func (l slowLog) LogMode(logger.LogLevel) logger.Interface { return l }

func (l slowLog) Trace(ctx context.Context, begin time.Time, statement func() (string, int64), err error) {
	l.statementLog.Trace(ctx, begin.Add(-time.Second), statement, err)
}

// Column types read what they write, from both engines' forms, and refuse anything else.
func TestValues_Scan(t *testing.T) {
	t.Parallel()
	id := domain.ID{1, 2, 3, 15: 9}
	moment := time.Date(2026, 1, 2, 3, 4, 5, 6_000_000, time.UTC)
	for _, c := range []struct {
		into sql.Scanner
		src  any
		ok   bool
	}{
		{new(uid), nil, true}, {new(uid), id[:], true}, {new(uid), id.String(), true},
		{new(uid), id[:15], false}, {new(uid), "x", false}, {new(uid), 1, false},
		{new(millis), nil, true}, {new(millis), moment, true}, {new(millis), moment.UnixMilli(), true}, {new(millis), "2026", false},
		{new(optional), nil, true}, {new(optional), "x", true}, {new(optional), []byte("x"), true}, {new(optional), 1, false},
		{new(blob), nil, true}, {new(blob), []byte("x"), true}, {new(blob), "x", false},
		{new(uidList), nil, true}, {new(uidList), []byte{}, true}, {new(uidList), append(id[:], id[:]...), true},
		{new(uidList), id[:15], false}, {new(uidList), "x", false},
		{new(header), nil, true}, {new(header), `{"a":"b"}`, true}, {new(header), []byte(`{"a":"b"}`), true},
		{new(header), "{", false}, {new(header), 1, false},
	} {
		if err := c.into.Scan(c.src); (err == nil) != c.ok {
			t.Errorf("%T from %T %v: %v", c.into, c.src, c.src, err)
		}
	}
	var u uid
	var m millis
	if u.Scan(id.String()) != nil || u != uid(id) || m.Scan(moment) != nil || !m.time().Equal(moment) {
		t.Errorf("read %v and %v", u, m)
	}
}
