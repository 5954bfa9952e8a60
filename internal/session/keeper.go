package session

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

const (
	// stuckAfter is how long an attempt may bring no news: a login, a first code, what follows a pairing.
	stuckAfter = 30 * time.Second
	// pairingLasts is how long after the customer's wish codes are made.
	pairingLasts = 5 * time.Minute
	// settleFor is how long a lost connection may take to come back without being shown.
	settleFor = 2 * time.Second
	// openFailures bounds how seldom an attempt is repeated that did not get as far as WhatsApp, as the devices could
	// not be looked up: after 4 s at most, so that an outage of the database is over soon after its end.
	openFailures = 2
	// stableAfter is how long a connection must hold for its next loss to count as the first.
	stableAfter = time.Minute
	// A ping follows between pingLeast and pingMost after the last sign of life.
	pingLeast, pingMost = 20 * time.Second, 40 * time.Second
	// firstPing is the longest time until the ping that tells the latency of a new connection.
	firstPing   = time.Second
	pingTimeout = 10 * time.Second
	// pingAgain is how soon a failed ping is repeated; two in a row end the connection.
	pingAgain = time.Second
	// silentFor is how long a connection counts as such without a sign of life, whatever pings do.
	silentFor = 75 * time.Second
	// Together they leave a moment of the 5 s within which an instance is deleted.
	logoutTimeout = 2500 * time.Millisecond
	removeTimeout = time.Second
	// obeyAgain is how soon a pairing that could not be forgotten is to be forgotten again.
	obeyAgain = 5 * time.Second
	// disconnectTimeout is the logout of an instance that stays: nobody has promised when that is done, and one
	// without a connection has to log in first.
	disconnectTimeout = 2 * logoutTimeout
	// startWithin spreads the first dials after a start, in which many instances are claimed at once.
	startWithin = 500 * time.Millisecond
)

// keeper looks after one instance that this node holds: one goroutine, in which everything but post runs.
type keeper struct {
	t       *tenure
	lease   domain.Lease
	cancel  context.CancelFunc // ends the keeper at once and without a trace
	started time.Time
	box     *mailbox

	ctx   context.Context //nolint:containedctx // the keeper's own, for what its goroutine starts
	wish  domain.LinkWish
	jid   string
	ended bool

	link     Link // nil between attempts
	attempt  int  // numbers the attempts: news of earlier ones are stale
	online   bool // the link is logged in
	aliveAt  time.Time
	misses   int  // pings in a row that failed
	failures int  // attempts in a row that failed
	looked   bool // the driver has been asked
	lateLook bool // the current link was opened too late for codes

	shown      domain.Status // the status on record; "" when not known
	shownWhy   domain.ReasonCode
	settleWhy  domain.ReasonCode // what will be shown at settleAt
	slotIsOurs bool              // dialAt is a moment of the pacer

	// What is due when; zero for never.
	dialAt, stuckAt, pingAt, silentAt, settleAt, stableAt, obeyAt time.Time
}

func newKeeper(t *tenure, w domain.LinkWish, cancel context.CancelFunc) *keeper {
	return &keeper{
		t: t, lease: w.Lease, cancel: cancel, started: t.m.cfg.Now(), box: newMailbox(), wish: w, jid: w.JID,
	}
}

// post runs a task in the keeper's goroutine, soon.
func (k *keeper) post(task func()) { k.box.post(task) }

// run looks after the instance until there is nothing to do for it here, or until ctx ends.
func (k *keeper) run(ctx context.Context) {
	k.ctx = ctx
	defer k.closeLink()
	k.begin() //nolint:contextcheck // k.ctx is this one
	timer := time.NewTimer(0)
	defer timer.Stop()
	for !k.ended {
		if at := k.nextAlarm(); at.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(max(0, at.Sub(k.now())))
		}
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			k.onTime()
		case <-k.box.ready:
			for _, task := range k.box.take() {
				if ctx.Err() == nil && !k.ended {
					task()
				}
			}
		}
	}
}

