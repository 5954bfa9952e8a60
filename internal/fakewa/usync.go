package fakewa

import (
	"strings"

	"go.mau.fi/whatsmeow/types"
)

// usync answers questions about people: whether they are there, which devices they have, who they are.
func usync(q *iq) ([]node, error) {
	list, ok := find(q.body, "list")
	if !ok {
		return nil, iqError{400, "bad-request"}
	}
	s := q.c.srv
	s.mu.Lock()
	defer s.mu.Unlock()
	query, _ := find(q.body, "query")
	var users []node
	for _, wanted := range list.GetChildren() {
		users = append(users, s.describe(&wanted, query))
	}
	return []node{el("usync", attrs{"sid": text(q.body, "sid"), "mode": text(q.body, "mode")}, el("list", nil, users...))}, nil
}

// describe answers about one person, who is asked for by address or by number. The caller holds mu.
func (s *Server) describe(wanted, query *node) node {
	if number := bytesAt(wanted, "contact"); number != nil {
		return s.describeNumber(string(number), query)
	}
	jid := address(wanted, "jid")
	who, ok := s.people[jid.User]
	if !ok {
		return el("user", attrs{"jid": jid})
	}
	return el("user", attrs{"jid": jid}, s.facts(who, query)...)
}

// describeNumber answers whether a number is on WhatsApp. It comes as "+number@c.us" or without the plus.
func (s *Server) describeNumber(asked string, query *node) node {
	digits, _, _ := strings.Cut(strings.TrimPrefix(asked, "+"), "@")
	who, ok := s.people[digits]
	pn := types.NewJID(digits, types.DefaultUserServer)
	a := attrs{"pn_jid": pn}
	echo := node{Tag: "contact", Attrs: attrs{"type": "out"}, Content: []byte(asked)}
	if !ok || who.whois().phone != digits {
		return el("user", a, echo)
	}
	echo.Attrs["type"] = "in"
	a["jid"] = pn
	if contact, asks := find(query, "contact"); asks && text(contact, "addressing_mode") == "lid" {
		a["jid"] = who.whois().lid()
	}
	return el("user", a, append([]node{echo}, s.facts(who, query)...)...)
}

// facts answers what the query asks about a person. The caller holds mu.
func (s *Server) facts(who person, query *node) []node {
	p := who.whois()
	var facts []node
	for _, asked := range query.GetChildren() {
		switch asked.Tag {
		case "devices":
			facts = append(facts, el("devices", nil, el("device-list", nil, deviceNodes(who)...)))
		case "lid":
			facts = append(facts, el("lid", attrs{"val": p.lid()}))
		case "status":
			facts = append(facts, data("status", []byte(p.about)))
		case "picture":
			if p.picture != "" {
				facts = append(facts, el("picture", attrs{"id": pictureID(p.picture)}))
			}
		}
	}
	return facts
}

// deviceNodes lists the phone and the devices linked to it.
func deviceNodes(who person) []node {
	list := []node{el("device", attrs{"id": 0})}
	if a, ok := who.(*Account); ok {
		for _, d := range a.linked() {
			list = append(list, el("device", attrs{"id": int(d.id), "key-index": int(d.id)}))
		}
	}
	return list
}

// fetchPicture answers where somebody's picture is.
func fetchPicture(q *iq) ([]node, error) {
	s := q.c.srv
	s.mu.Lock()
	defer s.mu.Unlock()
	target := address(q.n, "target")
	who, ok := s.people[target.User]
	if !ok || who.whois().picture == "" {
		return nil, iqError{404, "item-not-found"}
	}
	picture := who.whois().picture
	return []node{el("picture", attrs{
		"id": pictureID(picture), "type": text(q.body, "type"), "url": picture, "direct_path": "/fake/picture",
	})}, nil
}

// pictureID changes with the picture.
func pictureID(address string) string {
	sum := derive(nil, address)
	id := uint64(0)
	for _, b := range sum[:5] {
		id = id<<8 | uint64(b)
	}
	return decimal(id)
}

// fetchPrivacy answers that everybody may see everything.
func fetchPrivacy(*iq) ([]node, error) {
	var categories []node
	for _, name := range []string{"readreceipts", "last", "status", "profile", "online", "groupadd", "calladd"} {
		categories = append(categories, el("category", attrs{"name": name, "value": "all"}))
	}
	return []node{el("privacy", nil, categories...)}, nil
}
