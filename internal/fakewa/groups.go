package fakewa

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"google.golang.org/protobuf/proto"
)

// GroupOptions describe a group chat.
type GroupOptions struct {
	Subject string   `json:"subject"`
	Members []string `json:"members"` // numbers of accounts and contacts; the first one is the administrator
}

// Group is a group chat. Its members are named by LID, their numbers stand aside.
type Group struct {
	srv     *Server
	id      string // the user part of its address
	subject string
	created time.Time

	// Guarded by Server.mu.
	members []person
}

// AddGroup makes a group. It fails when a member is unknown, or when there are none.
func (s *Server) AddGroup(o GroupOptions) (*Group, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var members []person
	for _, phone := range o.Members {
		who, ok := s.people[strings.TrimPrefix(phone, "+")]
		if !ok {
			return nil, fmt.Errorf("%w: %s", ErrNobody, phone)
		}
		members = append(members, who)
	}
	return s.foundGroup(o.Subject, members)
}

var errNoMembers = errors.New("fakewa: a group needs a member")

// foundGroup makes a group. The caller holds mu.
func (s *Server) foundGroup(subject string, members []person) (*Group, error) {
	if len(members) == 0 {
		return nil, errNoMembers
	}
	number := len(s.groups) + 1
	g := &Group{srv: s, id: fmt.Sprintf("1203630%011d", number), subject: subject, created: s.now(), members: members}
	s.groups[g.id] = g
	s.unsaved()
	s.notify()
	return g, nil
}

// Groups returns all groups in the order in which they were made.
func (s *Server) Groups() []*Group {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*Group, 0, len(s.groups))
	for _, g := range s.groups {
		list = append(list, g)
	}
	slices.SortFunc(list, func(a, b *Group) int { return strings.Compare(a.id, b.id) })
	return list
}

// Group returns the group of an id.
func (s *Server) Group(id string) (*Group, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, ok := s.groups[id]
	return g, ok
}

// Members returns the members' numbers.
func (g *Group) Members() []string {
	g.srv.mu.Lock()
	defer g.srv.mu.Unlock()
	var list []string
	for _, who := range g.members {
		list = append(list, who.whois().phone)
	}
	return list
}

// ID returns the user part of the group's address.
func (g *Group) ID() string { return g.id }

// JID returns the group's address.
func (g *Group) JID() types.JID { return types.NewJID(g.id, types.GroupServer) }

// has tells whether somebody is a member. The caller holds Server.mu.
func (g *Group) has(who person) bool { return slices.Contains(g.members, who) }

// describe is the answer to a question about the group. The caller holds Server.mu.
func (g *Group) describe() node {
	var members []node
	for i, who := range g.members {
		a := attrs{"jid": who.whois().lid(), "phone_number": who.whois().pn()}
		if i == 0 {
			a["type"] = "superadmin"
		}
		members = append(members, el("participant", a))
	}
	creator := g.members[0].whois()
	return el("group", attrs{
		"id": g.id, "subject": g.subject, "creation": g.created.Unix(), "s_t": g.created.Unix(),
		"addressing_mode": "lid", "size": len(g.members), "creator": creator.lid(), "creator_pn": creator.pn(),
	}, members...)
}

// queryGroup answers who is in a group.
func queryGroup(q *iq) ([]node, error) {
	s := q.c.srv
	s.mu.Lock()
	defer s.mu.Unlock()
	g, ok := s.groups[address(q.n, "to").User]
	switch {
	case !ok:
		return nil, iqError{404, "item-not-found"}
	case !g.has(q.c.device.account):
		return nil, iqError{403, "forbidden"}
	}
	return []node{g.describe()}, nil
}

// listGroups answers which groups the account is in.
func listGroups(q *iq) ([]node, error) {
	s := q.c.srv
	groups := s.Groups()
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []node
	for _, g := range groups {
		if g.has(q.c.device.account) {
			list = append(list, g.describe())
		}
	}
	return []node{el("groups", nil, list...)}, nil
}

// createGroup makes a group for a client. Strangers among the participants are left out.
func createGroup(q *iq) ([]node, error) {
	s := q.c.srv
	s.mu.Lock()
	defer s.mu.Unlock()
	members := []person{q.c.device.account}
	for _, part := range q.body.GetChildrenByTag("participant") {
		who, ok := s.people[address(&part, "jid").User]
		if ok && !slices.Contains(members, who) {
			members = append(members, who)
		}
	}
	g, err := s.foundGroup(text(q.body, "subject"), members)
	if err != nil {
		return nil, iqError{400, "bad-request"}
	}
	return []node{g.describe()}, nil
}

