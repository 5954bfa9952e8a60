package whatsapp

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/types"

	"github.com/pombal-api/pombal/internal/domain"
)

// pairing is what a link without a device shows.
type pairing struct {
	codes []string  // the QR codes that have not been shown
	until time.Time // when the last code ends
}

// What WhatsApp is told about a device that asks for a pairing code; it refuses what it does not know.
const (
	codeClient     = whatsmeow.PairClientChrome
	codeClientName = "Chrome (Linux)"
)

var (
	errPaired  = errors.New("whatsapp: the instance is paired already")
	errPasskey = errors.New("whatsapp: the phone asks for a passkey, which is not supported")
)

// onCodes shows one QR code after the other.
func (c *connection) onCodes(codes []string) {
	l := c.link
	if l.phase != phaseDialing {
		return
	}
	l.phase = phaseCodes
	t := l.driver.times
	l.pairing.codes = codes
	l.pairing.until = time.Now().Add(t.firstCode + time.Duration(len(codes)-1)*t.nextCode)
	l.showCode(t.firstCode)
	close(l.showing)
}

func (l *Link) showCode(life time.Duration) {
	if len(l.pairing.codes) == 0 {
		if !l.fresh.jid().IsEmpty() { // at the last moment
			l.wakeIn(l.driver.times.login, l.stuck)
			return
		}
		l.endPairing(domain.ReasonPairingTimeout, nil)
		return
	}
	text := l.pairing.codes[0]
	l.pairing.codes = l.pairing.codes[1:]
	l.emit(domain.LinkEvent{Kind: domain.LinkQR, Text: text, ExpiresAt: time.Now().Add(life)})
	next := l.driver.times.nextCode
	l.wakeIn(life, func() { l.showCode(next) })
}

// errHalfPaired tells of a device that is stored, while nobody knows whether WhatsApp has been told.
var errHalfPaired = errors.New("whatsapp: the pairing may be complete or not, which the next login shows")

// endPairing ends a link that shows codes.
func (l *Link) endPairing(reason domain.ReasonCode, err error) {
	if !l.fresh.refuse().IsEmpty() {
		l.down(domain.ReasonConnectionLost, errors.Join(errHalfPaired, err))
		return
	}
	l.end(domain.LinkEvent{Kind: domain.LinkPairingEnded, Reason: reason, Err: err})
}

func (c *connection) onPairingFailed(err error) {
	if _, ok := errors.AsType[*whatsmeow.PairDatabaseError](err); ok {
		c.link.unpaired = true // WhatsApp has been told that it failed
		c.link.end(domain.LinkEvent{Kind: domain.LinkPairingEnded, Reason: domain.ReasonPairingFailed, Err: err})
		return
	}
	c.link.endPairing(domain.ReasonPairingFailed, err)
}

// onConfirming is called when the library begins to store a device and to confirm that to the server.
func (c *connection) onConfirming(types.JID, string, string) (accepted bool) {
	select {
	case c.confirming <- struct{}{}:
	default: // the server says so twice
	}
	return true
}

// onConfirmed is called when that has come to an end.
func (c *connection) onConfirmed() {
	select {
	case <-c.confirming:
	default: // it has not got as far
	}
}

// awaitConfirmed waits a moment for the end of a confirmation, if one is under way. Cut short, it would make the library
// hang up while it closes the connection, for which it is not made, and forget the device that the server knows.
func (c *connection) awaitConfirmed() {
	timer := time.NewTimer(c.link.driver.times.linger)
	defer timer.Stop()
	select {
	case c.confirming <- struct{}{}:
	case <-timer.C:
	}
}

// onPaired follows the moment when a phone has taken a code and the device is stored. The server now wants
// another connection, and says so, unless it just hangs up.
func (c *connection) onPaired(jid types.JID) {
	l := c.link
	l.jid = jid
	l.phase = phasePaired
	l.emit(domain.LinkEvent{Kind: domain.LinkPaired, JID: jid.String(), Phone: jid.User})
	l.wakeIn(l.driver.times.login, l.stuck)
	if c.restart || c.lost {
		l.dial()
	}
}

// RequestPairingCode asks WhatsApp for a code that the owner of phone (digits of the international number) can
// type instead of scanning the QR code. It waits until codes are shown. The code arrives as LinkPairingCode;
// when WhatsApp refuses, the link ends with LinkPairingEnded.
func (l *Link) RequestPairingCode(ctx context.Context, phone string) error {
	if l.paired {
		return errPaired
	}
	select {
	case <-l.showing:
	case <-l.ended:
		return errEnded
	case <-ctx.Done():
		return ctx.Err()
	}
	var c *connection
	if !l.ask(func() {
		if l.phase == phaseCodes {
			c = l.conn
		}
	}) {
		return errEnded
	}
	if c == nil {
		return errPaired
	}
	return c.requestCode(ctx, phone)
}

func (c *connection) requestCode(ctx context.Context, phone string) error {
	code, err := c.client.PairPhone(ctx, phone, true, codeClient, codeClientName)
	switch {
	case err == nil:
		c.tell(func() { c.onCode(code) })
		return nil
	case errors.Is(err, whatsmeow.ErrPhoneNumberTooShort), errors.Is(err, whatsmeow.ErrPhoneNumberIsNotInternational):
		return domain.Invalid(domain.Detail{Field: "phone", Code: "invalid_phone",
			Message: "It must be an international number, with the country's code and without a leading 0."})
	case ctx.Err() != nil:
		return ctx.Err()
	}
	err = fmt.Errorf("ask for a pairing code: %w", err)
	if _, ok := errors.AsType[*whatsmeow.DisconnectedError](err); !ok && !errors.Is(err, whatsmeow.ErrNotConnected) {
		c.tell(func() { c.onPairingFailed(err) })
	}
	return err
}

func (c *connection) onCode(code string) {
	c.link.emit(domain.LinkEvent{Kind: domain.LinkPairingCode, Text: code, ExpiresAt: c.link.pairing.until})
}
