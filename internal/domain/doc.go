// Package domain is Pombal's vocabulary: accounts, API keys, principals, instances and their
// states, and the errors that callers may see. It imports only the standard library and knows
// neither SQL nor HTTP.
package domain