// deliverToGroup gives each member of a group what a client says there: phones decrypt it, linked devices
// get it together with the sender's key, if there is one for them.
func (s *Server) deliverToGroup(ctx context.Context, d *device, n *node) {
	s.mu.Lock()
	g, ok := s.groups[address(n, "to").User]
	if !ok || !g.has(d.account) {
		s.mu.Unlock()
		return
	}
	members := slices.Clone(g.members)
	s.mu.Unlock()
	keys := s.shareSenderKeys(ctx, d, n)
	enc, ok := find(n, "enc")
	if !ok {
		return
	}
	for _, who := range members {
		if account, is := who.(*Account); is {
			s.forwardToGroup(d, n, account, enc, keys)
		}
		if who == person(d.account) {
			continue // the phone has it from the device itself
		}
		m, err := who.signal().decryptFromGroup(ctx, g.JID(), d.lid(), enc)
		if err != nil {
			s.log.Info("fakewa: a member cannot decrypt a message", "phone", who.whois().phone, "error", err)
			s.askAgain(who, d, n, who.whois().lid())
			continue
		}
		s.arrive(who, d, n, who.whois().lid(), m)
	}
}

// shareSenderKeys lets phones learn the sender's key of a group, and returns the parts for linked devices.
func (s *Server) shareSenderKeys(ctx context.Context, d *device, n *node) map[types.JID]*node {
	forDevices := make(map[types.JID]*node)
	participants, ok := find(n, "participants")
	if !ok {
		return forDevices
	}
	for _, part := range participants.GetChildren() {
		enc, ok := find(&part, "enc")
		if !ok {
			continue
		}
		to := address(&part, "jid")
		if to.Device > 0 {
			forDevices[to] = enc
			continue
		}
		s.deliverTo(ctx, d, n, to, enc)
	}
	return forDevices
}

// forwardToGroup gives a message to the account's linked devices, except to the one that has sent it.
func (s *Server) forwardToGroup(d *device, n *node, to *Account, enc *node, keys map[types.JID]*node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, other := range to.linked() {
		if other == d {
			continue
		}
		children := []node{}
		for _, jid := range []types.JID{other.lid(), other.pn()} {
			if key, ok := keys[jid]; ok {
				children = append(children, *key)
			}
		}
		children = append(children, *enc)
		if id, ok := find(n, "device-identity"); ok {
			children = append(children, *id)
		}
		s.enqueue(other, el("message", attrs{
			"from": address(n, "to"), "participant": d.lid(), "participant_pn": d.pn(), "addressing_mode": "lid",
			"id": text(n, "id"), "t": s.stamp(), "type": text(n, "type"), "notify": d.account.profile.name,
		}, children...))
	}
}

// SendToGroup says something in a group and returns the message's id.
func (c *Contact) SendToGroup(ctx context.Context, g *Group, body string) (id string, err error) {
	id = newID()
	m := &waE2E.Message{Conversation: proto.String(body)}
	c.srv.mu.Lock()
	if !g.has(c) {
		c.srv.mu.Unlock()
		return "", fmt.Errorf("%w in the group: %s", ErrNobody, c.profile.phone)
	}
	c.sent.put(id, outgoingMessage{m: m, group: g})
	members := slices.Clone(g.members)
	c.srv.mu.Unlock()
	c.peer.mu.Lock()
	defer c.peer.mu.Unlock()
	enc, key, err := c.peer.encryptForGroup(ctx, g.JID(), m)
	if err != nil {
		return "", err
	}
	for _, who := range members {
		if who == person(c) {
			continue
		}
		who.receive(received(m, Received{ID: id, From: c.profile.phone, Chat: g.id, At: c.srv.now()}))
		if account, is := who.(*Account); is {
			if err := c.sendToMember(ctx, account, c.envelope(id, m, g), enc, key); err != nil {
				return "", err
			}
		}
	}
	return id, nil
}

// sendToMember gives a group's message to the account's devices, with the sender's key for those that have
// not had it. The caller holds the peer's mutex.
func (c *Contact) sendToMember(ctx context.Context, to *Account, envelope attrs, enc node, key *waE2E.Message) error {
	s := c.srv
	s.mu.Lock()
	devices := to.linked()
	s.mu.Unlock()
	for _, d := range devices {
		children := []node{enc}
		known := senderKeyName{group: key.GetSenderKeyDistributionMessage().GetGroupID(), user: d.lid().String()}
		if !c.keyed[known] {
			share, err := c.peer.encrypt(ctx, d.lid(), key, s.bundleOf(d))
			if err != nil {
				return err
			}
			c.keyed[known] = true
			children = []node{share, enc}
		}
		s.mu.Lock()
		s.enqueue(d, el("message", envelope, children...))
		s.mu.Unlock()
	}
	return nil
}
