package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"rsc.io/qr"

	"github.com/pombal-api/pombal/pkg/api"
)

// screen shows people, or programs, how a pairing goes.
type screen struct {
	streams
	json     bool
	terminal bool   // where QR codes can be drawn, and drawn over
	hinted   bool   // what to do with the code has been said
	last     string // the code that is shown
	rows     int    // how many rows the drawing has
}

func newScreen(s streams, asJSON bool) *screen {
	return &screen{streams: s, json: asJSON, terminal: !asJSON && isTerminal(s.out)}
}

// isTerminal reports whether people see what is written.
func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}

// state shows a code when it is another one than before, and how it all ended.
func (v *screen) state(p *pairingState) error {
	text := p.text()
	changed := text != v.last
	v.last = text
	switch {
	case v.json && (changed && text != "" || p.Reason != nil):
		return printJSON(v.streams, p)
	case v.json || !changed:
		return nil
	case v.terminal:
		return v.redraw(p)
	case text == "":
		return nil
	}
	if err := v.hint(p); err != nil {
		return err
	}
	_, err := fmt.Fprintln(v.out, text)
	return err
}

// hint says once what to do with the code.
func (v *screen) hint(p *pairingState) error {
	if v.hinted {
		return nil
	}
	v.hinted = true
	what := "scan this code"
	if p.PairingCode != nil {
		what = "choose \"Link with phone number instead\" and type this code"
	}
	_, err := fmt.Fprintf(v.err, "On the phone, open WhatsApp > Linked devices > Link a device, and %s.\n", what)
	return err
}

// redraw draws the code over the last one.
func (v *screen) redraw(p *pairingState) error {
	var b strings.Builder
	b.WriteString(v.erase())
	switch {
	case p.QRText != nil:
		if err := v.hint(p); err != nil {
			return err
		}
		if err := drawQR(&b, *p.QRText); err != nil {
			return err
		}
	case p.PairingCode != nil:
		if err := v.hint(p); err != nil {
			return err
		}
		fmt.Fprintf(&b, "\n    %s\n\n", *p.PairingCode)
	case p.Reason == nil:
		b.WriteString("The code is not shown any more; waiting for the connection…\n")
	}
	text := b.String()
	v.rows = strings.Count(text, "\n")
	_, err := io.WriteString(v.out, text)
	return err
}

// erase is what takes the drawing away: up to its first row, and clear what is below.
func (v *screen) erase() string {
	if v.rows == 0 {
		return ""
	}
	return fmt.Sprintf("\x1b[%dA\x1b[J", v.rows)
}

// connected ends the show.
func (v *screen) connected(in *api.Instance, r *api.InstanceStatusReport) error {
	if v.json {
		return printJSON(v.streams, pairingState{Status: r.Status, Phone: r.Phone, ProfileName: r.ProfileName})
	}
	_, err := fmt.Fprintln(v.out, v.erase()+connection(in, r))
	return err
}

// connection says as what an instance is connected.
func connection(in *api.Instance, r *api.InstanceStatusReport) string {
	text := in.Name + " is connected"
	if r.Phone != nil {
		text += " as " + *r.Phone
	}
	if r.ProfileName != nil {
		text += " (" + *r.ProfileName + ")"
	}
	return text + "."
}

// leave ends the show before the pairing has ended.
func (v *screen) leave(in *api.Instance, p *pairingState) error {
	switch {
	case v.last != "":
		return nil // it has been shown
	case v.json:
		return printJSON(v.streams, p)
	}
	_, err := fmt.Fprintf(v.out, "%s is %s; no code is needed.\n", in.Name, p.Status)
	return err
}

const (
	quietZone = 2                             // light modules around the code
	darkLight = "\x1b[38;5;16m\x1b[48;5;231m" // black on white, whatever the terminal's own colours are
	asBefore  = "\x1b[0m"
)

// drawQR draws a code with two modules, one above the other, to a character: so they are about square.
func drawQR(b *strings.Builder, text string) error {
	code, err := qr.Encode(text, qr.L) // it is read from a screen, which has no stains
	if err != nil {
		return fmt.Errorf("the QR code cannot be drawn: %w", err)
	}
	for y := -quietZone; y < code.Size+quietZone; y += 2 {
		b.WriteString(darkLight)
		for x := -quietZone; x < code.Size+quietZone; x++ {
			b.WriteRune(halves(code.Black(x, y), code.Black(x, y+1)))
		}
		b.WriteString(asBefore + "\n")
	}
	return nil
}

// halves is the character with these halves dark.
func halves(upper, lower bool) rune {
	switch {
	case upper && lower:
		return '█'
	case upper:
		return '▀'
	case lower:
		return '▄'
	}
	return ' '
}
