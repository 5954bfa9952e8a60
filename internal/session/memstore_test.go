package session

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// memStore keeps nodes and links in memory, by the same rules as the real store.
type memStore struct {
	mu    sync.Mutex
	nodes map[domain.ID]*memNode
	links map[domain.ID]*memLink
	down  error                     // what every call fails with
	downs map[domain.ID]error       // the same for one node
	delay time.Duration             // of every call
	lied  func(method string) error // a chance to fail after the change was made
	calls map[string]int
}

type memNode struct {
	domain.Node
	expires time.Time
}

type memLink struct {
	domain.LinkWish
	in          domain.Instance
	node        domain.ID
	wanted      bool
	since       time.Time
	acted       int64
	code        domain.LinkCode
	latency     time.Duration
	changes     []domain.Status
	unownedFrom time.Time
}

func newMemStore() *memStore {
	return &memStore{nodes: map[domain.ID]*memNode{}, links: map[domain.ID]*memLink{}, calls: map[string]int{}, downs: map[domain.ID]error{}}
}

// enter begins a call: it waits, fails if it should, and locks.
func (s *memStore) enter(ctx context.Context, method string, node domain.ID) (leave func(), err error) {
	s.mu.Lock()
	delay, down := s.delay, errors.Join(s.down, s.downs[node])
	s.calls[method]++
	s.mu.Unlock()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return nil, domain.Unavailable(ctx.Err())
		}
	}
	if down != nil {
		return nil, domain.Unavailable(down)
	}
	s.mu.Lock()
	return s.mu.Unlock, nil
}

func (s *memStore) setDown(err error) { s.locked(func() { s.down = err }) }

func (s *memStore) locked(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
}

func (s *memStore) JoinNode(ctx context.Context, node domain.Node, ttl time.Duration, alone bool) error {
	leave, err := s.enter(ctx, "JoinNode", node.ID)
	if err != nil {
		return err
	}
	defer leave()
	if alone {
		for id := range s.nodes {
			s.remove(id)
		}
	}
	s.nodes[node.ID] = &memNode{node, time.Now().Add(ttl)}
	return nil
}

func (s *memStore) remove(node domain.ID) {
	delete(s.nodes, node)
	for _, l := range s.links {
		if l.node == node {
			s.free(l)
		}
	}
}

func (s *memStore) free(l *memLink) { l.node, l.unownedFrom = domain.ID{}, time.Now() }

func (s *memStore) RenewNode(ctx context.Context, node domain.Node, ttl time.Duration) (held []domain.Lease, err error) {
	leave, err := s.enter(ctx, "RenewNode", node.ID)
	if err != nil {
		return nil, err
	}
	defer leave()
	n := s.nodes[node.ID]
	if n == nil {
		return nil, domain.ErrLeaseLost
	}
	n.expires, n.Held = time.Now().Add(ttl), node.Held
	for _, l := range s.links {
		if l.node == node.ID {
			held = append(held, l.Lease)
		}
	}
	return held, nil
}

func (s *memStore) LeaveNode(ctx context.Context, node domain.ID) error {
	leave, err := s.enter(ctx, "LeaveNode", node)
	if err != nil {
		return err
	}
	defer leave()
	s.remove(node)
	return nil
}

func (s *memStore) ReapNodes(ctx context.Context) (n int, err error) {
	leave, err := s.enter(ctx, "ReapNodes", domain.ID{})
	if err != nil {
		return 0, err
	}
	defer leave()
	for id, node := range s.nodes {
		if node.expires.Before(time.Now()) {
			s.remove(id)
			n++
		}
	}
	return n, nil
}

func (s *memStore) Fleet(ctx context.Context, soon time.Duration) (f domain.Fleet, err error) {
	leave, err := s.enter(ctx, "Fleet", domain.ID{})
	if err != nil {
		return f, err
	}
	defer leave()
	for _, n := range s.nodes {
		n.Late = n.expires.Before(time.Now().Add(soon))
		f.Nodes = append(f.Nodes, n.Node)
	}
	for _, l := range s.links {
		if l.wanted {
			f.Wanted++
		}
	}
	return f, nil
}

