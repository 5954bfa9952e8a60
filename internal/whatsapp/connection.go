package whatsapp

import (
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"

	"go.mau.fi/whatsmeow"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waWa6"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/pombal-api/pombal/internal/domain"
)

// connection is one connection of a link, with a client of its own. A link has a second one after pairing.
type connection struct {
	link   *Link
	client *whatsmeow.Client
	wires  *wires
	gone   atomic.Bool // the connection has ended, which the link may not have heard yet
	// confirming is full while the library stores a new device and tells the server so.
	confirming chan struct{}

	// Owned by the link's run.
	dialed  bool // the server has been reached
	lost    bool // the connection has ended
	restart bool // the server wants another connection
}

// newConnection prepares a connection. It fails when the proxy makes no sense.
func newConnection(l *Link) (*connection, error) {
	c := &connection{link: l, confirming: make(chan struct{}, 1)}
	var err error
	if c.wires, err = newWires(l, c.ended); err != nil {
		return nil, err
	}
	cli := whatsmeow.NewClient(l.device, libraryLog{log: l.log, module: "whatsmeow"})
	hc := &http.Client{Transport: c.wires}
	cli.SetWebsocketHTTPClient(hc)
	cli.SetPreLoginHTTPClient(hc)
	cli.SetMediaHTTPClient(hc)
	cli.BackgroundEventCtx = l.ctx
	cli.EnableAutoReconnect = false       // it is the session's business
	cli.DisableLoginAutoReconnect = true  // the library's way can crash when the server hangs up meanwhile
	cli.EnableDecryptedEventBuffer = true // or a message whose handler does not finish is lost
	cli.SynchronousAck = true             // acknowledged is what has been stored
	cli.UseRetryMessageStore = true       // recipients may ask again after a restart
	// Nobody keeps the history yet. Downloading it would also keep a goroutine for a minute, whatever happens
	// to the connection.
	cli.ManualHistorySyncDownload = true
	cli.DisableManualHistorySyncReceipt = true
	cli.EmitAppStateEventsOnFullSync = true // the owner's name is among them
	cli.GetClientPayload = c.introduction
	cli.PrePairCallback = c.onConfirming
	cli.AddEventHandlerWithSuccessStatus(c.onEvent)
	c.client = cli
	return c, nil
}

// introduction is what the client says of itself at the end of the handshake, by which it logs in. Whoever does not
// hold the instance any more hangs up instead: the process may have been frozen since the dial.
func (c *connection) introduction() *waWa6.ClientPayload {
	if !c.link.isHeld() {
		c.wires.cut()
	}
	return c.link.device.GetClientPayload()
}

// connect opens the connection and shakes hands. It must be called once.
func (c *connection) connect() error {
	defer close(c.wires.dialed)
	return c.client.ConnectContext(c.link.ctx)
}

// internals is what the library does not promise to keep, but has no other way to: a request of our own, and the
// end of all requests.
func (c *connection) internals() *whatsmeow.DangerousInternalClient {
	return c.client.DangerousInternals() //nolint:staticcheck // it is not deprecated, only marked so as a warning
}

// hangUp cuts the connection. It does not wait, and may be called twice.
func (c *connection) hangUp() {
	c.internals().ExpectDisconnect() // see ended
	c.wires.cut()
}

// ended is called when the connection has ended, by whomever.
func (c *connection) ended() {
	c.gone.Store(true) // first: the library says Connected once its last request has failed
	// Requests would wait for another connection of the client's, unless they fail for good.
	c.internals().ClearResponseWaiters(&waBinary.Node{Tag: "stream:error", Attrs: waBinary.Attrs{"code": "401"}})
	c.tell(c.onLost)
}

// tell lets the link do something unless the connection has been replaced meanwhile.
func (c *connection) tell(do func()) {
	c.link.post(func() {
		if c.link.conn == c && !c.link.over {
			do()
		}
	})
}

// onEvent takes the library's events, from any goroutine, and passes them on. The result tells whether the
// event is taken care of: if not, the server is not told so, and delivers it again at a later connection.
func (c *connection) onEvent(raw any) (stored bool) {
	defer func() {
		if p := recover(); p != nil { // the library would count a panic as success
			c.link.log.Error("whatsapp: the handler of an event panicked",
				"event", fmt.Sprintf("%T", raw), "panic", p, "stack", string(debug.Stack()))
			stored = false
		}
	}()
	switch e := raw.(type) {
	case *events.QR:
		c.tell(func() { c.onCodes(e.Codes) })
	case *events.PairSuccess:
		c.onConfirmed()
		c.tell(func() { c.onPaired(e.ID) })
	case *events.PairError:
		c.onConfirmed()
		c.tell(func() { c.onPairingFailed(e.Error) })
	case *events.PairPasskeyRequest:
		c.tell(func() { c.onPairingFailed(errPasskey) })
	case *events.ManualLoginReconnect:
		c.tell(c.onRestart)
	case *events.Connected:
		c.tell(c.onConnected)
	case *events.StreamReplaced:
		c.tell(func() { c.link.down(domain.ReasonReplaced, nil) })
	case *events.LoggedOut:
		c.tell(func() { c.onLoggedOut(e) })
	case *events.TemporaryBan:
		c.tell(func() { c.onBan(e) })
	case *events.ClientOutdated:
		c.tell(func() { c.link.down(domain.ReasonClientOutdated, nil) })
	case *events.ConnectFailure:
		c.tell(func() { c.onRefused(e) })
	case *events.StreamError:
		c.tell(func() { c.onStreamError(e.Code) })
	case *events.KeepAliveTimeout:
		c.tell(func() { c.onSilence(e.ErrorCount) })
	case *events.PushNameSetting:
		c.tell(func() { c.onName(e.Action.GetName()) })
	case *events.Picture:
		c.tell(func() { c.onPicture(e.JID) })
	case *events.UserAbout:
		c.tell(func() { c.onAbout(e.JID, e.Status) })
	case *events.Message:
		return isHousekeeping(e)
	case *events.Receipt:
		return false // there is nothing yet that keeps it
	}
	return true // nothing that anybody is told
}

