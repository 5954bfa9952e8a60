package domain

// EventSet is a set of event types that an instance reports, one bit each.
type EventSet uint32

// The event types of the contract. Their numbers are stored: append only.
const (
	EventMessageReceived EventSet = 1 << iota
	EventMessageSent
	EventMessageDelivered
	EventMessageRead
	EventMessageFailed
	EventInstanceConnected
	EventInstanceDisconnected
	EventInstanceQRUpdated
	eventEnd
)

// AllEvents holds every event type.
const AllEvents = eventEnd - 1

// eventNames is indexed by bit number.
var eventNames = [...]string{
	"message.received", "message.sent", "message.delivered", "message.read", "message.failed",
	"instance.connected", "instance.disconnected", "instance.qr_updated",
}

// ParseEvents reads event names. The second result is the first name that is no event.
func ParseEvents(names []string) (set EventSet, unknown string) {
	return parseBits[EventSet](eventNames[:], names)
}

// Names lists the events in s in their fixed order; never nil.
func (s EventSet) Names() []string { return bitNames(eventNames[:], s) }