func (s *memStore) ClaimLinks(ctx context.Context, node domain.ID, limit int) (wishes []domain.LinkWish, err error) {
	leave, err := s.enter(ctx, "ClaimLinks", node)
	if err != nil {
		return nil, err
	}
	defer leave()
	if s.nodes[node] == nil {
		return nil, domain.ErrLeaseLost
	}
	var free []*memLink
	for _, l := range s.links {
		if l.wanted && l.node.IsZero() {
			free = append(free, l)
		}
	}
	slices.SortFunc(free, func(a, b *memLink) int { return a.since.Compare(b.since) })
	for _, l := range free[:min(limit, len(free))] {
		l.node = node
		l.Epoch++
		wishes = append(wishes, l.LinkWish)
	}
	if s.lied != nil {
		if err := s.lied("ClaimLinks"); err != nil {
			return nil, err
		}
	}
	return wishes, nil
}

func (s *memStore) ChangedWishes(ctx context.Context, node domain.ID) (wishes []domain.LinkWish, err error) {
	leave, err := s.enter(ctx, "ChangedWishes", node)
	if err != nil {
		return nil, err
	}
	defer leave()
	for _, l := range s.links {
		if l.node == node && l.Seq != l.acted {
			wishes = append(wishes, l.LinkWish)
		}
	}
	return wishes, nil
}

func (s *memStore) SaveLinkFacts(ctx context.Context, node domain.ID, facts []domain.LinkFact) (lost []domain.Lease, err error) {
	leave, err := s.enter(ctx, "SaveLinkFacts", node)
	if err != nil {
		return nil, err
	}
	defer leave()
	for _, f := range facts {
		l := s.links[f.Instance]
		if l == nil || l.node != node || l.Epoch != f.Epoch {
			lost = append(lost, f.Lease)
			continue
		}
		s.apply(l, f)
	}
	return lost, nil
}

func (s *memStore) LoseUnheld(ctx context.Context, silentFor time.Duration, limit int) (n int, err error) {
	leave, err := s.enter(ctx, "LoseUnheld", domain.ID{})
	if err != nil {
		return 0, err
	}
	defer leave()
	status, reason := domain.StatusConnecting, domain.ReasonConnectionLost
	for _, l := range s.links {
		if l.wanted && l.node.IsZero() && l.in.Status == domain.StatusConnected && time.Since(l.in.LastSeenAt) > silentFor && n < limit {
			s.apply(l, domain.LinkFact{State: domain.InstanceState{Status: &status, Reason: &reason}})
			n++
		}
	}
	return n, nil
}

func (s *memStore) apply(l *memLink, f domain.LinkFact) {
	if f.State.Status != nil && *f.State.Status != l.in.Status {
		l.in.Status = *f.State.Status
		l.changes = append(l.changes, l.in.Status)
	}
	if f.State.Reason != nil {
		l.in.Reason = *f.State.Reason
	}
	if f.State.Phone != nil {
		l.in.Phone = *f.State.Phone
	}
	if f.State.ProfileName != nil {
		l.in.ProfileName = *f.State.ProfileName
	}
	pickTime(&l.in.ConnectedAt, f.State.ConnectedAt)
	pickTime(&l.in.LastSeenAt, f.State.LastSeenAt)
	if f.Code != nil && (f.Code.Text == "" || f.Code.Method == l.Method) {
		l.code = *f.Code
	}
	if f.JID != nil {
		l.JID = *f.JID
	}
	if f.RetryAt != nil {
		l.RetryAt = *f.RetryAt
	}
	if f.Latency != 0 {
		l.latency = f.Latency
	}
	l.acted = max(l.acted, f.Seq)
	if f.Ended && l.Seq == f.Seq {
		l.Desired, l.wanted = domain.DesiredDisconnected, false
	}
	if f.Release {
		s.free(l)
	}
}

func (s *memStore) Deleted(ctx context.Context, of []domain.LinkTarget) ([]domain.LinkTarget, error) {
	leave, err := s.enter(ctx, "Deleted", domain.ID{})
	if err != nil {
		return nil, err
	}
	defer leave()
	return slices.DeleteFunc(slices.Clone(of), func(t domain.LinkTarget) bool { return s.links[t.Instance] != nil }), nil
}

func (s *memStore) RemoveLink(ctx context.Context, node domain.ID, lease domain.Lease) error {
	leave, err := s.enter(ctx, "RemoveLink", node)
	if err != nil {
		return err
	}
	defer leave()
	if l := s.links[lease.Instance]; l == nil || l.node != node || l.Epoch != lease.Epoch {
		return domain.ErrLeaseLost
	}
	delete(s.links, lease.Instance)
	return nil
}

