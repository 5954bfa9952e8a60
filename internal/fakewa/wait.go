package fakewa

import (
	"context"
	"fmt"
)

// watch returns a channel that is closed at the next change. The caller holds mu, looks at the state, and
// waits without mu.
func (s *Server) watch() <-chan struct{} {
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.changed
}

// notify wakes whoever waits for a change. The caller holds mu.
func (s *Server) notify() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// WaitFor returns when cond is true, or with an error when ctx ends before. cond is called at once and
// after each change on the server: connections, logins, messages, receipts, faults. It may call the
// server's methods.
func (s *Server) WaitFor(ctx context.Context, cond func() bool) error {
	for {
		s.mu.Lock()
		change := s.watch()
		s.mu.Unlock()
		if cond() {
			return nil
		}
		select {
		case <-change:
		case <-ctx.Done():
			return fmt.Errorf("fakewa: what was waited for did not happen: %w", ctx.Err())
		}
	}
}

// WaitForActive returns when n devices are logged in and receive messages, counting one phone's only, or
// everybody's when phone is "".
func (s *Server) WaitForActive(ctx context.Context, phone string, n int) error {
	return s.WaitFor(ctx, func() bool {
		active := 0
		for _, c := range s.Connections() {
			if c.State == StateActive && (phone == "" || c.Phone == phone) {
				active++
			}
		}
		return active == n
	})
}

// WaitForConnections returns when exactly n connections are open, in whatever state.
func (s *Server) WaitForConnections(ctx context.Context, n int) error {
	return s.WaitFor(ctx, func() bool { return len(s.Connections()) == n })
}
