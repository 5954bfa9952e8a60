package domain

import "time"

// Integration is how an instance reaches WhatsApp.
type Integration string

// The integrations.
const (
	IntegrationWeb   Integration = "web"   // the multi-device protocol
	IntegrationCloud Integration = "cloud" // Meta's Cloud API
)

// Status is the fact about an instance's connection. The wish is Desired.
type Status string

// The states of a connection, as lists show them.
const (
	StatusConnected    Status = "connected"
	StatusConnecting   Status = "connecting"
	StatusDisconnected Status = "disconnected"
)

// Statuses lists every status in the order in which counters are locked.
func Statuses() []Status { return []Status{StatusConnected, StatusConnecting, StatusDisconnected} }

// Desired is what the customer wants of an instance. Only the customer changes it.
type Desired string

// The wishes.
const (
	DesiredConnected    Desired = "connected"
	DesiredDisconnected Desired = "disconnected"
)

// Instance is one WhatsApp number slot of an account. Text fields that may be unset use "" for
// that; times use the zero time. All times have millisecond precision.
type Instance struct {
	AccountID     ID
	PartnerID     ID // the parent of AccountID; zero for none
	ID            ID
	Name          string
	ExternalID    string // the customer's own reference, unique in the account; "" for none
	Integration   Integration
	Desired       Desired
	Status        Status
	Reason        ReasonCode // why it is not connected; "" for none
	Phone         string     // digits only
	ProfileName   string
	ProfilePicURL string
	ProfileStatus string // the WhatsApp "about" text
	WebhookURL    string
	WebhookEvents EventSet
	// OwnWebhook is, for who stores an instance that has a WebhookURL, the webhook to make of it: its id and its
	// secret. Nobody reads it back.
	OwnWebhook  *Webhook
	AutoRead    bool
	AutoTyping  bool
	TokenDigest []byte // finds the instance by its own token
	TokenSealed []byte // the token itself, sealed to this row
	CreatedAt   time.Time
	UpdatedAt   time.Time
	ConnectedAt time.Time
	LastSeenAt  time.Time
	Version     int64 // grows with every change that callers can see; the ETag
}

// InstancePatch names what to change of an instance; nil leaves a field as it is.
type InstancePatch struct {
	Name          *string
	ExternalID    *string // "" clears
	WebhookURL    *string // "" clears
	WebhookEvents *EventSet
	AutoRead      *bool
	AutoTyping    *bool
	// OwnWebhook is the webhook to make, its id and its secret, where the instance gets a WebhookURL and has
	// none. It is no change by itself.
	OwnWebhook *Webhook
}

// IsEmpty reports whether the patch changes nothing.
func (p InstancePatch) IsEmpty() bool {
	p.OwnWebhook = nil
	return p == InstancePatch{}
}

// InstanceState is what became known about an instance's connection; nil and zero times leave a field
// as it is. Of several states of one instance in a batch, the later one wins.
type InstanceState struct {
	ID            ID
	Status        *Status
	Reason        *ReasonCode // "" clears
	Phone         *string     // "" clears; so below
	ProfileName   *string
	ProfilePicURL *string
	ProfileStatus *string
	ConnectedAt   time.Time // a Status that is not connected clears it
	LastSeenAt    time.Time // changes neither UpdatedAt nor Version: it is no change that a caller would act on
	At            time.Time // when it became known: the new UpdatedAt, if anything else changes
}

// InstanceView is one row of a list, decoded without copying: slices are valid only until the
// callback that received it returns. nil means unset. Times are Unix milliseconds, NoTime for none.
type InstanceView struct {
	AccountID     ID
	ID            ID
	Name          []byte
	ExternalID    []byte
	Integration   []byte
	Status        []byte
	Reason        []byte
	Phone         []byte
	ProfileName   []byte
	ProfilePicURL []byte
	WebhookURL    []byte
	WebhookEvents EventSet
	AutoRead      bool
	AutoTyping    bool
	CreatedAt     int64
	UpdatedAt     int64
	ConnectedAt   int64
	LastSeenAt    int64
}

// NoTime stands for an unset time in an InstanceView.
const NoTime int64 = -1 << 63

// InstanceFilter narrows a list of instances. Its zero value matches all.
type InstanceFilter struct {
	Status     Status // "" for all
	Search     string // part of the name in any case, or part of the phone; "" for all
	ExternalID string // "" for all
	Name       string // exact; "" for all
	Phone      string // exact digits; "" for all
	IDs        []ID   // nil for all; an empty, non-nil list matches nothing
}

// PageRequest asks for one page, ordered by creation time, then id, ascending.
type PageRequest struct {
	Limit  int     // items, at least 1
	Offset int64   // items to skip; ignored with After
	After  *Cursor // the last item already seen
}

// Cursor is a position in a list: after the item that was created at CreatedAt and has this ID.
type Cursor struct {
	CreatedAt time.Time
	ID        ID
}

// PageInfo tells what surrounds a page. Total counts the filter, in the same snapshot as the page.
type PageInfo struct {
	Total   int64
	HasMore bool
	Last    Cursor // of the page's last item; meaningless on an empty page
}