func (k *keeper) now() time.Time { return k.t.m.cfg.Now() }

// begin decides what to do with an instance that has just been claimed.
func (k *keeper) begin() {
	if k.wish.Remove || k.wish.Desired != domain.DesiredConnected {
		k.obey()
		return
	}
	k.acted()
	k.dropCode()
	now := k.now()
	if k.wish.RetryAt.After(now) {
		k.dialAt = k.wish.RetryAt
		return
	}
	k.dialAt = now
	if k.jid != "" { // many may be claimed at once
		k.dialAt = now.Add(time.Duration(float64(startWithin) * k.t.m.cfg.Rand()))
	}
	k.settleAt, k.settleWhy = now.Add(settleFor), "" // whatever is on record
	if k.jid == "" {
		k.show(domain.StatusConnecting, "")
	}
}

// alarms lists when something is due, and what.
func (k *keeper) alarms() [7]struct {
	at *time.Time
	do func()
} {
	return [7]struct {
		at *time.Time
		do func()
	}{
		{&k.dialAt, k.dialInTurn},
		{&k.stuckAt, k.onStuck},
		{&k.pingAt, k.ping},
		{&k.silentAt, k.onSilent},
		{&k.settleAt, k.onUnsettled},
		{&k.stableAt, func() { k.failures = 0 }},
		{&k.obeyAt, k.obey},
	}
}

func (k *keeper) nextAlarm() (next time.Time) {
	for _, a := range k.alarms() {
		if !a.at.IsZero() && (next.IsZero() || a.at.Before(next)) {
			next = *a.at
		}
	}
	return next
}

// onTime does what is due.
func (k *keeper) onTime() {
	for _, a := range k.alarms() {
		if k.ended {
			return
		}
		if !a.at.IsZero() && !k.now().Before(*a.at) {
			*a.at = time.Time{}
			a.do()
		}
	}
}

// dialInTurn opens the link when the pacer lets it.
func (k *keeper) dialInTurn() {
	if !k.slotIsOurs {
		pacer := k.t.m.dials
		if k.jid == "" {
			pacer = k.t.m.pairs
		}
		now := k.now()
		if slot := pacer.reserve(now); slot.After(now) {
			k.dialAt, k.slotIsOurs = slot, true
			return
		}
	}
	k.slotIsOurs = false
	k.dial()
}

// isLate reports whether the customer has given up waiting for a code.
func (k *keeper) isLate() bool {
	return k.jid == "" && k.now().Sub(k.wish.AskedAt) > pairingLasts
}

// dial begins an attempt to connect. Even when it is too late for codes, the driver is asked once: it may have a
// pairing that the node before did not live to record.
func (k *keeper) dial() {
	if now := k.now(); !k.t.isSure(now) { // whoever holds the instance now would be thrown out
		k.dialAt = now.Add(time.Second)
		return
	}
	if k.lateLook = k.isLate(); k.lateLook && k.looked {
		k.fail(domain.ReasonPairingTimeout, 0, nil)
		return
	}
	switch err := k.open(); {
	case errors.Is(err, errNoProxy):
		k.fail(domain.ReasonProxyFailed, 0, err)
		return
	case err != nil: // WhatsApp was not called: no need to spare it
		k.fail(domain.ReasonConnectionLost, 0, err)
		k.failures = min(k.failures, openFailures)
		return
	}
	k.looked = true
	k.stuckAt = k.now().Add(stuckAfter)
	if k.jid == "" && k.wish.Method == domain.PairByCode {
		k.askForCode()
	}
}

// open makes a link whose news arrive at onEvent.
func (k *keeper) open() error {
	k.closeLink()
	target := k.target()
	if len(k.wish.ProxySealed) > 0 {
		url, err := k.t.m.proxyURL(k.lease, k.wish.ProxySealed)
		if err != nil {
			return err
		}
		target.ProxyURL = url
	}
	attempt := k.attempt
	link, err := k.t.m.driver.Open(k.ctx, target, func(e domain.LinkEvent) {
		k.post(func() {
			if k.attempt == attempt {
				k.onEvent(e)
			}
		})
	})
	k.link = link
	return err
}

