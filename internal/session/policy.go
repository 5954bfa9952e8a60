package session

import (
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// policy says what follows a failure.
type policy struct {
	retry bool
	// The n-th try in a row waits floor plus a random part of first * factor^n, at most most.
	floor, first, most time.Duration
	factor             float64
	// shown is the status until it succeeds.
	shown domain.Status
}

// banUnknown is how long a ban lasts when WhatsApp did not say.
const banUnknown = time.Hour

// policyOf is the table of what follows which failure. A reason without retry needs the customer.
func policyOf(reason domain.ReasonCode) policy {
	const connecting, disconnected = domain.StatusConnecting, domain.StatusDisconnected
	switch reason {
	case domain.ReasonConnectionLost, domain.ReasonNotResponding:
		return policy{retry: true, first: time.Second, factor: 2, most: time.Minute, shown: connecting}
	case domain.ReasonServerUnreachable:
		return policy{retry: true, first: 2 * time.Second, factor: 2, most: time.Minute, shown: connecting}
	case domain.ReasonProxyFailed:
		return policy{retry: true, first: 5 * time.Second, factor: 2, most: 5 * time.Minute, shown: connecting}
	case domain.ReasonTemporaryBan: // the floor is what WhatsApp asked for
		return policy{retry: true, floor: banUnknown, first: 30 * time.Second, factor: 1, most: 30 * time.Second, shown: disconnected}
	case domain.ReasonClientOutdated: // until the operator has updated
		return policy{retry: true, floor: time.Hour, first: 5 * time.Minute, factor: 1, most: 5 * time.Minute, shown: disconnected}
	case domain.ReasonRestarting:
		return policy{retry: true, shown: connecting}
	case domain.ReasonReplaced, domain.ReasonLoggedOut, domain.ReasonPairingTimeout, domain.ReasonPairingFailed,
		domain.ReasonDisconnectedByUser, domain.ReasonNeverConnected:
		return policy{shown: disconnected}
	case domain.ReasonConnectRefused:
	}
	// Also what no one has foreseen: more and more seldom.
	return policy{retry: true, floor: time.Second, first: 10 * time.Second, factor: 3, most: time.Hour, shown: connecting}
}

// delay returns how long to wait after failures failures in a row before this one. random is in [0, 1).
func (p policy) delay(failures int, retryAfter time.Duration, random float64) time.Duration {
	window := float64(p.first)
	for range min(failures, 64) {
		if window *= p.factor; window >= float64(p.most) {
			window = float64(p.most)
			break
		}
	}
	floor := p.floor
	if retryAfter > 0 {
		floor = retryAfter
	}
	return floor + time.Duration(window*random)
}