// isHousekeeping tells the messages between the owner's devices from those that somebody has written. The library
// has dealt with the former, and told the phone so. Nothing keeps the latter yet.
func isHousekeeping(e *events.Message) bool { return e.Info.Category == "peer" }

// onDialed follows the end of connect.
func (c *connection) onDialed(err error) {
	l := c.link
	if err != nil {
		l.down(connectionError(err))
		return
	}
	c.dialed = true
	if !l.jid.IsEmpty() {
		l.phase = phaseLogin
	}
	if c.lost {
		c.onLost()
	}
}

// onLost follows the end of the connection, which may overtake the event that explains it.
func (c *connection) onLost() {
	l := c.link
	c.lost = true
	switch {
	case !c.dialed: // connect fails, or has succeeded and is about to say so
	case l.phase == phasePaired:
		l.dial()
	default:
		l.live.Store(nil)
		l.wakeIn(l.driver.times.linger, c.afterLoss)
	}
}

var errLost = errors.New("whatsapp: the connection has ended")

// afterLoss gives up waiting for an explanation.
func (c *connection) afterLoss() {
	l := c.link
	switch {
	case l.phase == phaseOnline:
		l.down(domain.ReasonConnectionLost, errLost)
	case l.phase == phaseCodes && len(l.pairing.codes) == 0: // the server was quicker than our clock
		l.endPairing(domain.ReasonPairingTimeout, nil)
	case l.phase == phaseCodes:
		l.down(domain.ReasonConnectionLost, errLost)
	default:
		l.down(domain.ReasonServerUnreachable, errLost)
	}
}

// onRestart follows the server's wish for another connection: after pairing, or whenever it likes.
func (c *connection) onRestart() {
	l := c.link
	c.restart = true
	switch l.phase {
	case phasePaired:
		l.dial()
	case phaseCodes, phaseDialing: // the event that tells of the pairing is about to come
	case phaseLogin, phaseOnline:
		l.down(domain.ReasonConnectionLost, errors.New("whatsapp: the server wants another connection"))
	}
}

// onConnected follows the login.
func (c *connection) onConnected() {
	l := c.link
	// The library says so even when its last requests have failed because the connection has ended.
	if c.gone.Load() || !c.client.IsLoggedIn() || l.phase == phaseOnline {
		return
	}
	l.phase = phaseOnline
	l.alarm.Stop()
	l.live.Store(c)
	close(l.online)
	l.emit(domain.LinkEvent{Kind: domain.LinkConnected, JID: l.jid.String(), Phone: l.jid.User, ProfileName: l.profile.name})
	l.fetchProfile(c)
}

// onLoggedOut follows the end of the pairing.
func (c *connection) onLoggedOut(e *events.LoggedOut) {
	l := c.link
	l.unpaired = true
	l.end(domain.LinkEvent{Kind: domain.LinkLoggedOut, Reason: domain.ReasonLoggedOut, Err: fmt.Errorf("whatsapp: logged out, %s", e.Reason)})
}

func (c *connection) onBan(e *events.TemporaryBan) {
	c.link.end(domain.LinkEvent{
		Kind: domain.LinkDown, Reason: domain.ReasonTemporaryBan, RetryAfter: e.Expire, Err: fmt.Errorf("whatsapp: banned, %s", e.Code),
	})
}

func (c *connection) onRefused(e *events.ConnectFailure) {
	c.link.down(domain.ReasonConnectRefused, fmt.Errorf("whatsapp: refused with %s %q", e.Reason, clip(e.Message)))
}

func (c *connection) onStreamError(code string) {
	reason := domain.ReasonConnectionLost
	if c.link.phase != phaseOnline {
		reason = domain.ReasonServerUnreachable
	}
	c.link.down(reason, fmt.Errorf("whatsapp: the server ended the connection with error %q", clip(code)))
}

// maxSilence is how many keepalives in a row may stay unanswered. The second one fails 80 s after the last
// answer at the latest.
const maxSilence = 2

func (c *connection) onSilence(failures int) {
	if failures >= maxSilence {
		c.link.down(domain.ReasonNotResponding, errSilence)
	}
}

var errSilence = errors.New("whatsapp: the server does not answer")

// remaining returns how long a request may take that has no better bound.
func remaining(deadline time.Time, ok bool, most time.Duration) time.Duration {
	if !ok {
		return most
	}
	return min(most, max(time.Until(deadline), time.Millisecond))
}
