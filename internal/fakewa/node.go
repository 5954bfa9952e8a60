package fakewa

import (
	"crypto/rand"
	"encoding/hex"
	"strings"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

// node is a stanza or a part of one. Attributes that hold an address must be types.JID: clients compare
// them with one and overlook strings.
type (
	node  = waBinary.Node
	attrs = waBinary.Attrs
)

// el builds a node with child nodes.
func el(tag string, a attrs, children ...node) node {
	n := node{Tag: tag, Attrs: a}
	if len(children) > 0 {
		n.Content = children
	}
	return n
}

// data builds a node that holds bytes.
func data(tag string, content []byte) node { return node{Tag: tag, Content: content} }

// find descends along the tags. Unlike GetChildByTag it does not answer a missing child with its parent.
func find(n *node, path ...string) (*node, bool) {
	child, ok := n.GetOptionalChildByTag(path...)
	return &child, ok
}

// bytesAt returns the bytes below the path, nil when there are none.
func bytesAt(n *node, path ...string) []byte {
	child, ok := find(n, path...)
	if !ok {
		return nil
	}
	content, _ := child.Content.([]byte)
	return content
}

// keyAt returns the 32 bytes of a key below the path.
func keyAt(n *node, path ...string) (key [32]byte, ok bool) {
	raw := bytesAt(n, path...)
	if len(raw) != len(key) {
		return key, false
	}
	return [32]byte(raw), true
}

// text returns an attribute as a string, whatever it holds; "" when there is none.
func text(n *node, name string) string {
	switch v := n.Attrs[name].(type) {
	case string:
		return v
	case types.JID:
		return v.String()
	}
	return ""
}

// address returns an attribute that holds an address; the empty one otherwise.
func address(n *node, name string) types.JID {
	j, _ := n.Attrs[name].(types.JID)
	return j
}

// newID returns an identifier for a stanza. It cannot be taken for one of a client's, "12.34-56", which
// would match an answer that the client waits for.
func newID() string {
	var raw [8]byte
	_, _ = rand.Read(raw[:]) // never fails
	return "3EB0" + strings.ToUpper(hex.EncodeToString(raw[:]))
}
