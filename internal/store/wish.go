package store

import (
	"context"
	"errors"
	"time"

	"gorm.io/gorm"

	"github.com/pombal-api/pombal/internal/domain"
)

// ChangedWishes returns the wishes about instances of a node that have not been acted upon.
func (s *Store) ChangedWishes(ctx context.Context, node domain.ID) ([]domain.LinkWish, error) {
	wishes, err := load(ctx, s, wall{pass: passLinks}, func(sc scope) (wishes []domain.LinkWish, err error) {
		var rows []linkRow
		err = sc.all(&linkRow{}).Where(eq("node_id", uid(node))).Where(condition{"wish <> acted", nil}).Find(&rows).Error
		for i := range rows {
			wishes = append(wishes, rows[i].domain())
		}
		return wishes, err
	})
	return wishes, marked(err)
}

// WishConnected makes connected the wish, asked for now. CodeInstanceNotFound; domain.ErrLeaving while a disconnect is
// still to be obeyed.
func (s *Store) WishConnected(ctx context.Context, account, instance domain.ID, how domain.PairingWish) error {
	return s.wish(ctx, account, instance, func(r *linkRow) error {
		if r.isLeaving() {
			return domain.ErrLeaving
		}
		if r.Method != string(how.Method) || r.PairPhone != optional(how.Phone) {
			r.Code, r.CodeExpires = "", 0
		}
		r.Method, r.PairPhone = string(how.Method), optional(how.Phone)
		r.Desired, r.Asked, r.RetryAt = string(domain.DesiredConnected), millisOf(now()), 0
		return nil
	})
}

// WishDisconnected makes it the wish to log out and be disconnected. CodeInstanceNotFound.
func (s *Store) WishDisconnected(ctx context.Context, account, instance domain.ID) error {
	return s.wish(ctx, account, instance, func(r *linkRow) error {
		r.Desired = string(domain.DesiredDisconnected)
		return nil
	})
}

// WishRestarted asks for a new connection with the same pairing. CodeInstanceNotFound; domain.ErrLeaving as for
// WishConnected.
func (s *Store) WishRestarted(ctx context.Context, account, instance domain.ID) error {
	return s.wish(ctx, account, instance, func(r *linkRow) error {
		if r.isLeaving() {
			return domain.ErrLeaving
		}
		r.Desired, r.Asked, r.RetryAt = string(domain.DesiredConnected), millisOf(now()), 0
		r.Restarts++
		return nil
	})
}

// isLeaving reports whether no node has disconnected the instance yet though that is the wish.
func (r *linkRow) isLeaving() bool {
	return r.Desired == string(domain.DesiredDisconnected) && r.Wish != r.Acted
}

// wish changes what is wanted of an instance.
func (s *Store) wish(ctx context.Context, account, instance domain.ID, change func(*linkRow) error) error {
	return marked(s.write(ctx, wall{account: account}, func(sc scope) error {
		in, err := lockedInstance(sc, instance, 0)
		if err != nil {
			return err
		}
		link, err := lockedLink(sc, instance)
		if err != nil {
			return err
		}
		if err = change(&link); err != nil {
			return err
		}
		if err = saveWish(sc, &link); err != nil || in.Desired == link.Desired {
			return err
		}
		return saveDesired(sc, instance, domain.Desired(link.Desired))
	}))
}

// lockedLink reads the link of an instance that is locked, and makes it if there is none.
func lockedLink(sc scope, instance domain.ID) (link linkRow, err error) {
	err = sc.rows(&link).Where(eq("instance_id", uid(instance))).Clauses(forUpdate()).Take(&link).Error
	if !errors.Is(err, gorm.ErrRecordNotFound) {
		return link, err
	}
	link = linkRow{
		AccountID: uid(sc.wall.account), InstanceID: uid(instance), Asked: millisOf(now()), WantedSince: millisOf(now()),
		Desired: string(domain.DesiredDisconnected), Method: string(domain.PairByQR),
	}
	return link, sc.all(&linkRow{}).Create(&link).Error
}

// saveWish writes a link whose wish has changed. Some node should look after it now.
func saveWish(sc scope, r *linkRow) error {
	r.Wish++
	if !r.Wanted {
		r.Wanted, r.WantedSince = true, millisOf(now())
	}
	return sc.rows(&linkRow{}).Where(eq("instance_id", r.InstanceID)).Updates(map[string]any{
		"wish": r.Wish, "wanted": r.Wanted, "wanted_since": r.WantedSince, "desired": r.Desired, "method": r.Method,
		"pair_phone": r.PairPhone, "asked_at": r.Asked, "retry_at": r.RetryAt, "restarts": r.Restarts,
		"remove": r.Remove, "code": r.Code, "code_expires_at": r.CodeExpires,
	}).Error
}

