package domain

// ReasonCode says by machine why an instance is not connected.
type ReasonCode string

// The reasons. They are stored: never change one.
const (
	ReasonNeverConnected     ReasonCode = "never_connected"
	ReasonDisconnectedByUser ReasonCode = "disconnected_by_user"
	ReasonLoggedOut          ReasonCode = "logged_out"
	ReasonReplaced           ReasonCode = "replaced"
	ReasonConnectionLost     ReasonCode = "connection_lost"
	ReasonServerUnreachable  ReasonCode = "server_unreachable"
	ReasonNotResponding      ReasonCode = "not_responding"
	ReasonTemporaryBan       ReasonCode = "temporary_ban"
	ReasonClientOutdated     ReasonCode = "client_outdated"
	ReasonConnectRefused     ReasonCode = "connect_refused"
	ReasonPairingTimeout     ReasonCode = "pairing_timeout"
	ReasonPairingFailed      ReasonCode = "pairing_failed"
	ReasonProxyFailed        ReasonCode = "proxy_failed"
	ReasonRestarting         ReasonCode = "restarting"
)

// StatusReason explains a status to people: what happened, and what to do about it.
type StatusReason struct {
	Code    ReasonCode
	Message string
	Action  string
}

const (
	actionScan = "Connect the instance and scan the QR code with the phone."
	actionWait = "Nothing needs to be done: the connection is tried again by itself."
)

// reasons explains each reason.
var reasons = map[ReasonCode]StatusReason{
	ReasonNeverConnected:     {Message: "This instance has not been connected yet.", Action: actionScan},
	ReasonDisconnectedByUser: {Message: "The instance was disconnected through the API.", Action: actionScan},
	ReasonLoggedOut:          {Message: "The phone removed this device from its linked devices.", Action: actionScan},
	ReasonReplaced: {Message: "Another program took over this connection with the same pairing.",
		Action: "Stop the other program, then connect the instance again. It is not tried again by itself, because the two would throw each other out for ever."},
	ReasonConnectionLost:    {Message: "The connection to WhatsApp was lost.", Action: actionWait},
	ReasonServerUnreachable: {Message: "WhatsApp's servers cannot be reached.", Action: actionWait},
	ReasonNotResponding:     {Message: "WhatsApp's server stopped answering on this connection.", Action: actionWait},
	ReasonTemporaryBan: {Message: "WhatsApp has banned this number for some time.",
		Action: "Wait: the connection is tried again when the ban ends. Send less, and only to people who expect it."},
	ReasonClientOutdated: {Message: "WhatsApp no longer accepts this version of the software.",
		Action: "Ask the operator to update Pombal."},
	ReasonConnectRefused: {Message: "WhatsApp refused the connection.",
		Action: "Nothing needs to be done at first: it is tried again by itself, more and more seldom. If it lasts, disconnect the instance and pair it anew."},
	ReasonPairingTimeout: {Message: "Nobody scanned the QR code or typed the pairing code in time.",
		Action: "Connect the instance again and use the new code within a minute."},
	ReasonPairingFailed: {Message: "The phone and WhatsApp did not complete the pairing.",
		Action: "Connect the instance again and use the new code."},
	ReasonProxyFailed: {Message: "The proxy of this instance does not work. It is never bypassed.",
		Action: "Check the proxy's address and password. The connection is tried again by itself."},
	ReasonRestarting: {Message: "The connection is being opened again.", Action: actionWait},
}

// Explain returns the explanation of a reason. The second result is false for "" and for a code this
// version does not know (a newer node may have written it).
func (c ReasonCode) Explain() (StatusReason, bool) {
	reason, ok := reasons[c]
	reason.Code = c
	return reason, ok
}
