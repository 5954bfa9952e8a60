package domain

import "time"

// AccountStatus says whether an account may use the API.
type AccountStatus string

// The states of an account. A suspended partner suspends its children.
const (
	AccountActive    AccountStatus = "active"
	AccountSuspended AccountStatus = "suspended"
)

// Account is a tenant: it owns instances, keys and everything below them.
type Account struct {
	ID             ID
	ParentID       ID // the partner this account belongs to; zero for none
	Name           string
	ExternalID     string // the partner's own reference, unique among its children; "" for none
	Plan           string // names a Plan of the configuration
	Status         AccountStatus
	Partner        bool     // may have children and act on them
	RequestLimit   int      // requests per minute, overriding the plan's; 0 for the plan's
	AllowedOrigins []string // browser origins that may call with this account's keys, such as "https://app.example.com"
	CreatedAt      time.Time
	UpdatedAt      time.Time
}

// AccountPatch names what to change of an account; nil leaves a field as it is.
type AccountPatch struct {
	Name           *string
	ExternalID     *string // "" clears
	Status         *AccountStatus
	AllowedOrigins *[]string
}

// Plan is what an account has bought. Plans are configuration, not rows.
type Plan struct {
	Name              string         `json:"name"`
	RequestsPerMinute int            `json:"requestsPerMinute"` // per key, and per account over all its keys
	Groups            map[string]int `json:"groups,omitempty"`  // tighter limits per minute for a group of routes, such as "instances"
	MaxInstances      int            `json:"maxInstances"`      // 0 for no limit
}

// AccountAdminPatch is what the operator may change of an account beyond what a partner may; nil leaves
// a field as it is.
type AccountAdminPatch struct {
	AccountPatch
	Plan         *string
	Partner      *bool
	RequestLimit *int
}
