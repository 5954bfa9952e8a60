package session

import (
	"context"
	"errors"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// onEvent follows what happened to the current link.
func (k *keeper) onEvent(e domain.LinkEvent) {
	switch e.Kind {
	case domain.LinkQR, domain.LinkPairingCode:
		k.onCode(e)
	case domain.LinkPaired:
		k.onPaired(e)
	case domain.LinkConnected:
		k.onConnected(e)
	case domain.LinkProfile:
		k.record(domain.LinkFact{State: profile(e)})
	case domain.LinkAlive:
		k.onAlive(e.RTT)
	case domain.LinkDown:
		k.fail(e.Reason, e.RetryAfter, e.Err)
	case domain.LinkLoggedOut:
		k.jid = ""
		k.fail(domain.ReasonLoggedOut, 0, e.Err)
	case domain.LinkPairingEnded:
		k.fail(e.Reason, 0, e.Err)
	}
}

// onCode shows a code, and waits for the next one.
func (k *keeper) onCode(e domain.LinkEvent) {
	if k.lateLook && k.isLate() {
		k.fail(domain.ReasonPairingTimeout, 0, nil)
		return
	}
	if e.Kind == domain.LinkQR && k.wish.Method == domain.PairByCode {
		return // a sign of life only: the customer wants another kind
	}
	k.stuckAt = later(k.now(), e.ExpiresAt).Add(stuckAfter)
	k.show(domain.StatusConnecting, "")
	k.record(domain.LinkFact{Code: &domain.LinkCode{Method: k.wish.Method, Text: e.Text, ExpiresAt: e.ExpiresAt}})
}

// onPaired keeps the pairing. The login follows.
func (k *keeper) onPaired(e domain.LinkEvent) {
	k.jid = e.JID
	k.stuckAt = k.now().Add(stuckAfter)
	f := domain.LinkFact{JID: &e.JID, Code: &domain.LinkCode{}}
	if e.Phone != "" {
		f.State.Phone = &e.Phone
	}
	k.record(f)
}

func (k *keeper) onConnected(e domain.LinkEvent) {
	now := k.now()
	k.setOnline(true)
	k.stuckAt = time.Time{}
	k.stableAt = now.Add(stableAfter)
	k.seen(now)
	k.pingAt = now.Add(time.Duration(float64(firstPing) * k.t.m.cfg.Rand()))
	f := domain.LinkFact{State: profile(e), Code: &domain.LinkCode{}, RetryAt: &time.Time{}}
	if e.JID != "" && e.JID != k.jid {
		k.jid = e.JID
		f.JID = &e.JID
	}
	if k.shown != domain.StatusConnected {
		f.State.ConnectedAt = now
	}
	f.State.LastSeenAt = now
	k.record(f)
	k.show(domain.StatusConnected, "")
}

// profile returns what an event tells about the number and its owner.
func profile(e domain.LinkEvent) (st domain.InstanceState) {
	for _, p := range []struct {
		field **string
		text  string
	}{
		{&st.Phone, e.Phone}, {&st.ProfileName, e.ProfileName}, {&st.ProfilePicURL, e.ProfilePicURL}, {&st.ProfileStatus, e.ProfileStatus},
	} {
		if p.text != "" {
			*p.field = &p.text
		}
	}
	return st
}

// seen notes a sign of life.
func (k *keeper) seen(now time.Time) {
	k.aliveAt, k.misses = now, 0
	k.pingAt = now.Add(pingLeast + time.Duration(float64(pingMost-pingLeast)*k.t.m.cfg.Rand()))
	k.silentAt = now.Add(silentFor)
}

func (k *keeper) onAlive(rtt time.Duration) {
	if !k.online {
		return
	}
	now := k.now()
	k.seen(now)
	k.record(domain.LinkFact{Latency: rtt, State: domain.InstanceState{LastSeenAt: now}})
}

// ping asks for a sign of life. The second failure in a row ends the connection.
func (k *keeper) ping() {
	var rtt time.Duration
	call := func(ctx context.Context, l Link) (err error) {
		rtt, err = l.Ping(ctx)
		return err
	}
	k.aside(pingTimeout, call, func(err error) {
		switch {
		case err == nil:
			k.onAlive(rtt)
		case k.misses > 0:
			k.fail(domain.ReasonNotResponding, 0, err)
		default:
			k.misses++
			k.pingAt = k.now().Add(pingAgain)
		}
	})
}

var (
	errStuck  = errors.New("nothing has happened for too long")
	errSilent = errors.New("no sign of life for too long")
)

func (k *keeper) onSilent() { k.fail(domain.ReasonNotResponding, 0, errSilent) }

// onStuck ends an attempt that came to nothing, to begin another one.
func (k *keeper) onStuck() { k.fail(domain.ReasonNotResponding, 0, errStuck) }

// onUnsettled shows that a connection did not come back quickly.
func (k *keeper) onUnsettled() { k.show(domain.StatusConnecting, k.settleWhy) }

// fail closes the link and does what the policy says about the reason.
func (k *keeper) fail(reason domain.ReasonCode, retryAfter time.Duration, err error) {
	was := k.online
	k.closeLink()
	p := policyOf(reason)
	if !p.retry {
		k.surrender(reason)
		return
	}
	if err != nil && !was {
		k.log("an instance could not be connected: "+string(reason), err)
	}
	k.dropCode()
	delay := p.delay(k.failures, retryAfter, k.t.m.cfg.Rand())
	k.failures++
	now := k.now()
	k.dialAt, k.slotIsOurs = now.Add(delay), false
	if p.floor >= banUnknown {
		k.record(domain.LinkFact{RetryAt: &k.dialAt})
	}
	switch {
	case p.shown == domain.StatusDisconnected:
		k.show(p.shown, reason)
	case k.shown == domain.StatusConnected || !k.settleAt.IsZero():
		k.settleWhy = reason
		if k.settleAt.IsZero() {
			k.settleAt = now.Add(settleFor)
		}
	default:
		k.show(p.shown, reason)
	}
}

// surrender ends the connection until the customer acts.
func (k *keeper) surrender(reason domain.ReasonCode) {
	status := domain.StatusDisconnected
	f := domain.LinkFact{
		State: domain.InstanceState{Status: &status, Reason: &reason}, Code: &domain.LinkCode{},
		RetryAt: &time.Time{}, Seq: k.wish.Seq, Ended: true,
	}
	if k.jid == "" {
		f.JID = new("")
		f.State.Phone, f.State.ProfileName = new(""), new("")
		f.State.ProfilePicURL, f.State.ProfileStatus = new(""), new("")
	}
	k.finish(f)
}
