package store

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"syscall"
	"time"

	"gorm.io/gorm"

	"github.com/pombal-api/pombal/internal/domain"
)

// A node is alive while its row is there and has not expired by the database's clock. Locks keep renewing and
// removing apart: who finds its row gone has lost everything, who finds it keeps everything.

// JoinNode adds a node that is alive for ttl. alone removes all others: no other process uses the database.
func (s *Store) JoinNode(ctx context.Context, node domain.Node, ttl time.Duration, alone bool) error {
	return marked(s.write(ctx, wall{}, func(sc scope) error {
		if alone {
			var others []nodeRow
			if err := sc.all(&nodeRow{}).Find(&others).Error; err != nil {
				return err
			}
			if err := removeNodes(sc, others); err != nil {
				return err
			}
		}
		row := nodeRow{
			ID: uid(node.ID), Started: millisOf(now()), Expires: millisOf(now()), Capacity: node.Capacity,
			Held: node.Held, Name: node.Name,
		}
		if err := sc.all(&nodeRow{}).Create(&row).Error; err != nil {
			return err
		}
		_, err := s.prolong(sc, node, ttl)
		return err
	}))
}

// prolong lets a node live for ttl from now, and reports whether it was there.
func (s *Store) prolong(sc scope, node domain.Node, ttl time.Duration) (found bool, err error) {
	update := sc.all(&nodeRow{}).Where(eq("id", uid(node.ID))).Updates(map[string]any{
		"expires_at": fromNow{s.pool != nil, ttl}, "capacity": node.Capacity, "held": node.Held,
	})
	return update.RowsAffected > 0, update.Error
}

// RenewNode keeps a node alive for ttl from now and returns all that it holds. domain.ErrLeaseLost when it has
// been removed, and everything that it held with it.
func (s *Store) RenewNode(ctx context.Context, node domain.Node, ttl time.Duration) ([]domain.Lease, error) {
	leases, err := change(ctx, s, wall{pass: passLinks}, func(sc scope) ([]domain.Lease, error) {
		found, err := s.prolong(sc, node, ttl)
		if err != nil {
			return nil, err
		}
		if !found {
			return nil, domain.ErrLeaseLost
		}
		// Only now, as the row is locked: who removes the node waits, so nothing can be taken away unseen.
		var rows []linkRow
		err = sc.all(&linkRow{}).Select("account_id", "instance_id", "epoch").Where(eq("node_id", uid(node.ID))).Find(&rows).Error
		leases := make([]domain.Lease, len(rows))
		for i := range rows {
			leases[i] = rows[i].lease()
		}
		return leases, err
	})
	return leases, marked(err)
}

// LeaveNode removes a node and frees what it holds. It need not exist.
func (s *Store) LeaveNode(ctx context.Context, node domain.ID) error {
	return marked(s.write(ctx, wall{}, func(sc scope) error { return removeNodes(sc, []nodeRow{{ID: uid(node)}}) }))
}

// removeNodes removes nodes. The foreign key frees their instances.
func removeNodes(sc scope, rows []nodeRow) error {
	if len(rows) == 0 {
		return nil
	}
	ids := make([]any, len(rows))
	for i := range rows {
		ids[i] = rows[i].ID
	}
	return sc.all(&nodeRow{}).Where(in("id", ids)).Delete(&nodeRow{}).Error
}

// ReapNodes removes the nodes that have expired, frees what they held, and returns how many there were.
func (s *Store) ReapNodes(ctx context.Context) (int, error) {
	n, err := change(ctx, s, wall{}, func(sc scope) (int, error) {
		var rows []nodeRow
		err := sc.all(&nodeRow{}).Where(s.expired("expires_at")).Clauses(ascending("id"), skipLocked()).Find(&rows).Error
		if err != nil {
			return 0, err
		}
		return len(rows), removeNodes(sc, rows)
	})
	return n, marked(err)
}

// Fleet returns the nodes and how many instances are wanted. Late are those that expire within soon.
func (s *Store) Fleet(ctx context.Context, soon time.Duration) (domain.Fleet, error) {
	fleet, err := load(ctx, s, wall{pass: passLinks}, func(sc scope) (domain.Fleet, error) {
		var rows []nodeRow
		if err := sc.all(&nodeRow{}).Clauses(ascending("id")).Find(&rows).Error; err != nil {
			return domain.Fleet{}, err
		}
		var late []nodeRow
		if err := sc.all(&nodeRow{}).Where(s.before("expires_at", soon)).Find(&late).Error; err != nil {
			return domain.Fleet{}, err
		}
		var fleet domain.Fleet
		for _, r := range rows {
			isLate := slices.ContainsFunc(late, func(l nodeRow) bool { return l.ID == r.ID })
			fleet.Nodes = append(fleet.Nodes, domain.Node{ID: domain.ID(r.ID), Name: r.Name, Capacity: r.Capacity, Held: r.Held, Late: isLate})
		}
		var wanted int64
		err := sc.all(&linkRow{}).Select(countOfRows).Where(condition{"wanted", nil}).Take(&wanted).Error
		fleet.Wanted = int(wanted)
		return fleet, err
	})
	return fleet, marked(err)
}

// ClaimLinks takes at most limit wanted instances that nobody holds, those first that wait longest, and
// returns what is wished about them. domain.ErrLeaseLost when the node has been removed.
func (s *Store) ClaimLinks(ctx context.Context, node domain.ID, limit int) ([]domain.LinkWish, error) {
	wishes, err := change(ctx, s, wall{pass: passLinks}, func(sc scope) ([]domain.LinkWish, error) {
		var rows []linkRow
		err := sc.all(&linkRow{}).Where(condition{"wanted", nil}).Where(eq("node_id", uid{})).
			Clauses(ascending("wanted_since"), skipLocked()).Limit(limit).Find(&rows).Error
		if err != nil {
			return nil, err
		}
		// In one order everywhere, as these rows stay locked.
		slices.SortFunc(rows, func(a, b linkRow) int { return bytes.Compare(a.InstanceID[:], b.InstanceID[:]) })
		wishes := make([]domain.LinkWish, len(rows))
		for i := range rows {
			rows[i].NodeID = uid(node)
			rows[i].Epoch++
			bound := sc.with(wall{account: domain.ID(rows[i].AccountID)})
			update := bound.rows(&linkRow{}).Where(eq("instance_id", rows[i].InstanceID)).
				Updates(map[string]any{"node_id": rows[i].NodeID, "epoch": rows[i].Epoch})
			if err := update.Error; err != nil {
				return nil, err
			}
			wishes[i] = rows[i].domain()
		}
		return wishes, nil
	})
	if errors.Is(err, gorm.ErrForeignKeyViolated) {
		return nil, domain.ErrLeaseLost
	}
	return wishes, marked(err)
}

// marked adds domain.ErrDatabaseDown to an error by which the server, or its machine, says that nobody is
// served.
func marked(err error) error {
	if err == nil || !servesNobody(err) {
		return err
	}
	return errors.Join(err, domain.ErrDatabaseDown)
}

func servesNobody(err error) bool {
	switch pgCode(err) {
	case "57P01", "57P02", "57P03": // shutting down, crashed, starting up
		return true
	}
	// Refused by the machine; ENOENT and the like is a local socket that nobody serves.
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT)
}
