package app_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/fakewa"
	"github.com/pombal-api/pombal/internal/store"
	"github.com/pombal-api/pombal/pkg/api"
)

// obeyed is how long a deletion may take, whatever the state of the instance.
const obeyed = 5 * time.Second * slowness

// condition is a state of an instance, in which it can be deleted and disconnected.
type condition struct {
	name  string
	reach func(s *site, t *testing.T) *patient
	alone bool // it takes a WhatsApp of its own
	idle  bool // there is nothing to disconnect
	// WhatsApp can be told that the device is gone: at once, or after another login, which may take longer than a
	// deletion.
	online, canLogIn bool
}

func conditions() []condition {
	silence := func(xmlns, tag string) fakewa.Fault {
		return fakewa.Fault{Kind: fakewa.SilenceIQ, XMLNS: xmlns, Tag: tag}
	}
	return []condition{
		{name: "never connected", reach: (*site).newPatient, idle: true},
		{name: "QR code", reach: (*site).showingCode},
		{name: "pairing code", reach: (*site).showingPairingCode},
		{name: "scanned, the login hangs", reach: (*site).hangingLogin},
		{name: "scanned, half-open", reach: (*site).hangingPairing, alone: true},
		{name: "connected", reach: (*site).newConnected, online: true},
		{name: "connected, half-open", reach: struck(nil, (*fakewa.Faults).Stall, api.InstanceStatusConnected, "")},
		{name: "logout unanswered", reach: func(s *site, t *testing.T) *patient {
			p := s.newConnected(t)
			p.fault(t, silence("md", "remove-companion-device"))
			return p
		}},
		{name: "unreachable", reach: func(s *site, t *testing.T) *patient {
			p := s.newConnected(t)
			p.losesWhatsApp(t)
			return p
		}, alone: true},
		{name: "unreachable, not paired", reach: func(s *site, t *testing.T) *patient {
			p := s.showingCode(t)
			p.losesWhatsApp(t)
			return p
		}, alone: true},
		{name: "nobody shakes hands", reach: (*site).hangingHandshake, alone: true},
		{name: "refused", reach: struck(&fakewa.Fault{Kind: fakewa.RefuseLogin, Code: 503}, (*fakewa.Faults).Cut,
			api.InstanceStatusConnecting, domain.ReasonServerUnreachable)},
		{name: "banned", reach: struck(&fakewa.Fault{Kind: fakewa.RefuseLogin, Code: 402, Attrs: map[string]string{"code": "101", "expire": "3600"}},
			(*fakewa.Faults).Cut, api.InstanceStatusDisconnected, domain.ReasonTemporaryBan)},
		{name: "replaced", reach: struck(nil, func(f *fakewa.Faults, number string) int { return f.StreamError(number, "", "replaced") },
			api.InstanceStatusDisconnected, domain.ReasonReplaced), canLogIn: true},
		{name: "logged out", reach: func(s *site, t *testing.T) *patient {
			p := s.newConnected(t)
			p.unlink(t)
			p.await(t, api.InstanceStatusDisconnected, domain.ReasonLoggedOut)
			return p
		}, idle: true},
	}
}

// struck returns what makes an instance that was connected, then hit, with a fault that stands.
func struck(fault *fakewa.Fault, blow func(*fakewa.Faults, string) int, status api.InstanceStatus, reason domain.ReasonCode) func(*site, *testing.T) *patient {
	return func(s *site, t *testing.T) *patient {
		p := s.newConnected(t)
		if fault != nil {
			p.fault(t, *fault)
		}
		strike(blow)(p, t)
		p.await(t, status, reason)
		return p
	}
}

func (s *site) showingCode(t *testing.T) *patient {
	t.Helper()
	p := s.newPatient(t)
	p.showCode(t)
	return p
}

func (s *site) showingPairingCode(t *testing.T) *patient {
	t.Helper()
	p := s.newPatient(t)
	p.typable(t)
	return p
}

// hangingLogin makes an instance whose first login after the pairing gets no answer.
func (s *site) hangingLogin(t *testing.T) *patient {
	t.Helper()
	p := s.showingCode(t)
	p.fault(t, fakewa.Fault{Kind: fakewa.SilenceIQ, XMLNS: "passive"})
	p.scan(t)
	s.waitFor(t, "a login", func() bool { return p.connections() == 1 })
	return p
}

