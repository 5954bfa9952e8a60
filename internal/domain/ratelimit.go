package domain

import "time"

// RateLease asks for a part of a bucket's current one-minute window.
type RateLease struct {
	Bucket string // such as "key:…" or "account:…"
	Limit  int    // of the whole window, over all nodes
	Want   int    // how many the node would like
}

// RateGrant is what a node got. Over all nodes, the grants of one window never exceed the limit.
type RateGrant struct {
	Granted int
	Used    int       // granted to all nodes in this window, this grant included
	Window  time.Time // start of the window, by the database's clock
	Now     time.Time // the database's clock
}

// RateBucket is one thing that is counted: a key, an account, or a group of routes of an account.
type RateBucket struct {
	Name  string // the policy's public name: "key", "account", "instances"
	ID    string // what is counted, unique over all buckets: "key:<uuid>"
	Limit int    // requests per one-minute window; 0 or less for no limit
}

// RateDecision says whether one more request fits, and describes the bucket that is nearest to its
// limit (or that refused).
type RateDecision struct {
	Allowed    bool
	Bucket     string
	Limit      int
	Remaining  int
	Reset      time.Time     // when the window ends
	RetryAfter time.Duration // until then, when refused
}
