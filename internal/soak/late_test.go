package soak

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/fakewa"
)

// TestLateLogin freezes a node while its instances are logging in, for longer than the lease. When it goes on,
// another node has logged them in, whom it must not throw out.
func TestLateLogin(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	s.start(t, 2)
	subjects := s.populate(t, many(30, 60))
	s.awaitBalance(t, subjects)

	faults := s.wa.Faults()
	if err := faults.Add(fakewa.Fault{Kind: fakewa.SlowAccept, Duration: time.Second}); err != nil {
		t.Fatal(err)
	}
	faults.Cut("")
	pause(t.Context(), 1600*time.Millisecond)
	frozen := s.nodes[0]
	frozen.freeze(t)
	began := time.Now()
	faults.Clear()
	b := s.nodes[1]
	eventually(t, lease+5*time.Second, func() error {
		if n := s.onlineAt(b); n != len(subjects) {
			return fmt.Errorf("%d of %d instances were taken over", n, len(subjects))
		}
		return nil
	})
	t.Logf("taken over after %v", time.Since(began).Round(10*time.Millisecond))
	waiting := 0
	for _, c := range s.wa.Connections() {
		if strings.HasPrefix(c.Remote, frozen.life()) {
			waiting++
		}
	}
	logins := s.wa.Stats().Logins
	frozen.thaw(t)
	pause(t.Context(), time.Second)
	t.Logf("%d connections of the frozen node waited; %d logins", waiting, s.wa.Stats().Logins-logins)
	if waiting == 0 {
		t.Error("the node was frozen too early or too late: it proves nothing")
	}
	s.mustBeTrue(t, 20*time.Second, subjects)
}
