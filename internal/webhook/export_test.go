package webhook

import "net"

// NewClientResolving returns a client that asks a resolver of the test's.
func NewClientResolving(policy *URLPolicy, open Opener, resolver *net.Resolver) *Client {
	return newClient(policy, open, 8, resolver)
}
