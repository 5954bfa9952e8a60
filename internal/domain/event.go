package domain

import (
	"math/bits"
	"time"
)

// EventSet is a set of event types, one bit each.
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
	instanceEventEnd
	EventWebhookFailing  = instanceEventEnd      // an endpoint has refused everything for a while
	EventWebhookDisabled = instanceEventEnd << 1 // an endpoint gets nothing any more
	eventEnd             = instanceEventEnd << 2
)

const (
	// AllEvents holds every event type that an instance reports.
	AllEvents = instanceEventEnd - 1
	// AccountEvents holds those that belong to no instance.
	AccountEvents = EventWebhookFailing | EventWebhookDisabled
	// EveryEvent holds all there are.
	EveryEvent = eventEnd - 1
)

// eventNames is indexed by bit number.
var eventNames = [...]string{
	"message.received", "message.sent", "message.delivered", "message.read", "message.failed",
	"instance.connected", "instance.disconnected", "instance.qr_updated",
	"webhook.failing", "webhook.disabled",
}

// ParseEvents reads event names. The second result is the first name that is no event.
func ParseEvents(names []string) (set EventSet, unknown string) {
	return parseBits[EventSet](eventNames[:], names)
}

// Names lists the events in s in their fixed order; never nil.
func (s EventSet) Names() []string { return bitNames(eventNames[:], s) }

// Name returns the name of a set of one event.
func (s EventSet) Name() string {
	if i := bits.TrailingZeros32(uint32(s)); i < len(eventNames) {
		return eventNames[i]
	}
	return ""
}

// Event is something that happened. It never changes.
type Event struct {
	AccountID  ID
	InstanceID ID // zero for events of the account itself
	ID         ID // evt_…
	// Position is the event's place in its account, 1, 2, 3 and so on in the order of the commits: who has
	// seen one has seen all before it.
	Position int64
	Sequence int64    // its place among the events of its instance: 1, 2, 3 and so on; 0 without an instance
	Type     EventSet // one
	At       time.Time
	// Data is a JSON object as JavaScript's JSON.stringify would write it (see CanonicalJSON).
	Data []byte
}

// EventPlace is the place of an event in its account. The zero one is before the first.
type EventPlace struct {
	Position int64
	ID       ID
}

// EventFilter narrows a list of events. Its zero value matches all.
type EventFilter struct {
	Types     EventSet // 0 for all
	Instances []ID     // nil for all; a caller that may see only some names them here
}

// Matches reports whether the filter lets an event through. Events of the account itself pass only where all
// instances do.
func (f EventFilter) Matches(e *Event) bool {
	if f.Types != 0 && f.Types&e.Type == 0 {
		return false
	}
	if f.Instances == nil {
		return true
	}
	for _, id := range f.Instances {
		if id == e.InstanceID {
			return true
		}
	}
	return false
}
