package whatsapp

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"go.mau.fi/whatsmeow"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"

	"github.com/pombal-api/pombal/internal/domain"
)

// Ping asks the server for an answer and returns how long that took; the sink gets LinkAlive too. Without an
// answer until ctx ends, 20 s at most, the link is down; a ctx that is canceled proves nothing and leaves it.
func (l *Link) Ping(ctx context.Context) (time.Duration, error) {
	c := l.live.Load()
	if c == nil {
		return 0, errOffline
	}
	deadline, ok := ctx.Deadline()
	began := time.Now()
	err := c.query(ctx, whatsmeow.DangerousInfoQuery{
		Namespace: "w:p", Type: "get", To: types.ServerJID, Timeout: remaining(deadline, ok, l.driver.times.ping),
	})
	rtt := time.Since(began)
	if _, refused := errors.AsType[*whatsmeow.IQError](err); err == nil || refused { // a refusal is an answer too
		c.tell(func() { l.emit(domain.LinkEvent{Kind: domain.LinkAlive, RTT: rtt}) })
		return rtt, nil
	}
	if errors.Is(err, whatsmeow.ErrIQTimedOut) || errors.Is(err, context.DeadlineExceeded) {
		c.tell(func() { l.down(domain.ReasonNotResponding, errSilence) })
	}
	return 0, err
}

// query sends a request and waits for the answer, on this connection only.
func (c *connection) query(ctx context.Context, q whatsmeow.DangerousInfoQuery) error {
	q.NoRetry = true
	_, err := c.internals().SendIQ(ctx, q)
	return err
}

// Logout unlinks the device at WhatsApp, if that can be done in time, forgets it in any case, and closes the
// link without an event. It waits for a login that is under way. It takes until ctx ends, 5 s at most, and
// 2 s more when the store is slow; an error means that the device is still there.
func (l *Link) Logout(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.driver.times.logout)
	defer cancel()
	if err := l.unlink(ctx); err != nil {
		l.log.Info("whatsapp: the phone may still list the device", slog.Any("error", err))
	}
	l.Close()
	return l.forget(ctx)
}

// unlink tells WhatsApp to remove the device. It leaves some of the time for what follows.
func (l *Link) unlink(ctx context.Context) error {
	deadline, _ := ctx.Deadline()
	ctx, cancel := context.WithTimeout(ctx, time.Until(deadline)*3/5)
	defer cancel()
	var jid types.JID
	underway := l.fresh.refuse()
	if !l.ask(func() { jid, l.silent = l.jid, true }) {
		return errEnded
	}
	if jid.IsEmpty() { // a pairing that is under way is waited for
		jid = underway
	}
	if jid.IsEmpty() {
		return nil
	}
	select {
	case <-l.online:
	case <-l.ended:
		return errEnded
	case <-ctx.Done():
		return ctx.Err()
	}
	c := l.live.Load()
	if c == nil {
		return errOffline
	}
	return c.query(ctx, whatsmeow.DangerousInfoQuery{
		Namespace: "md", Type: "set", To: types.ServerJID,
		Content: []waBinary.Node{{
			Tag: "remove-companion-device", Attrs: waBinary.Attrs{"jid": jid, "reason": "user_initiated"},
		}},
	})
}

// forgetTime is how long it may take to delete a device, even when there is no time left.
const forgetTime = 2 * time.Second

// address is that of the link's device, even if its pairing did not get far. It is for run, and for anybody
// after done.
func (l *Link) address() types.JID {
	if l.jid.IsEmpty() {
		return l.fresh.jid()
	}
	return l.jid
}

// forget deletes the device of a link that is closed.
func (l *Link) forget(ctx context.Context) error {
	deadline, _ := ctx.Deadline()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), max(time.Until(deadline), forgetTime))
	defer cancel()
	return l.driver.forget(ctx, l.target, l.address())
}

// forgetUnpaired deletes the device of a link whose pairing is gone.
func (l *Link) forgetUnpaired() {
	ctx, cancel := context.WithTimeout(l.driver.ctx, forgetTime)
	defer cancel()
	if err := l.driver.forget(ctx, l.target, l.address()); err != nil {
		l.log.Warn("whatsapp: a device without a pairing stays in the store", slog.Any("error", err))
	}
}