// hangingPairing makes an instance whose code a phone has taken, while its line has gone silent.
func (s *site) hangingPairing(t *testing.T) *patient {
	t.Helper()
	p := s.showingCode(t)
	s.wa.Faults().Stall("")
	var scanning sync.WaitGroup
	scanning.Go(func() {
		if err := p.phone.ScanQR(t.Context(), p.code); err == nil {
			t.Error("the pairing was completed on a dead line")
		}
	})
	t.Cleanup(scanning.Wait)
	return p
}

// hangingHandshake makes an instance whose next connection is opened, and not answered.
func (s *site) hangingHandshake(t *testing.T) *patient {
	t.Helper()
	p := s.newConnected(t)
	dials := s.wa.Stats().Dials
	addFault(t, s.wa, fakewa.Fault{Kind: fakewa.SlowAccept, Duration: 6 * time.Second, Times: 1})
	s.wa.Faults().Cut(p.number)
	s.waitFor(t, "a dial", func() bool { return s.wa.Stats().Dials > dials })
	return p
}

// losesWhatsApp cuts the instance off.
func (p *patient) losesWhatsApp(t *testing.T) {
	t.Helper()
	addFault(t, p.wa, fakewa.Fault{Kind: fakewa.RefuseTCP})
	p.wa.Faults().Cut("")
	p.await(t, api.InstanceStatusConnecting, domain.ReasonServerUnreachable)
}

// connections counts the connections of the phone's devices.
func (p *patient) connections() (n int) {
	for _, c := range p.wa.Connections() {
		if c.Phone == p.number {
			n++
		}
	}
	return n
}

// inEachCondition lets test end an instance in each condition. end is called for each site when that is done.
func inEachCondition(t *testing.T, test func(*testing.T, *patient, *condition), end func(*testing.T, *site)) {
	t.Helper()
	onEachEngine(t, func(t *testing.T, shared *site) {
		together(t, conditions(), func(c *condition) string { return c.name }, func(t *testing.T, c *condition) {
			if !c.alone {
				test(t, c.reach(shared, t), c)
				return
			}
			s := newSite(t, shared.engine)
			test(t, c.reach(s, t), c)
			end(t, s)
		})
		end(t, shared)
	})
}

// TestDeleteInAnyState deletes instances in every state: they are gone within 5 s, and leave nothing behind.
func TestDeleteInAnyState(t *testing.T) {
	t.Parallel()
	inEachCondition(t, deleteNow, func(t *testing.T, s *site) {
		s.wa.Faults().Clear() // stalled connections do not notice their end
		for _, status := range []api.InstanceStatusFilter{"all", "connected", "connecting", "disconnected"} {
			page, err := s.tenant.API.Instances.List(t.Context(), api.ListInstancesParams{Status: status})
			if err != nil || page.Pagination.Total != 0 || len(page.Data) != 0 {
				t.Errorf("%s: %+v, %v", status, page, err)
			}
		}
		s.waitFor(t, "the end of all connections", func() bool { return len(s.wa.Connections()) == 0 })
		if n := s.storedDevices(t); n != 0 && slowness == 1 { // in time, when the store can be written in time
			t.Errorf("%d devices are still stored", n)
		}
		client := plainClient(t)
		poll(t, func() error {
			values := series(t, client, s.tenant.Server.AdminURL)
			if held, online := values["pombal_instances_held"], values["pombal_instances_online"]; held != "0" || online != "0" {
				return fmt.Errorf("the node holds %s instances, %s online", held, online)
			}
			return nil
		})
	})
}

