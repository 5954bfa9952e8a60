// Package webhook knows where events may be sent. Every URL that a customer gives, of a webhook or of a proxy,
// passes through its guard, so that nobody can make Pombal call into the network that it runs in.
package webhook
