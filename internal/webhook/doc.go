// Package webhook hands events to the URLs that customers give.
//
// A Client makes one attempt: it signs an event, posts it, and says what came of it. A Worker makes all attempts that
// are due, in lanes that it shares with the workers of other nodes: at once, and by a fixed schedule after failures.
//
// Every URL that a customer gives, of a webhook or of a proxy, passes through the guard of this package, so that nobody
// can make Pombal call into the network that it runs in.
package webhook
