package fakewa

import (
	"cmp"
	"slices"
	"time"
)

// ConnectionState tells how far a connection has come.
type ConnectionState string

// The states of a connection, in their order.
const (
	StateHandshake ConnectionState = "handshake" // it has not introduced itself
	StatePairing   ConnectionState = "pairing"   // it waits for a phone to scan or to type
	StateLoggedIn  ConnectionState = "logged_in" // it has been let in
	StateActive    ConnectionState = "active"    // it receives messages
)

// ConnectionInfo describes an open connection.
type ConnectionInfo struct {
	Phone  string          `json:"phone,omitempty"`  // "" before the login
	Device int             `json:"device,omitempty"` // 0 before the login
	State  ConnectionState `json:"state"`
	Since  time.Time       `json:"since"`
	Remote string          `json:"remote"`
}

// Connections returns all open connections, oldest first.
func (s *Server) Connections() []ConnectionInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]ConnectionInfo, 0, len(s.conns))
	for c := range s.conns {
		info := ConnectionInfo{State: c.state, Since: c.since, Remote: c.remote}
		if info.State == "" {
			info.State = StateHandshake
		}
		if c.device != nil {
			info.Phone, info.Device = c.device.account.profile.phone, int(c.device.id)
		}
		list = append(list, info)
	}
	slices.SortFunc(list, func(a, b ConnectionInfo) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Remote, b.Remote))
	})
	return list
}

// Stats counts what has happened since the server began, or since ResetStats.
type Stats struct {
	Dials              int `json:"dials"`              // TCP connections, the refused ones too
	PeakDialsPerSecond int `json:"peakDialsPerSecond"` // the most in one second of the clock
	Logins             int `json:"logins"`
	LoginsRefused      int `json:"loginsRefused"`
	Pairings           int `json:"pairings"`
	KeepAlives         int `json:"keepAlives"`  // answered
	MessagesIn         int `json:"messagesIn"`  // stanzas from clients
	MessagesOut        int `json:"messagesOut"` // stanzas written to clients, each time they are
	Queued             int `json:"queued"`      // stanzas that clients have not acknowledged, now
}

// counters is Stats and what it takes to make it.
type counters struct {
	Stats
	second int64 // the clock's second of thisSecond
	dials  int   // in that second
}

func (c *counters) dial(now time.Time) {
	c.Dials++
	if now.Unix() != c.second {
		c.second, c.dials = now.Unix(), 0
	}
	c.dials++
	c.PeakDialsPerSecond = max(c.PeakDialsPerSecond, c.dials)
}

// Stats returns the counts.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := s.stats.Stats
	stats.Queued = 0
	for number, who := range s.people {
		a, ok := who.(*Account)
		if !ok || number != a.profile.phone { // everybody is in it twice
			continue
		}
		for _, d := range a.devices {
			stats.Queued += len(d.queue) + len(d.inflight)
		}
	}
	return stats
}

// ResetStats sets all counts to 0.
func (s *Server) ResetStats() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats = counters{}
}