// storedDevices counts the paired devices whose keys are kept.
func (s *site) storedDevices(t *testing.T) (n int) {
	t.Helper()
	driver, source, table := "sqlite", "file:"+filepath.Join(s.db.Dir, "whatsmeow.db"), "whatsmeow_device"
	if s.db.URL != "" {
		driver, source, table = "pgx", s.db.URL, "whatsmeow.whatsmeow_device"
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if err = db.QueryRowContext(t.Context(), "SELECT count(*) FROM "+table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func deleteNow(t *testing.T, p *patient, c *condition) {
	began := time.Now()
	if err := p.tenant.API.Instances.Delete(t.Context(), p.id); err != nil {
		t.Fatalf("delete: %v", err)
	}
	if took := time.Since(began); took > obeyed {
		t.Errorf("it took %v", took)
	}
	if _, err := p.tenant.API.Instances.Get(t.Context(), p.id); api.CodeOf(err) != api.ErrorCodeInstanceNotFound {
		t.Errorf("get: %v", err)
	}
	if _, err := p.tenant.API.Instances.Status(t.Context(), p.id); api.CodeOf(err) != api.ErrorCodeInstanceNotFound {
		t.Errorf("status: %v", err)
	}
	if c.online {
		p.isUnlinked(t)
	}
}

// isUnlinked checks that the phone lists no device any more. There is little time to tell it: too little for the
// race detector.
func (p *patient) isUnlinked(t *testing.T) {
	t.Helper()
	if n := len(p.phone.Devices()); n != 0 && slowness == 1 {
		t.Errorf("the phone still lists %d devices", n)
	}
}

// TestDisconnectInAnyState disconnects instances in every state. They end as their owner wants it, and can be
// paired anew.
func TestDisconnectInAnyState(t *testing.T) {
	t.Parallel()
	inEachCondition(t, disconnectNow, func(*testing.T, *site) {})
}

func disconnectNow(t *testing.T, p *patient, c *condition) {
	began := time.Now()
	err := p.tenant.API.Instances.Disconnect(t.Context(), p.id, api.DisconnectInstance{Reason: "the test wants it"})
	if took := time.Since(began); took > 2*obeyed { // nobody has promised 5 s, but it ends
		t.Errorf("it took %v", took)
	}
	if c.idle {
		if api.CodeOf(err) != api.ErrorCodeInstanceNotConnected {
			t.Errorf("disconnect: %v", err)
		}
	} else {
		if err != nil {
			t.Fatalf("disconnect: %v", err)
		}
		p.await(t, api.InstanceStatusDisconnected, domain.ReasonDisconnectedByUser)
	}
	if c.online || c.canLogIn {
		p.isUnlinked(t)
	}
	if c.alone {
		p.wa.Faults().Clear()
	}
	if c.online || c.canLogIn {
		p.pairAnew(t)
	} else { // the same; it only takes longer
		p.showCode(t)
	}
}

// deleteFromTheDead deletes an instance whose node has died. Until its lease has run out, nobody may speak for the
// instance at WhatsApp: it is deleted without.
func deleteFromTheDead(t *testing.T, s *site) {
	if s.db.URL == "" {
		return // on SQLite, a node frees what the one before has held
	}
	p := s.newConnected(t)
	p.ownedByTheDead(t, time.Minute)
	deleteNow(t, p, &condition{})
}

// disconnectFromTheDead disconnects an instance whose node has died: the next one does so as soon as it may.
func disconnectFromTheDead(t *testing.T, s *site) {
	if s.db.URL == "" {
		return
	}
	p := s.newConnected(t)
	p.ownedByTheDead(t, 3*time.Second)
	disconnectNow(t, p, &condition{canLogIn: true})
}

// ownedByTheDead leaves the instance to a node that does nothing, for as long as its lease lasts, and starts
// another one.
func (p *patient) ownedByTheDead(t *testing.T, lease time.Duration) {
	t.Helper()
	p.tenant.Server.Stop()
	db, err := store.Open(t.Context(), store.Config{URL: p.db.URL, MaxConns: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if failed := db.Close(); failed != nil {
			t.Error(failed)
		}
	}()
	dead := domain.Node{ID: domain.NewID(time.Now()), Name: "dead", Capacity: 1}
	if err = db.JoinNode(t.Context(), dead, lease, false); err != nil {
		t.Fatal(err)
	}
	if wishes, err := db.ClaimLinks(t.Context(), dead.ID, 1); err != nil || len(wishes) != 1 {
		t.Fatalf("claimed %+v, %v", wishes, err)
	}
	p.start(t)
}
