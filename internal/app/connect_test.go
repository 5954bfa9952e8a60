package app_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/app"
	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/fakewa"
	"github.com/pombal-api/pombal/internal/testkit"
	"github.com/pombal-api/pombal/internal/testkit/apitest"
	"github.com/pombal-api/pombal/pkg/api"
)

// customer is a tenant and its instance, seen through the API only.
type customer struct {
	*apitest.Tenant
	wa    *apitest.WhatsApp
	phone *fakewa.Account
	id    string
}

// connect asks for a code and returns its text.
func (c *customer) connect(t *testing.T) string {
	t.Helper()
	got, err := c.API.Instances.Connect(t.Context(), c.id, api.ConnectInstance{})
	if err != nil {
		t.Fatal(err)
	}
	if got.Status != api.LiveStatusQRPending || got.QRText == nil {
		t.Fatalf("connect answered %+v", got)
	}
	return *got.QRText
}

// pair lets the phone scan a code and waits for the connection.
func (c *customer) pair(t *testing.T, code string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := c.phone.ScanQR(ctx, code); err != nil {
		t.Fatal(err)
	}
	c.awaitConnected(t)
}

// awaitConnected waits until the instance is connected and shows the phone's profile, also in lists.
func (c *customer) awaitConnected(t *testing.T) {
	t.Helper()
	number := c.phone.Phone()
	eventually(t, time.Minute, func() error {
		in, err := c.API.Instances.Get(t.Context(), c.id)
		if err != nil {
			return err
		}
		got := []any{in.Status, text(in.Phone), text(in.ProfileName), text(in.ProfilePicURL), in.StatusReason == nil}
		want := []any{api.InstanceStatusConnected, number, "Owner of " + number, "https://pictures.invalid/" + number, true}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			return fmt.Errorf("it is %v, want %v", got, want)
		}
		return nil
	})
	page, err := c.API.Instances.List(t.Context(), api.ListInstancesParams{Status: api.InstanceStatusFilterConnected})
	if err != nil || len(page.Data) != 1 || page.Pagination.Total != 1 || page.Data[0].ID != c.id {
		t.Errorf("those connected are %+v (%v)", page, err)
	}
	if n := len(c.phone.Devices()); n != 1 {
		t.Errorf("the phone has %d linked devices", n)
	}
}

// disconnect logs the instance out and checks that nothing is left.
func (c *customer) disconnect(t *testing.T) {
	t.Helper()
	if err := c.API.Instances.Disconnect(t.Context(), c.id, api.DisconnectInstance{}); err != nil {
		t.Fatal(err)
	}
	in, err := c.API.Instances.Get(t.Context(), c.id)
	if err != nil || in.Status != api.InstanceStatusDisconnected || in.StatusReason == nil || in.StatusReason.Code != string(domain.ReasonDisconnectedByUser) {
		t.Errorf("after the disconnect: %+v (%v)", in, err)
	}
	if n := len(c.phone.Devices()); n != 0 {
		t.Errorf("the phone has %d linked devices left", n)
	}
	err = c.API.Instances.Disconnect(t.Context(), c.id, api.DisconnectInstance{})
	if api.CodeOf(err) != api.ErrorCodeInstanceNotConnected {
		t.Errorf("a second disconnect: %v", err)
	}
}

func text(s *string) string {
	if s == nil {
		return "null"
	}
	return *s
}

// TestConnectedLife takes an instance through all that happens to it, over real HTTP: paired, the node started
// anew, logged out, paired again.
func TestConnectedLife(t *testing.T) {
	t.Parallel()
	for _, engine := range testkit.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			wa := apitest.NewWhatsApp(t)
			db := apitest.NewDatabase(t, engine)
			s := apitest.StartOn(t, db, wa.Use)
			tenant := s.NewTenant(t)
			c := &customer{Tenant: tenant, wa: wa, phone: wa.Phone(t, "5511999990001"), id: tenant.NewInstance(t, "Sales").ID}
			first := c.connect(t)
			c.pair(t, first)

			s.Stop()
			eventually(t, 10*time.Second, func() error { // the other end learns of it a moment later
				if open := wa.Connections(); len(open) != 0 {
					return fmt.Errorf("the node has stopped, and %v are open", open)
				}
				return nil
			})
			c.Server = apitest.StartOn(t, db, wa.Use)
			c.API = c.Client(t, c.Key)
			if err := wa.WaitForActive(t.Context(), c.phone.Phone(), 1); err != nil {
				t.Fatal(err)
			}
			c.awaitConnected(t)
			if n := wa.Stats().Pairings; n != 1 {
				t.Errorf("there were %d pairings", n)
			}
			if _, err := c.API.Instances.Connect(t.Context(), c.id, api.ConnectInstance{}); api.CodeOf(err) != api.ErrorCodeAlreadyConnected {
				t.Errorf("connect while connected: %v", err)
			}

			c.disconnect(t)
			second := c.connect(t)
			if second == first {
				t.Error("the code is the old one")
			}
			c.pair(t, second)
		})
	}
}

