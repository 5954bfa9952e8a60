package session

import (
	"context"
	"errors"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// onWish follows a change of the wish.
func (k *keeper) onWish(w domain.LinkWish) {
	if w.Seq <= k.wish.Seq {
		return
	}
	before := k.wish
	k.wish = w
	switch {
	case w.Remove || w.Desired != domain.DesiredConnected:
		k.obey()
		return
	case w.Restarts != before.Restarts:
		k.again(domain.ReasonRestarting)
	case k.link == nil || k.jid == "" && (w.Method != before.Method || w.Phone != before.Phone):
		k.again("") // the customer waits: now rather than at the next try
	}
	k.acted()
}

// again connects anew, at once.
func (k *keeper) again(why domain.ReasonCode) {
	k.closeLink()
	k.failures = 0
	k.dialAt, k.slotIsOurs, k.obeyAt = k.now(), false, time.Time{}
	k.record(domain.LinkFact{Code: &domain.LinkCode{}, RetryAt: &time.Time{}})
	k.show(domain.StatusConnecting, why)
}

// obey ends the connection for good, as the customer wishes.
func (k *keeper) obey() {
	k.dialAt, k.obeyAt = time.Time{}, time.Time{}
	err := k.logOut()
	switch {
	case k.wish.Remove:
		k.remove()
		return
	case err != nil:
		// The pairing is still there: whoever connects the instance later must not find it.
		k.closeLink()
		k.show(domain.StatusDisconnected, "")
		k.obeyAt = k.now().Add(obeyAgain)
		return
	}
	k.jid = ""
	k.surrender(domain.ReasonDisconnectedByUser)
}

// logOut unlinks the device, if there is one: perhaps one that nobody has learned of. Without the proxy, it is
// forgotten here only. An error means that it is still there.
func (k *keeper) logOut() error {
	timeout := disconnectTimeout
	if k.wish.Remove {
		timeout = logoutTimeout
	}
	ctx, cancel := context.WithTimeout(k.ctx, timeout)
	defer cancel()
	var err error
	if k.link == nil {
		err = k.open()
	}
	switch {
	case err == nil:
		err = k.link.Logout(ctx)
	case errors.Is(err, errNoProxy):
		k.log("an instance could not be logged out: the phone may still list the device", err)
		err = k.t.m.driver.Forget(ctx, k.target())
	}
	if err != nil {
		k.log("the pairing of an instance could not be forgotten", err)
	}
	return err
}

// remove deletes the instance. If that fails, the wish remains for whoever holds it next.
func (k *keeper) remove() {
	k.closeLink()
	k.ended = true
	ctx, cancel := context.WithTimeout(k.ctx, removeTimeout)
	defer cancel()
	err := k.t.m.store.RemoveLink(ctx, k.t.node.ID, k.lease)
	if err != nil && !errors.Is(err, domain.ErrLeaseLost) {
		k.log("an instance could not be deleted; trying again", err)
		k.record(domain.LinkFact{Release: true})
	}
}

// errNoProxy refuses to go around a proxy.
var errNoProxy = errors.New("the instance has a proxy, and this node cannot read its address")

func (m *Manager) proxyURL(l domain.Lease, sealed []byte) (string, error) {
	if m.cfg.Proxy == nil {
		return "", errNoProxy
	}
	url, err := m.cfg.Proxy(l.Account, l.Instance, sealed)
	if err != nil || url == "" {
		return "", errors.Join(errNoProxy, err)
	}
	return url, nil
}