// WishRemoved asks for an instance to be logged out and deleted, if its version is ifVersion (0 for any). gone
// means that it is deleted already, as there was nothing to log out. CodeInstanceNotFound,
// CodePreconditionFailed.
func (s *Store) WishRemoved(ctx context.Context, account, instance domain.ID, ifVersion int64) (gone bool, _ error) {
	gone, failed := change(ctx, s, wall{account: account}, func(sc scope) (bool, error) {
		in, err := lockedToRemove(sc, instance, ifVersion)
		if err != nil {
			return false, err
		}
		link, err := lockedLink(sc, instance)
		if err != nil {
			return false, err
		}
		// One that is wanted may have been paired by a node that died before it could record that.
		if link.NodeID == (uid{}) && link.DeviceJID == "" && !link.Wanted {
			return true, removeLocked(sc, &in)
		}
		link.Remove, link.Desired = true, string(domain.DesiredDisconnected)
		return false, saveWish(sc, &link)
	})
	return gone, marked(failed)
}

// RemoveLink deletes an instance that a node holds. domain.ErrLeaseLost when it does not.
func (s *Store) RemoveLink(ctx context.Context, node domain.ID, lease domain.Lease) error {
	return marked(s.write(ctx, wall{account: lease.Account}, func(sc scope) error {
		in, err := lockedToRemove(sc, lease.Instance, 0)
		if domain.CodeOf(err) == domain.CodeInstanceNotFound {
			return domain.ErrLeaseLost
		}
		if err != nil {
			return err
		}
		link, err := lockedLink(sc, lease.Instance)
		if err != nil {
			return err
		}
		if domain.ID(link.NodeID) != node || link.Epoch != lease.Epoch {
			return domain.ErrLeaseLost
		}
		return removeLocked(sc, &in)
	}))
}

// RemoveInstance deletes an instance at once, whoever holds it. CodeInstanceNotFound.
func (s *Store) RemoveInstance(ctx context.Context, account, instance domain.ID) error {
	a, err := s.Account(account)
	if err != nil {
		return err
	}
	_, err = a.DeleteInstance(ctx, instance, 0)
	return marked(err)
}

// lockedToRemove locks the totals, then the instance.
func lockedToRemove(sc scope, instance domain.ID, ifVersion int64) (instanceRow, error) {
	if _, err := lockCounts(sc); err != nil {
		return instanceRow{}, orNotFound(err, domain.InstanceNotFound)
	}
	return lockedInstance(sc, instance, ifVersion)
}

// removeLocked deletes an instance, with its link and its webhooks.
func removeLocked(sc scope, in *instanceRow) error {
	if err := lockWebhooksOf(sc, domain.ID(in.ID)); err != nil {
		return err
	}
	if err := sc.rows(&instanceRow{}).Where(eq("id", in.ID)).Delete(&instanceRow{}).Error; err != nil {
		return err
	}
	if err := publish(sc, removedEvent(in.domain())); err != nil {
		return err
	}
	return changeCounts(sc, domain.ID(in.PartnerID), deltas{domain.Status(in.Status): -1})
}

// LinkState returns what is known about an instance's connection, all of it at one moment. CodeInstanceNotFound.
func (s *Store) LinkState(ctx context.Context, account, instance domain.ID) (state domain.LinkState, _ error) {
	err := s.snapshot(ctx, wall{account: account}, func(sc scope) error {
		in, err := boundInstance(sc, instance)
		if err != nil {
			return err
		}
		link := linkRow{Desired: in.Desired}
		err = sc.rows(&link).Where(eq("instance_id", uid(instance))).Take(&link).Error
		if err != nil && !errors.Is(err, gorm.ErrRecordNotFound) {
			return err
		}
		state = linkState(&in, &link)
		return nil
	})
	return state, marked(err)
}

func linkState(in *instanceRow, r *linkRow) domain.LinkState {
	return domain.LinkState{
		Desired: domain.Desired(r.Desired), Status: domain.Status(in.Status), Reason: domain.ReasonCode(in.Reason),
		Method: domain.PairingMethod(r.Method), PairPhone: string(r.PairPhone),
		Code:   domain.LinkCode{Method: domain.PairingMethod(r.Method), Text: string(r.Code), ExpiresAt: r.CodeExpires.time()},
		Paired: r.DeviceJID != "", Held: r.NodeID != (uid{}), Settled: r.Wish == r.Acted,
		Latency: time.Duration(r.LatencyMS) * time.Millisecond, ConnectedAt: in.Connected.time(), LastSeenAt: in.LastSeen.time(),
	}
}
