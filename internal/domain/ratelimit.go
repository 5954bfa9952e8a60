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
