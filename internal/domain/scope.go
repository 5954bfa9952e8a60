package domain

import "strings"

// ScopeSet is a set of scopes, one bit each.
type ScopeSet uint32

// The scopes a key or token may hold. Their numbers are stored: append only.
const (
	ScopeInstancesRead ScopeSet = 1 << iota
	ScopeInstancesWrite
	ScopeMessagesRead
	ScopeMessagesWrite
	ScopeContactsRead
	ScopeWebhooksRead
	ScopeWebhooksWrite
	ScopeEventsRead
	ScopeKeysWrite
	ScopeAccountsWrite
	scopeEnd
)

// AllScopes holds every scope.
const AllScopes = scopeEnd - 1

// scopeNames is indexed by bit number.
var scopeNames = [...]string{
	"instances:read", "instances:write", "messages:read", "messages:write", "contacts:read",
	"webhooks:read", "webhooks:write", "events:read", "keys:write", "accounts:write",
}

// ScopeNames lists every scope's name.
func ScopeNames() []string { return AllScopes.Names() }

// ParseScopes reads scope names. The second result is the first name that is no scope.
func ParseScopes(names []string) (set ScopeSet, unknown string) {
	return parseBits[ScopeSet](scopeNames[:], names)
}

// Has reports whether every scope of need is in s.
func (s ScopeSet) Has(need ScopeSet) bool { return s&need == need }

// Names lists the scopes in s in their fixed order; never nil.
func (s ScopeSet) Names() []string { return bitNames(scopeNames[:], s) }

// String lists the scopes separated by spaces, as in a token's "scope" claim.
func (s ScopeSet) String() string { return strings.Join(s.Names(), " ") }
