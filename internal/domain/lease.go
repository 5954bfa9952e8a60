package domain

import (
	"errors"
	"time"
)

var (
	// ErrLeaseLost is what a node is told that acts for an instance, or for itself, without holding the
	// lease any more. It must drop its connections at once.
	ErrLeaseLost = errors.New("the lease is lost")

	// ErrLeaving refuses a wish to connect an instance while a wish to be disconnected has not been obeyed: it would
	// be overtaken.
	ErrLeaving = errors.New("the instance is still to be disconnected")

	// ErrDatabaseDown marks the errors by which the database, or its machine for it, says that it serves
	// nobody at the moment: so nobody can take anything over either. An error without it may concern this
	// node alone.
	ErrDatabaseDown = errors.New("the database serves nobody")
)

// StatusQRPending is the state of an instance whose code waits for a phone. Lists show it as
// StatusConnecting, and it is never stored.
const StatusQRPending Status = "qr_pending"

// What a call about a connection is refused with.
const (
	CodeAlreadyConnected     Code = "already_connected"
	CodeInstanceNotConnected Code = "instance_not_connected"
	CodeOfficialAPIInstance  Code = "official_api_instance"
	CodeInvalidPhoneNumber   Code = "invalid_phone_number"
)

// Node is a serving process. Its life as such begins with a new id.
type Node struct {
	ID       ID
	Name     string // for people
	Capacity int    // how many instances it may hold
	Held     int    // how many it holds, as of its latest renewal
	Late     bool   // it has not renewed in time, so it may be dead
}

// Fleet is what nodes know of each other.
type Fleet struct {
	Nodes  []Node // those that are alive
	Wanted int    // how many instances should be held by some node
}

// Lease says which node holds an instance. Epoch grows with every claim of the instance.
type Lease struct {
	Account  ID
	Instance ID
	Epoch    int64
}

// PairingMethod is how an instance is paired with a phone.
type PairingMethod string

// The methods of pairing.
const (
	PairByQR   PairingMethod = "qrcode"
	PairByCode PairingMethod = "pairing_code"
)

// LinkWish is what is wanted of an instance's connection, as its node sees it.
type LinkWish struct {
	Lease
	Seq         int64   // grows with every change of the wish
	Desired     Desired // whether it should be connected
	Remove      bool    // log out, then delete the instance
	Restarts    int64   // grows with every wish for a new connection
	Method      PairingMethod
	Phone       string    // digits; whose phone pairs by code
	AskedAt     time.Time // when the customer last asked to be connected
	RetryAt     time.Time // no new connection before; zero for any time
	JID         string    // the paired device; "" for none
	ProxySealed []byte    // the proxy's URL, sealed to the instance; nil for none
}

// LinkCode is a code that waits for a phone. Its zero value is none.
type LinkCode struct {
	Method    PairingMethod // of which wish it is; a code of another one than the current is not recorded
	Text      string
	ExpiresAt time.Time
}

// LinkFact is what a node has to record about an instance that it holds. nil leaves a field as it is.
type LinkFact struct {
	Lease
	State   InstanceState // its ID is set by who stores it
	Code    *LinkCode
	JID     *string // "" forgets
	RetryAt *time.Time
	Latency time.Duration // of the last round trip; 0 leaves it as it is
	Seq     int64         // the latest wish that has been acted upon; 0 leaves it as it is
	Ended   bool          // nothing is left to do of the wish Seq: unless there is a newer one, no node needs to hold the instance
	Release bool          // give the lease back
}

// PairingWish is how a customer wants to be connected.
type PairingWish struct {
	Method PairingMethod
	Phone  string // digits, with PairByCode
}

// LinkState is everything known about an instance's connection.
type LinkState struct {
	Desired     Desired
	Status      Status // one of Statuses
	Reason      ReasonCode
	Method      PairingMethod
	PairPhone   string // digits; whose phone pairs by code
	Code        LinkCode
	Paired      bool
	Held        bool          // by some node
	Settled     bool          // the latest wish has been acted upon
	Latency     time.Duration // of the last round trip; 0 when not known
	ConnectedAt time.Time
	LastSeenAt  time.Time
}