// TestConnectOnAnyNode asks nodes for what another one does.
func TestConnectOnAnyNode(t *testing.T) {
	t.Parallel()
	wa := apitest.NewWhatsApp(t)
	db := apitest.NewDatabase(t, postgres(t))
	nodes := make([]*apitest.Server, 3)
	for i := range nodes {
		nodes[i] = apitest.StartOn(t, db, wa.Use)
	}
	tenant := nodes[0].NewTenant(t)
	c := &customer{Tenant: tenant, wa: wa, phone: wa.Phone(t, "5511999990001"), id: tenant.NewInstance(t, "Sales").ID}
	on := func(i int) *customer {
		c.Server = nodes[i]
		c.API = c.Client(t, c.Key)
		return c
	}
	code := on(0).connect(t)
	if again := on(1).connect(t); again != code {
		t.Error("another node shows another code")
	}
	on(2).pair(t, code)
	if n := wa.Stats().Dials; n > 2 { // to pair, and to log in
		t.Errorf("there were %d connections", n)
	}
	on(2).awaitConnected(t)
	for _, other := range nodes[:2] { // perhaps the one that holds it
		other.Stop()
		if err := wa.WaitForActive(t.Context(), c.phone.Phone(), 1); err != nil {
			t.Fatal(err)
		}
		c.awaitConnected(t)
	}
	c.disconnect(t)
}

// TestNobodyAtWhatsApp holds what is said when WhatsApp cannot be reached, and that it goes on by itself.
func TestNobodyAtWhatsApp(t *testing.T) {
	t.Parallel()
	db := apitest.NewDatabase(t, testkit.Engines()[0])
	s := apitest.StartOn(t, db) // nobody is there
	tenant := s.NewTenant(t)
	in := tenant.NewInstance(t, "Sales")
	_, err := tenant.API.Instances.Connect(t.Context(), in.ID, api.ConnectInstance{})
	if api.CodeOf(err) != api.ErrorCodeUnavailable {
		t.Errorf("connect: %v", err)
	}
	st := tenant.Await(t, in.ID, domain.StatusConnecting)
	if st.Reason != domain.ReasonServerUnreachable {
		t.Errorf("the reason is %s", st.Reason)
	}
	s.Stop()

	wa := apitest.NewWhatsApp(t)
	tenant.Server = apitest.StartOn(t, db, wa.Use)
	tenant.Await(t, in.ID, domain.StatusQRPending)
}

// TestMetricsCountConnections reads what a node says about its instances.
func TestMetricsCountConnections(t *testing.T) {
	t.Parallel()
	wa := apitest.NewWhatsApp(t)
	s := apitest.Start(t, testkit.Engines()[0], wa.Use, func(c *app.Config) { c.NodeCapacity = 2 })
	tenant := s.NewTenant(t)
	tenant.NewConnected(t, wa, "5511999990001")
	waiting := tenant.NewInstance(t, "not paired")
	if _, err := tenant.API.Instances.Connect(t.Context(), waiting.ID, api.ConnectInstance{}); err != nil {
		t.Fatal(err)
	}
	got := series(t, plainClient(t), s.AdminURL)
	if got["pombal_instances_held"] != "2" || got["pombal_instances_online"] != "1" {
		t.Errorf("held %s, online %s", got["pombal_instances_held"], got["pombal_instances_online"])
	}
	third := tenant.NewInstance(t, "too many")
	_, err := tenant.API.Instances.Connect(t.Context(), third.ID, api.ConnectInstance{})
	if api.CodeOf(err) != api.ErrorCodeUnavailable {
		t.Errorf("connect above the capacity: %v", err)
	}
	got = series(t, plainClient(t), s.AdminURL)
	if got["pombal_instances_held"] != "2" || got["pombal_instances_unheld"] != "1" {
		t.Errorf("held %s, unheld %s", got["pombal_instances_held"], got["pombal_instances_unheld"])
	}
}
