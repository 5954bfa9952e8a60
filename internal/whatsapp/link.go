package whatsapp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"

	"github.com/pombal-api/pombal/internal/domain"
)

// phase is how far a link has come.
type phase int

const (
	phaseDialing phase = iota // there is no connection yet, or it has said nothing yet
	phaseCodes                // codes are shown
	phasePaired               // a phone has taken a code; the connection is to be opened anew
	phaseLogin                // a known device logs in
	phaseOnline               // logged in
)

// Link is a connection of one instance, from the dial to its end. It is safe for concurrent use.
type Link struct {
	driver *Driver
	target domain.LinkTarget
	sink   domain.LinkSink
	log    *slog.Logger
	device *store.Device   // nil when the pairing is gone
	paired bool            // there was a pairing when the link was opened, known to whoever opened it or not
	ctx    context.Context // of what the library does; ends last
	cancel context.CancelFunc

	inbox   chan func()   // what run shall do
	stop    chan struct{} // closed by hangUp
	ended   chan struct{} // closed when run takes nothing from the inbox any more
	done    chan struct{} // closed when run has returned
	showing chan struct{} // closed when codes are shown
	online  chan struct{} // closed when the link is logged in
	live    atomic.Pointer[connection]
	stopped sync.Once
	work    sync.WaitGroup // the goroutines besides run, and the open WebSockets: run waits for them
	fresh   newPairing
	saving  sync.Mutex // held while the device is stored

	// Owned by run.
	conn     *connection
	phase    phase
	jid      types.JID // empty until paired; anybody may read it after done
	profile  profile
	pairing  pairing
	alarm    *time.Timer
	onAlarm  func()
	over     bool
	silent   bool // a logout is under way: nothing is reported
	unpaired bool // the pairing is gone: the device is to be deleted
	final    *domain.LinkEvent
}

var (
	errEnded   = errors.New("whatsapp: the link has ended")
	errOffline = errors.New("whatsapp: the link is not connected")
	errStuck   = errors.New("whatsapp: the server did not complete the login in time")
	errMissing = errors.New("whatsapp: the device is not in the store")
)

// Close ends the link without an event and keeps the pairing. It returns when the sink is idle and will not
// be called again. It may be called twice, but not by the sink.
func (l *Link) Close() {
	l.hangUp()
	<-l.done
}

// hangUp is Close without waiting.
func (l *Link) hangUp() { l.stopped.Do(func() { close(l.stop) }) }

// run owns the link's state and is the only caller of the sink.
func (l *Link) run() {
	defer close(l.done)
	defer l.driver.release(l)
	l.begin()
	for !l.over {
		select {
		case do := <-l.inbox:
			do()
		case <-l.alarm.C:
			l.onAlarm()
		case <-l.stop:
			l.over = true
		}
	}
	l.finish()
}

// begin opens the first connection.
func (l *Link) begin() {
	if l.device == nil {
		l.end(domain.LinkEvent{Kind: domain.LinkLoggedOut, Reason: domain.ReasonLoggedOut, Err: errMissing})
		return
	}
	if l.paired {
		l.profile.name = ownName(l.device)
		if l.target.JID == "" {
			l.emit(domain.LinkEvent{Kind: domain.LinkPaired, JID: l.jid.String(), Phone: l.jid.User})
		}
	}
	l.wakeIn(l.driver.times.login, l.stuck)
	l.dial()
}

// finish ends what has been begun, and then reports why.
func (l *Link) finish() {
	close(l.ended)
	l.alarm.Stop()
	l.live.Store(nil)
	if l.conn != nil {
		l.conn.awaitConfirmed()
		l.conn.hangUp()
	}
	// The library's reader blocks for ever when its ctx ends before it has handed over what it has read.
	l.work.Wait()
	if l.conn != nil {
		l.conn.hangUp() // dialing, it may have forgotten
	}
	l.cancel()
	l.awaitSaved()
	if l.unpaired {
		l.forgetUnpaired()
	}
	if l.final != nil {
		l.emit(*l.final)
	}
}

// post lets run do something. It waits until run begins it, and does nothing when the link has ended.
func (l *Link) post(do func()) bool {
	select {
	case l.inbox <- do:
		return true
	case <-l.ended:
		return false
	}
}

// ask lets run do something and waits until it is done. It returns false when the link has ended.
func (l *Link) ask(do func()) bool {
	asked := make(chan struct{})
	if !l.post(func() { do(); close(asked) }) {
		return false
	}
	<-asked
	return true
}

// wakeIn lets run do something later, instead of what it was to do later so far.
func (l *Link) wakeIn(d time.Duration, do func()) {
	l.onAlarm = do
	l.alarm.Reset(d)
}

// emit reports an event. A sink that panics loses the event, and nothing else.
func (l *Link) emit(e domain.LinkEvent) {
	if l.silent {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			l.log.Error("whatsapp: the sink of a link panicked", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	l.sink(e)
}

// end ends the link. The event is reported when nothing of the connection is left, so that whoever then opens
// another one is alone with the device.
func (l *Link) end(e domain.LinkEvent) {
	if l.over {
		return
	}
	l.over = true
	l.final = &e
}

// down ends the link for a reason.
func (l *Link) down(reason domain.ReasonCode, err error) {
	l.end(domain.LinkEvent{Kind: domain.LinkDown, Reason: reason, Err: err})
}

func (l *Link) stuck() { l.down(domain.ReasonNotResponding, errStuck) }

// dial opens a connection with the link's device, in place of the one that there may be.
func (l *Link) dial() {
	if l.conn != nil {
		l.conn.hangUp()
	}
	c, err := newConnection(l)
	if err != nil {
		l.down(domain.ReasonProxyFailed, err)
		return
	}
	l.conn = c
	l.phase = phaseDialing
	l.work.Go(func() {
		err := c.connect()
		c.tell(func() { c.onDialed(err) })
	})
}

// connectionError tells why a connection could not be opened.
func connectionError(err error) (domain.ReasonCode, error) {
	if _, ok := errors.AsType[*proxyError](err); ok {
		return domain.ReasonProxyFailed, fmt.Errorf("connect: %w", err)
	}
	return domain.ReasonServerUnreachable, fmt.Errorf("connect: %w", err)
}