func (s *memStore) LinkState(ctx context.Context, _, instance domain.ID) (st domain.LinkState, err error) {
	err = s.change(ctx, "LinkState", instance, func(l *memLink) {
		st = domain.LinkState{
			Desired: l.Desired, Status: l.in.Status, Reason: l.in.Reason, Method: l.Method, PairPhone: l.Phone, Code: l.code,
			Paired: l.JID != "", Held: !l.node.IsZero(), Settled: l.Seq == l.acted, Latency: l.latency,
			ConnectedAt: l.in.ConnectedAt, LastSeenAt: l.in.LastSeenAt,
		}
	})
	return st, err
}

func (s *memStore) change(ctx context.Context, method string, instance domain.ID, do func(*memLink)) error {
	leave, err := s.enter(ctx, method, domain.ID{})
	if err != nil {
		return err
	}
	defer leave()
	l := s.links[instance]
	if l == nil {
		return domain.InstanceNotFound()
	}
	do(l)
	return nil
}

func (s *memStore) changeUnlessLeaving(ctx context.Context, method string, instance domain.ID, do func(*memLink)) error {
	var refused error
	err := s.change(ctx, method, instance, func(l *memLink) {
		if l.Desired == domain.DesiredDisconnected && l.Seq != l.acted {
			refused = domain.ErrLeaving
			return
		}
		do(l)
	})
	return errors.Join(err, refused)
}

func (s *memStore) WishConnected(ctx context.Context, _, instance domain.ID, how domain.PairingWish) error {
	return s.changeUnlessLeaving(ctx, "WishConnected", instance, func(l *memLink) {
		if l.Method != how.Method || l.Phone != how.Phone {
			l.code = domain.LinkCode{}
		}
		l.Method, l.Phone, l.Desired, l.AskedAt, l.RetryAt = how.Method, how.Phone, domain.DesiredConnected, time.Now(), time.Time{}
		s.want(l)
	})
}

func (s *memStore) want(l *memLink) {
	l.Seq++
	if !l.wanted {
		l.wanted, l.since, l.unownedFrom = true, time.Now(), time.Now()
	}
}

func (s *memStore) WishDisconnected(ctx context.Context, _, instance domain.ID) error {
	return s.change(ctx, "WishDisconnected", instance, func(l *memLink) {
		l.Desired = domain.DesiredDisconnected
		s.want(l)
	})
}

func (s *memStore) WishRestarted(ctx context.Context, _, instance domain.ID) error {
	return s.changeUnlessLeaving(ctx, "WishRestarted", instance, func(l *memLink) {
		l.Desired, l.AskedAt, l.RetryAt = domain.DesiredConnected, time.Now(), time.Time{}
		l.Restarts++
		s.want(l)
	})
}

func (s *memStore) WishRemoved(ctx context.Context, _, instance domain.ID, _ int64) (gone bool, err error) {
	err = s.change(ctx, "WishRemoved", instance, func(l *memLink) {
		if l.node.IsZero() && l.JID == "" {
			delete(s.links, instance)
			gone = true
			return
		}
		l.Remove, l.Desired = true, domain.DesiredDisconnected
		s.want(l)
	})
	return gone, err
}

func (s *memStore) RemoveInstance(ctx context.Context, _, instance domain.ID) error {
	return s.change(ctx, "RemoveInstance", instance, func(*memLink) { delete(s.links, instance) })
}

// add puts an instance into the store; jid "" is for one that has never been paired.
func (s *memStore) add(jid string) domain.ID {
	id := domain.NewID(time.Now())
	s.locked(func() {
		l := &memLink{since: time.Now(), unownedFrom: time.Now(), wanted: jid != ""}
		l.Account, l.Instance, l.JID, l.Desired, l.Method = domain.ID{1}, id, jid, domain.DesiredDisconnected, domain.PairByQR
		l.in.Status = domain.StatusDisconnected
		if jid != "" {
			l.Desired, l.Seq = domain.DesiredConnected, 1
		}
		s.links[id] = l
	})
	return id
}

// link returns a copy of an instance's row; ok is false when it is gone.
func (s *memStore) link(id domain.ID) (l memLink, ok bool) {
	s.locked(func() {
		if p := s.links[id]; p != nil {
			l, ok = *p, true
			l.changes = slices.Clone(p.changes)
		}
	})
	return l, ok
}
