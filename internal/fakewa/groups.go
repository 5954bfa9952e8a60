package fakewa

import (
	"go.mau.fi/whatsmeow/proto/waE2E"
)

// Group is a group chat.
type Group struct{}

func queryGroup(*iq) ([]node, error)  { return nil, iqError{404, "item-not-found"} }
func createGroup(*iq) ([]node, error) { return nil, iqError{501, "feature-not-implemented"} }

func (s *Server) deliverToGroup(*conn, *device, *node, *node) {}

func (s *Server) learnSenderKey(person, *device, *waE2E.SenderKeyDistributionMessage) {}
