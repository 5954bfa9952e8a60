package domain

import "time"

// LinkTarget is an instance as a driver needs it to open its connection.
type LinkTarget struct {
	Account  ID
	Instance ID
	JID      string // the paired device at WhatsApp; "" while there is none
	ProxyURL string // http, https or socks5; "" for a direct connection
	// Held reports whether whoever opens the link still holds the instance; nil for always. It is asked right
	// before a login, from any goroutine: the login of a late owner would throw out the present one.
	Held func() bool
}

// LinkEventKind says what happened to a link.
type LinkEventKind int

// What can happen to a link. The comments name the fields of LinkEvent that are set.
const (
	LinkQR           LinkEventKind = iota // a new code to scan: Text, ExpiresAt
	LinkPairingCode                       // a code to type on the phone: Text, ExpiresAt
	LinkPaired                            // a phone has taken the code, and the pairing is stored: JID, Phone. Login follows
	LinkConnected                         // logged in, can send and receive: JID, Phone and what is known of the profile
	LinkProfile                           // the profile changed: ProfileName, ProfilePicURL, ProfileStatus
	LinkAlive                             // the server has answered: RTT
	LinkDown                              // the connection is gone, the pairing is kept: Reason, RetryAfter, Err
	LinkLoggedOut                         // the connection and the pairing are gone for good: Reason
	LinkPairingEnded                      // no phone took a code; still not paired: Reason, Err
)

// LinkEvent is one thing that happened to a link. After LinkDown, LinkLoggedOut and LinkPairingEnded
// there is none.
type LinkEvent struct {
	Kind          LinkEventKind
	Text          string
	ExpiresAt     time.Time
	JID           string
	Phone         string // digits only
	ProfileName   string
	ProfilePicURL string
	ProfileStatus string
	RTT           time.Duration
	Reason        ReasonCode
	RetryAfter    time.Duration // how long WhatsApp wants to be left alone; 0 when it did not say
	Err           error         // for the operator's log
}

// LinkSink takes the events of one link, in order, one at a time. It returns quickly: the connection
// waits for it.
type LinkSink func(LinkEvent)
