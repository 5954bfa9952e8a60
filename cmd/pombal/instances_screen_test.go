package main

import (
	"fmt"
	"strings"
	"testing"

	"rsc.io/qr"

	"github.com/pombal-api/pombal/pkg/api"
)

// TestDrawQR reads the drawing as a phone would: each character is two modules, dark where it has ink.
func TestDrawQR(t *testing.T) {
	t.Parallel()
	const text = "https://wa.me/settings/linked_devices#2@abcdefghijklmnopqrstuvwxyz,0123456789"
	var b strings.Builder
	if err := drawQR(&b, text); err != nil {
		t.Fatal(err)
	}
	code, err := qr.Encode(text, qr.L)
	if err != nil {
		t.Fatal(err)
	}
	rows := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	if want := (code.Size + 2*quietZone + 1) / 2; len(rows) != want {
		t.Fatalf("%d rows, want %d", len(rows), want)
	}
	for i, row := range rows {
		cells := []rune(strings.TrimSuffix(strings.TrimPrefix(row, darkLight), asBefore))
		if len(cells) != code.Size+2*quietZone {
			t.Fatalf("row %d has %d characters: %q", i, len(cells), row)
		}
		for j, cell := range cells {
			x, y := j-quietZone, 2*i-quietZone
			upper, lower := strings.ContainsRune("█▀", cell), strings.ContainsRune("█▄", cell)
			if upper != code.Black(x, y) || lower != code.Black(x, y+1) {
				t.Fatalf("%q is at %d, %d", cell, x, y)
			}
		}
	}
	if err = drawQR(&b, strings.Repeat("x", 10_000)); err == nil {
		t.Error("a code too large has been drawn")
	}
}

// TestScreenDrawsOver holds that each drawing begins where the last one did, so that one code only is seen.
func TestScreenDrawsOver(t *testing.T) {
	t.Parallel()
	var out, hints strings.Builder
	v := &screen{streams: streams{&out, &hints}, terminal: true}
	rows := 0
	for i, p := range []pairingState{
		{QRText: new("one")}, {QRText: new("another, longer one, which needs a larger drawing than the first")},
		{PairingCode: new("ABCD-EFGH")}, {}, {QRText: new("one")}, {Reason: &api.StatusReason{}},
	} {
		out.Reset()
		if err := v.state(&p); err != nil {
			t.Fatal(err)
		}
		drawn, erased := strings.CutPrefix(out.String(), fmt.Sprintf("\x1b[%dA\x1b[J", rows))
		if erased != (i > 0) {
			t.Errorf("drawing %d after %d rows begins with %.20q", i, rows, out.String())
		}
		rows = strings.Count(drawn, "\n")
		if (p.text() != "") != (rows > 1) || strings.Contains(drawn, "\x1b[J") {
			t.Errorf("drawing %d has %d rows: %q", i, rows, drawn)
		}
		out.Reset()
		if err := v.state(&p); err != nil || out.Len() > 0 {
			t.Errorf("the same once more: %q (%v)", out.String(), err)
		}
	}
	if got := strings.Count(hints.String(), "\n"); got != 1 {
		t.Errorf("%d hints", got)
	}
	out.Reset()
	in, report := &api.Instance{Name: "Sales"}, &api.InstanceStatusReport{Phone: new("123")}
	if err := v.state(&pairingState{QRText: new("two")}); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if err := v.connected(in, report); err != nil || !strings.HasPrefix(out.String(), "\x1b[") || !strings.HasSuffix(out.String(), "JSales is connected as 123.\n") {
		t.Errorf("at last: %q (%v)", out.String(), err)
	}
	if isTerminal(&out) {
		t.Error("a buffer is no terminal")
	}
}
