package domain

import "math/bits"

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
	for _, name := range names {
		event := eventByName(name)
		if event == 0 {
			return 0, name
		}
		set |= event
	}
	return set, ""
}

func eventByName(name string) EventSet {
	for i, n := range eventNames {
		if n == name {
			return 1 << i
		}
	}
	return 0
}

// Names lists the events in s in their fixed order; never nil.
func (s EventSet) Names() []string {
	names := make([]string, 0, bits.OnesCount32(uint32(s)))
	for i, n := range eventNames {
		if s&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	return names
}
