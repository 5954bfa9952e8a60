// Package auth finds out who is calling: it makes and checks API keys, mints and verifies the
// short-lived tokens of front ends (JWT), and yields the principal that every permission check reads.
//
// An API key is found by its public middle part and proven by a keyed digest; what was loaded is
// kept for half a minute, and [Authenticator.Run] drops it within a second of any change of the key or of
// its account, on every node. While changes cannot be seen, nothing is served from memory.
package auth
