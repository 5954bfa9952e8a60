package domain

// ReasonCode says by machine why an instance is not connected.
type ReasonCode string

// The reasons known so far.
const (
	ReasonNeverConnected     ReasonCode = "never_connected"
	ReasonDisconnectedByUser ReasonCode = "disconnected_by_user"
	ReasonLoggedOut          ReasonCode = "logged_out"
)

// StatusReason explains a status to people: what happened, and what to do about it.
type StatusReason struct {
	Code    ReasonCode
	Message string
	Action  string
}

// Explain returns the explanation of a reason. The second result is false for "" and for a code this
// version does not know (a newer node may have written it).
func (c ReasonCode) Explain() (StatusReason, bool) {
	switch c {
	case ReasonNeverConnected:
		return StatusReason{c, "This instance has not been connected yet.",
			"Connect the instance and scan the QR code with the phone."}, true
	case ReasonDisconnectedByUser:
		return StatusReason{c, "The instance was disconnected through the API.",
			"Call connect and scan the new QR code to use it again."}, true
	case ReasonLoggedOut:
		return StatusReason{c, "The phone removed this device from its linked devices.",
			"Call connect and scan the new QR code with the phone."}, true
	}
	return StatusReason{}, false
}