// target is the instance as the driver needs it, without its proxy.
func (k *keeper) target() domain.LinkTarget {
	return domain.LinkTarget{Account: k.lease.Account, Instance: k.lease.Instance, JID: k.jid, Held: k.holds}
}

// holds reports whether the lease is good, to anybody.
func (k *keeper) holds() bool { return k.ctx.Err() == nil && k.t.isSure(k.now()) }

// closeLink drops the connection, if there is one, and makes its news stale.
func (k *keeper) closeLink() {
	link := k.link
	k.link, k.misses = nil, 0
	k.setOnline(false)
	k.attempt++
	k.stuckAt, k.pingAt, k.silentAt, k.stableAt = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	if link != nil {
		link.Close()
	}
}

// setOnline notes whether the link is logged in.
func (k *keeper) setOnline(online bool) {
	switch {
	case online && !k.online:
		k.t.m.online.Add(1)
	case !online && k.online:
		k.t.m.online.Add(-1)
	}
	k.online = online
}

// aside runs a call to the current link apart, as it may take its time, and then done in the keeper's
// goroutine, unless the link is gone by then.
func (k *keeper) aside(timeout time.Duration, call func(context.Context, Link) error, done func(error)) {
	link, attempt := k.link, k.attempt
	ctx, cancel := context.WithTimeout(k.ctx, timeout)
	k.t.keeping.Go(func() {
		defer cancel()
		err := call(ctx, link)
		k.post(func() {
			if k.attempt == attempt {
				done(err)
			}
		})
	})
}

func (k *keeper) askForCode() {
	phone := k.wish.Phone
	k.aside(stuckAfter, func(ctx context.Context, l Link) error { return l.RequestPairingCode(ctx, phone) }, func(err error) {
		if err != nil && k.jid == "" { // the link has its own word on why; if it says nothing, the attempt is over soon
			k.log("no pairing code was given", err)
			k.stuckAt = k.now().Add(settleFor)
		}
	})
}

// record writes down a fact about the instance.
func (k *keeper) record(f domain.LinkFact) {
	f.Lease = k.lease
	f.State.At = k.now()
	k.t.facts.put(f)
}

// acted records that the wish is being followed.
func (k *keeper) acted() { k.record(domain.LinkFact{Seq: k.wish.Seq}) }

// show records a status, unless it is on record already.
func (k *keeper) show(status domain.Status, why domain.ReasonCode) {
	k.settleAt = time.Time{}
	if k.shown == status && k.shownWhy == why {
		return
	}
	k.shown, k.shownWhy = status, why
	k.record(domain.LinkFact{State: domain.InstanceState{Status: &status, Reason: &why}})
}

// finish records the last fact and ends the keeper.
func (k *keeper) finish(f domain.LinkFact) {
	k.closeLink()
	k.ended = true
	f.Release = true
	k.record(f)
}

// dropCode records that there is no code: whom it belonged to is gone.
func (k *keeper) dropCode() {
	if k.jid == "" {
		k.record(domain.LinkFact{Code: &domain.LinkCode{}})
	}
}

// handOver gives the instance to another node, as it is.
func (k *keeper) handOver() {
	k.dropCode()
	k.finish(domain.LinkFact{})
}

// giveWay is handOver, unless a person is about to take a code.
func (k *keeper) giveWay() {
	if k.jid != "" {
		k.handOver()
	}
}

func (k *keeper) log(message string, err error) {
	k.t.m.cfg.Log.LogAttrs(k.ctx, slog.LevelWarn, message, slog.String("account", k.lease.Account.String()),
		slog.String("instance", k.lease.Instance.String()), slog.Any("error", err))
}
