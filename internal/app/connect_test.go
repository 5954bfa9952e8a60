package app_test

import (
	"testing"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/testkit"
	"github.com/pombal-api/pombal/internal/testkit/apitest"
)

// TestPairingSurvivesARestart pairs an instance, and stops and starts the node.
func TestPairingSurvivesARestart(t *testing.T) {
	t.Parallel()
	for _, engine := range testkit.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			wa := apitest.NewWhatsApp(t)
			db := apitest.NewDatabase(t, engine)
			s := apitest.StartOn(t, db, wa.Use)
			tenant := s.NewTenant(t)
			in, phone := tenant.NewConnected(t, wa, "5511999990001")
			s.Stop()
			if n := len(wa.Connections()); n != 0 {
				t.Errorf("after the stop there are %d connections", n)
			}
			tenant.Server = apitest.StartOn(t, db, wa.Use)
			tenant.Await(t, in.ID, domain.StatusConnected)
			if n := len(phone.Devices()); n != 1 {
				t.Errorf("the phone has %d linked devices", n)
			}
		})
	}
}
