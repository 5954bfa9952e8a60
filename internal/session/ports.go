package session

import (
	"context"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// Driver opens connections of one kind.
type Driver interface {
	// Open begins one attempt to connect. It reaches no network before it returns; what happens is told to
	// sink. The link lives until LinkDown, LinkLoggedOut or LinkPairingEnded, or until it is closed. An
	// error means that nothing was begun; it must never be answered by a new pairing. For a target without
	// JID, LinkPaired may come first and no code at all: the driver kept a pairing that nobody recorded.
	Open(ctx context.Context, t domain.LinkTarget, sink domain.LinkSink) (Link, error)
	// Forget deletes the pairing of an instance that has no link, also one that nobody has recorded, without the
	// network: WhatsApp does not learn of it. Without a pairing, it does nothing.
	Forget(ctx context.Context, t domain.LinkTarget) error
	// Paired returns the instances, of whatever node, whose pairings are kept.
	Paired(ctx context.Context) ([]domain.LinkTarget, error)
}

// Link is one attempt to connect, and the connection that comes of it.
type Link interface {
	// RequestPairingCode asks for a code for the phone, digits only, once the connection is open; the code
	// arrives as LinkPairingCode. For targets without JID.
	RequestPairingCode(ctx context.Context, phone string) error
	// Ping makes a round trip to the server. Close may be called meanwhile, which ends it.
	Ping(ctx context.Context) (time.Duration, error)
	// Logout unlinks the device at WhatsApp, waiting for the login as long as ctx allows, and forgets it
	// here even if that fails. Without a device, it does nothing. Close is still needed.
	Logout(ctx context.Context) error
	// Close drops the connection and keeps the pairing. No event comes after it returns. It may be repeated.
	Close()
}

// Store is what a node needs of the database. Errors are domain.CodeUnavailable when it cannot be reached,
// marked with domain.ErrDatabaseDown where it is known to serve nobody.
type Store interface {
	// JoinNode adds a node that is alive for ttl. alone removes all others: no other process uses the database.
	JoinNode(ctx context.Context, node domain.Node, ttl time.Duration, alone bool) error
	// RenewNode keeps a node alive for ttl from now and returns all that it holds. ErrLeaseLost when it has
	// been removed, and everything that it held with it.
	RenewNode(ctx context.Context, node domain.Node, ttl time.Duration) ([]domain.Lease, error)
	// LeaveNode removes a node and frees what it holds. It need not exist.
	LeaveNode(ctx context.Context, node domain.ID) error
	// ReapNodes removes the nodes that have expired, frees what they held, and returns how many there were.
	ReapNodes(ctx context.Context) (int, error)
	// Fleet returns the nodes and how many instances are wanted. Late are those that expire within soon.
	Fleet(ctx context.Context, soon time.Duration) (domain.Fleet, error)
	// ClaimLinks takes at most limit wanted instances that nobody holds, those first that wait longest.
	ClaimLinks(ctx context.Context, node domain.ID, limit int) ([]domain.LinkWish, error)
	// ChangedWishes returns the wishes about instances of the node that have not been acted upon.
	ChangedWishes(ctx context.Context, node domain.ID) ([]domain.LinkWish, error)
	// LoseUnheld writes down that wanted instances which no node holds are not connected any more: at most limit of
	// those that count as such and have given no sign of life for silentFor. It returns how many there were.
	LoseUnheld(ctx context.Context, silentFor time.Duration, limit int) (int, error)
	// SaveLinkFacts records facts, at most one for each instance, and returns the leases that the node
	// does not hold (any more): of those nothing was recorded.
	SaveLinkFacts(ctx context.Context, node domain.ID, facts []domain.LinkFact) (lost []domain.Lease, err error)
	// Deleted returns those of the instances that do not exist.
	Deleted(ctx context.Context, of []domain.LinkTarget) ([]domain.LinkTarget, error)
	// RemoveLink deletes an instance that the node holds. ErrLeaseLost when it does not.
	RemoveLink(ctx context.Context, node domain.ID, lease domain.Lease) error
}
