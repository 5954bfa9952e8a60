package soak

import (
	"fmt"
	"testing"
	"time"
)

// TestHandOver stops one of two nodes in order, and lets another one join.
func TestHandOver(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	s.start(t, 2)
	subjects := s.populate(t, many(20, 60))
	s.awaitBalance(t, subjects)
	watch := s.watch(t, subjects)

	began := time.Now()
	s.nodes[0].terminate(t)
	ended := time.Now()
	gone := s.nodes[0]
	s.nodes = s.nodes[1:]
	s.mustBeTrue(t, 5*time.Second, subjects)
	t.Logf("the node stopped in %v, and everything was on the other one after %v",
		ended.Sub(began).Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	watch.check(t, map[string]time.Duration{twice: 0, unowned: 3 * time.Second, idle: 3 * time.Second, away: 5 * time.Second})

	watch = s.watch(t, subjects)
	logins := s.wa.Stats().Logins
	s.nodes = append(s.nodes, gone)
	if err := gone.start(); err != nil {
		t.Fatal(err)
	}
	began = time.Now()
	eventually(t, 30*time.Second, func() error {
		if n := s.onlineAt(gone); n < len(subjects)*4/10 {
			return fmt.Errorf("the new node has %d of %d instances", n, len(subjects))
		}
		return nil
	})
	t.Logf("the new node had its share after %v", time.Since(began).Round(time.Millisecond))
	pause(t.Context(), 3*time.Second) // whether it goes on
	s.mustBeTrue(t, 5*time.Second, subjects)
	moves := s.wa.Stats().Logins - logins
	t.Logf("%d of %d instances moved to the new node", moves, len(subjects))
	if moves > (len(subjects)+1)/2 {
		t.Errorf("%d instances moved, more than the half that the new node is to have", moves)
	}
	watch.check(t, map[string]time.Duration{twice: 0, unowned: 3 * time.Second, idle: 3 * time.Second, away: 5 * time.Second})
}

// onlineAt counts what a node has connected.
func (s *site) onlineAt(n *node) (count int) {
	for _, o := range s.online() {
		if o.process == n.life() {
			count++
		}
	}
	return count
}
