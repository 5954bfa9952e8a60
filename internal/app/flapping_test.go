package app_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/fakewa"
	"github.com/pombal-api/pombal/pkg/api"
)

const (
	// A connection that is back sooner is not shown to have been away.
	unseen = 2 * time.Second
	// blur is how exactly a test knows when the node has noticed something.
	blur = 1500 * time.Millisecond
)

// cutWhenOnline cuts a connection as soon as it is back. It comes back with one login each time, later and later,
// and is shown to have been away if it was away for a while.
func cutWhenOnline(t *testing.T, s *site) {
	p := s.newConnected(t)
	before := p.version(t)
	s.wa.ResetStats()
	const cuts = 4
	surely, maybe := 0, 0
	for i := range cuts {
		began := time.Now()
		strike((*fakewa.Faults).Cut)(p, t)
		s.waitFor(t, "the next connection", func() bool { return s.wa.Stats().Logins == i+1 })
		p.awaitOnline(t)
		away := time.Since(began)
		t.Logf("back after %v", away.Round(time.Millisecond))
		if away > unseen {
			maybe++
		}
		if away > unseen+blur*slowness {
			surely++
		}
	}
	p.await(t, api.InstanceStatusConnected, "")
	if got := s.wa.Stats(); got.Dials != cuts || got.Logins != cuts {
		t.Errorf("%d dials and %d logins after %d cuts", got.Dials, got.Logins, cuts)
	}
	if n := p.version(t) - before; n < 2*surely || n > 2*maybe {
		t.Errorf("%d visible changes; it was away for long %d to %d times", n, surely, maybe)
	}
}

// cutAtOnce cuts a connection, and the next ones as soon as they are dialed. That is one failure, and there is no
// storm of dials.
func cutAtOnce(t *testing.T, s *site) {
	p := s.newConnected(t)
	before := p.version(t)
	s.wa.ResetStats()
	const cuts = 3
	// None of them gets as far as a login before it is cut.
	if err := s.wa.Faults().Add(fakewa.Fault{Kind: fakewa.Delay, Duration: time.Hour}); err != nil {
		t.Fatal(err)
	}
	cut := map[string]bool{} // by the client's address
	s.waitFor(t, "connections to cut", func() bool {
		for _, c := range s.wa.Connections() {
			if !cut[c.Remote] {
				cut[c.Remote] = true
				s.wa.Faults().Cut("")
			}
		}
		return len(cut) >= cuts
	})
	s.wa.Faults().Clear()
	s.waitFor(t, "a login", func() bool { return s.wa.Stats().Logins == 1 })
	p.await(t, api.InstanceStatusConnected, "")
	if got := s.wa.Stats(); got.Dials > cuts || got.Logins != 1 {
		t.Errorf("%d dials and %d logins, want %d and 1", got.Dials, got.Logins, cuts)
	}
	if n := p.version(t) - before; n > 3 { // another reason is a change too
		t.Errorf("%d visible changes of one failure", n)
	}
	if st := p.link(t); st.Desired != domain.DesiredConnected || !st.Held {
		t.Errorf("in the end: %+v", st)
	}
}

// version is how often the instance has visibly changed.
func (p *patient) version(t *testing.T) int {
	t.Helper()
	var header http.Header
	if _, err := p.tenant.API.Instances.Get(t.Context(), p.id, api.WithHeaderTo(&header)); err != nil {
		t.Fatal(err)
	}
	version, err := strconv.Atoi(strings.Trim(header.Get("ETag"), `"v`))
	if err != nil {
		t.Fatal(err)
	}
	return version
}

// awaitOnline waits until the node has one instance that is logged in, whatever is shown.
func (p *patient) awaitOnline(t *testing.T) {
	t.Helper()
	client := plainClient(t)
	poll(t, func() error {
		const gauge = "pombal_instances_online"
		if n := series(t, client, p.tenant.Server.AdminURL)[gauge]; n != "1" {
			return fmt.Errorf("%s is %s", gauge, n)
		}
		return nil
	})
}
