package session

import (
	"context"
	"errors"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// Wishes is what a Desk needs of the database. CodeInstanceNotFound when the account has no such instance.
type Wishes interface {
	// LinkState returns what is known about an instance's connection, all of it at one moment.
	LinkState(ctx context.Context, account, instance domain.ID) (domain.LinkState, error)
	// WishConnected makes connected the wish, asked for now. domain.ErrLeaving while a wish to be disconnected has not
	// been obeyed.
	WishConnected(ctx context.Context, account, instance domain.ID, how domain.PairingWish) error
	// WishDisconnected makes it the wish to log out and be disconnected.
	WishDisconnected(ctx context.Context, account, instance domain.ID) error
	// WishRestarted asks for a new connection. domain.ErrLeaving as for WishConnected.
	WishRestarted(ctx context.Context, account, instance domain.ID) error
	// WishRemoved asks for the instance to be logged out and deleted, if its version is ifVersion (0 for
	// any; otherwise CodePreconditionFailed). gone means that this is done already: there was nothing to log out.
	WishRemoved(ctx context.Context, account, instance domain.ID, ifVersion int64) (gone bool, err error)
	// RemoveInstance deletes an instance at once, whoever holds it. CodeInstanceNotFound when it is gone.
	RemoveInstance(ctx context.Context, account, instance domain.ID) error
}

const (
	askEvery       = 100 * time.Millisecond
	connectTimeout = 10 * time.Second
	obeyTimeout    = 4 * time.Second // 5 s are promised; the rest is for busy machines
)

// Desk takes customers' wishes about connections on any node, and waits until the node that holds the
// instance has answered. Nodes meet in the database only.
type Desk struct {
	wishes Wishes
	wake   func()
	now    func() time.Time
}

// NewDesk returns a desk. wake is called after every wish, in case this node is to follow it: Manager.Wake.
func NewDesk(wishes Wishes, wake func(), now func() time.Time) *Desk {
	return &Desk{wishes, wake, now}
}

// State returns what is known about a connection. Its status is StatusQRPending while a code waits for a
// phone; otherwise there is no code.
func (d *Desk) State(ctx context.Context, account, instance domain.ID) (domain.LinkState, error) {
	st, err := d.wishes.LinkState(ctx, account, instance)
	if err != nil {
		return domain.LinkState{}, err
	}
	// Without a node, nobody is there to take what a phone says to a code.
	if st.Held && st.Status == domain.StatusConnecting && st.Code.Text != "" && st.Code.ExpiresAt.After(d.now()) {
		st.Status = domain.StatusQRPending
	} else {
		st.Code = domain.LinkCode{}
	}
	return st, nil
}

// Pairing is State for those who want to see the code: CodeAlreadyConnected when none is needed.
func (d *Desk) Pairing(ctx context.Context, account, instance domain.ID) (domain.LinkState, error) {
	st, err := d.State(ctx, account, instance)
	if err == nil && st.Status == domain.StatusConnected {
		return domain.LinkState{}, alreadyConnected()
	}
	return st, err
}

// Connect wants an instance connected and returns as soon as there is a code for the phone, or the connection.
// That takes at most 10 s: then CodeUnavailable, and the wish remains, unless an earlier one to be disconnected is
// still to be done. CodeAlreadyConnected when there is nothing to do. While a code waits that was made in the same
// way, it is returned again.
func (d *Desk) Connect(ctx context.Context, account, instance domain.ID, how domain.PairingWish) (domain.LinkState, error) {
	for end := d.now().Add(connectTimeout); ; {
		st, err := d.await(ctx, end.Sub(d.now()), account, instance, func(st *domain.LinkState) (bool, error) { return !isLeaving(st), nil })
		switch {
		case err != nil:
			return domain.LinkState{}, err
		case isLeaving(&st):
			return domain.LinkState{}, stillLeaving()
		case st.Status == domain.StatusConnected:
			return domain.LinkState{}, alreadyConnected()
		}
		asked := st.Desired == domain.DesiredConnected && !st.Paired && st.Method == how.Method && st.PairPhone == how.Phone
		if asked && st.Status == domain.StatusQRPending {
			return st, nil
		}
		if !asked || st.Settled {
			err = d.wish(d.wishes.WishConnected(ctx, account, instance, how))
		}
		switch {
		case err == nil:
			return d.awaitCode(ctx, end.Sub(d.now()), account, instance, how)
		case !errors.Is(err, domain.ErrLeaving):
			return domain.LinkState{}, err
		case !d.now().Before(end): // somebody disconnects it again and again
			return domain.LinkState{}, stillLeaving()
		}
	}
}

// isLeaving reports whether a wish to be disconnected has not been obeyed, as its node has died, say. A wish to be
// connected would overtake it, and the pairing that was to be forgotten would come back.
func isLeaving(st *domain.LinkState) bool {
	return st.Desired == domain.DesiredDisconnected && !st.Settled
}

// wish hints at a wish that was recorded.
func (d *Desk) wish(err error) error {
	if err == nil {
		d.wake()
	}
	return err
}

// awaitCode waits for what Connect promises.
func (d *Desk) awaitCode(ctx context.Context, timeout time.Duration, account, instance domain.ID, how domain.PairingWish) (domain.LinkState, error) {
	loggedOut := false
	st, err := d.await(ctx, timeout, account, instance, func(st *domain.LinkState) (bool, error) {
		switch {
		case st.Status == domain.StatusConnected, st.Status == domain.StatusQRPending && st.Method == how.Method:
			return true, nil
		case !st.Settled || st.Desired == domain.DesiredConnected:
			return false, nil
		case st.Reason == domain.ReasonLoggedOut && !loggedOut:
			// The pairing turned out to be gone: a new one is what the customer wants.
			err := d.wish(d.wishes.WishConnected(ctx, account, instance, how))
			if errors.Is(err, domain.ErrLeaving) { // somebody has disconnected it since
				return false, nil
			}
			loggedOut = true
			return false, err
		}
		return false, notConnected(st)
	})
	if err != nil {
		return domain.LinkState{}, err
	}
	if st.Status == domain.StatusConnected || st.Status == domain.StatusQRPending {
		return st, nil
	}
	return domain.LinkState{}, notConnected(&st)
}

// await looks at the state until done or until the time is up, and returns the last state.
func (d *Desk) await(ctx context.Context, timeout time.Duration, account, instance domain.ID,
	done func(*domain.LinkState) (bool, error),
) (domain.LinkState, error) {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for end := d.now().Add(timeout); ; {
		st, err := d.State(ctx, account, instance)
		if err != nil {
			return domain.LinkState{}, err
		}
		if ok, failed := done(&st); ok || failed != nil || !d.now().Before(end) {
			return st, failed
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return domain.LinkState{}, ctx.Err()
		}
	}
}

// Disconnect logs an instance out and forgets its pairing. CodeInstanceNotConnected when it is neither
// connected nor paired nor wanted to be. It waits a few seconds for that to have happened; the wish
// remains in any case.
func (d *Desk) Disconnect(ctx context.Context, account, instance domain.ID) (domain.LinkState, error) {
	st, err := d.State(ctx, account, instance)
	if err != nil {
		return domain.LinkState{}, err
	}
	if isIdle(&st) {
		return domain.LinkState{}, instanceNotConnected()
	}
	if err = d.wish(d.wishes.WishDisconnected(ctx, account, instance)); err != nil {
		return domain.LinkState{}, err
	}
	return d.await(ctx, obeyTimeout, account, instance, func(st *domain.LinkState) (bool, error) {
		return st.Settled && st.Status == domain.StatusDisconnected, nil
	})
}

// Restart drops the connection and opens it again with the same pairing. CodeInstanceNotConnected as for
// Disconnect, and while it is being disconnected. It waits until a node has begun.
func (d *Desk) Restart(ctx context.Context, account, instance domain.ID) (domain.LinkState, error) {
	st, err := d.State(ctx, account, instance)
	if err != nil {
		return domain.LinkState{}, err
	}
	if isIdle(&st) || isLeaving(&st) {
		return domain.LinkState{}, instanceNotConnected()
	}
	err = d.wish(d.wishes.WishRestarted(ctx, account, instance))
	if errors.Is(err, domain.ErrLeaving) {
		err = instanceNotConnected()
	}
	if err != nil {
		return domain.LinkState{}, err
	}
	return d.await(ctx, obeyTimeout, account, instance, func(st *domain.LinkState) (bool, error) { return st.Settled, nil })
}

// isIdle reports whether there is nothing to disconnect.
func isIdle(st *domain.LinkState) bool {
	return st.Status == domain.StatusDisconnected && st.Desired == domain.DesiredDisconnected && !st.Paired
}

// Remove logs an instance out and deletes it, if its version is ifVersion (0 for any), within 5 s in any
// state: when no node logs it out in time, it is deleted without.
func (d *Desk) Remove(ctx context.Context, account, instance domain.ID, ifVersion int64) error {
	gone, err := d.wishes.WishRemoved(ctx, account, instance, ifVersion)
	if err != nil || gone {
		return err
	}
	d.wake()
	_, err = d.await(ctx, obeyTimeout, account, instance, func(*domain.LinkState) (bool, error) { return false, nil })
	if err == nil {
		err = d.wishes.RemoveInstance(ctx, account, instance)
	}
	if domain.CodeOf(err) == domain.CodeInstanceNotFound {
		return nil
	}
	return err
}

func alreadyConnected() *domain.Error {
	return domain.NewError(domain.CodeAlreadyConnected,
		"The instance is connected already. Disconnect it first to pair it with another phone.")
}

func instanceNotConnected() *domain.Error {
	return domain.NewError(domain.CodeInstanceNotConnected, "The instance is not connected. Connect it first.")
}

func stillLeaving() *domain.Error {
	return &domain.Error{
		Code: domain.CodeUnavailable, RetryAfter: 5 * time.Second,
		Message: "The instance is still being disconnected. Connect it again in a few seconds.",
	}
}

// notConnected says why Connect has neither a code nor a connection to show.
func notConnected(st *domain.LinkState) *domain.Error {
	e := &domain.Error{
		Code: domain.CodeUnavailable, RetryAfter: 5 * time.Second,
		Message: "There is no code yet. The connection is still being opened: ask for the code again in a few seconds.",
	}
	if why, ok := st.Reason.Explain(); ok && st.Reason != domain.ReasonNeverConnected {
		e.Message = why.Message + " " + why.Action
	}
	return e
}
