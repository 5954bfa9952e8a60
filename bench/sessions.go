package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/pombal-api/pombal/bench/internal/child"
	"github.com/pombal-api/pombal/bench/internal/machine"
	"github.com/pombal-api/pombal/bench/internal/sessions"
)

// sessionRun is the life of one process that keeps sessions.
type sessionRun struct {
	Engine  string `json:"engine"`
	Variant string `json:"variant"` // variantPombal or variantFloor
	Size    int    `json:"size"`    // sessions
	Round   int    `json:"round"`

	Base    sessions.Figures `json:"base"` // before anything is connected
	Cold    rush             `json:"cold"` // from the start of the process
	Ready   memory           `json:"ready"`
	Idle    *idleness        `json:"idle,omitempty"`
	Cut     rush             `json:"cut"` // from the end of all connections
	Settled memory           `json:"settled"`
}

// rush is the time in which everything connects.
type rush struct {
	Seconds float64        `json:"seconds"` // until all are connected
	CPU     float64        `json:"cpu"`     // seconds, of the process alone
	Others  float64        `json:"others"`  // cores that others used, or the host took away
	Dials   sessions.Dials `json:"dials"`
}

// memory is what a process with all its sessions uses.
type memory struct {
	Found     sessions.Figures `json:"found"`     // as it is
	Collected sessions.Figures `json:"collected"` // after the garbage has been collected and returned
}

// idleness is what a process uses that has nothing to do but to keep its sessions.
type idleness struct {
	Seconds  float64 `json:"seconds"`
	CPU      float64 `json:"cpu"`      // seconds, of the process
	Database float64 `json:"database"` // seconds, of PostgreSQL
}

// sessionSuite measures connected instances, and bare clients of the library for comparison.
type sessionSuite struct {
	stage    *stage
	profiles string // folder for profiles; "" for none
	cast     []*sessionEngine
	runs     []*sessionRun
}

// sessionEngine is a database engine with devices, and the fake WhatsApp that knows them.
type sessionEngine struct {
	name    string
	devices sessions.Database
	stores  map[int]sessions.Database // by number of instances
	paired  sessions.Paired

	server *child.Server // the fake WhatsApp
	host   *child.Remote
	addr   string // for clients
}

func (u *sessionSuite) run(ctx context.Context) error {
	for _, name := range []string{engineSQLite, enginePostgres} {
		e, err := u.prepare(ctx, name)
		if err != nil {
			return fmt.Errorf("prepare %s: %w", name, err)
		}
		u.cast = append(u.cast, e)
	}
	o := u.stage.options
	for _, size := range o.sessions {
		for round := range o.sessionRounds {
			variants := []string{variantFloor, variantPombal}
			if round%2 == 1 { // so that no one profits from its place
				slices.Reverse(variants)
			}
			idle := round == 0 && size == slices.Max(o.sessions)
			for _, variant := range variants {
				if err := u.measure(ctx, variant, size, round, idle); err != nil {
					return fmt.Errorf("%d sessions, %s: %w", size, variant, err)
				}
			}
			u.stage.log.InfoContext(ctx, "measured sessions", "sessions", size, "round", round+1)
		}
	}
	return nil
}

// prepare pairs as many devices as are needed, and makes a database of instances for each number of them.
func (u *sessionSuite) prepare(ctx context.Context, name string) (*sessionEngine, error) {
	s := u.stage
	e := &sessionEngine{name: name, stores: map[int]sessions.Database{}}
	var err error
	if e.server, err = s.cast(ctx, "whatsapp-"+name, roleWhatsApp, script{}); err != nil {
		return nil, err
	}
	e.host = child.NewRemote(e.server.Addr)
	var door sessions.DoorInfo
	if err = e.host.Get(ctx, "/door", &door); err != nil {
		return nil, err
	}
	e.addr = door.Addr
	if err = u.pair(ctx, e); err != nil {
		return nil, err
	}
	for _, size := range s.options.sessions {
		if e.stores[size], err = u.database(ctx, name, fmt.Sprint(size)); err != nil {
			return nil, err
		}
		if err = sessions.Adopt(ctx, e.stores[size], e.paired.First(size)); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// pair makes the devices, through the session layer.
func (u *sessionSuite) pair(ctx context.Context, e *sessionEngine) (err error) {
	if e.devices, err = u.database(ctx, e.name, "devices"); err != nil {
		return err
	}
	instances, err := u.database(ctx, e.name, "pairing")
	if err != nil {
		return err
	}
	began, n := time.Now(), slices.Max(u.stage.options.sessions)
	part := sessions.Script{Store: instances, Devices: e.devices, WhatsApp: e.addr}
	e.paired, err = sessions.Prepare(ctx, part, e.host, n)
	u.stage.log.InfoContext(ctx, "paired", "engine", e.name, "instances", n, "took", time.Since(began).Round(10*time.Millisecond))
	return err
}

// database makes room for a database.
func (u *sessionSuite) database(ctx context.Context, engine, name string) (sessions.Database, error) {
	address, dir, err := u.stage.room(ctx, engine, "sessions_"+name)
	return sessions.Database{URL: address, Dir: dir}, err
}

// script tells a process which sessions to keep.
func (e *sessionEngine) script(variant string, size int) sessions.Script {
	s := sessions.Script{Devices: e.devices, WhatsApp: e.addr}
	if variant == variantFloor {
		s.Floor, s.JIDs = true, e.paired.First(size).JIDs()
		return s
	}
	s.Store = e.stores[size]
	return s
}

// measured is a process while it is measured.
type measured struct {
	*sessionRun
	suite  *sessionSuite
	engine *sessionEngine
	server *child.Server
	remote *child.Remote
}

// measure runs a variant once on each engine. They begin one after the other, but idle together.
func (u *sessionSuite) measure(ctx context.Context, variant string, size, round int, idle bool) (err error) {
	var all []*measured
	defer func() {
		for _, m := range all {
			if m.server != nil {
				err = errors.Join(err, m.server.Close())
			}
		}
	}()
	for _, e := range u.cast {
		m := &measured{suite: u, engine: e, sessionRun: &sessionRun{Engine: e.name, Variant: variant, Size: size, Round: round}}
		all = append(all, m)
		if err = m.start(ctx); err != nil {
			return fmt.Errorf("start on %s: %w", e.name, err)
		}
	}
	if err = each(all, func(m *measured) error { return m.weigh(ctx, &m.Ready, "ready") }); err != nil {
		return err
	}
	if idle {
		if err = u.idle(ctx, all); err != nil {
			return err
		}
	}
	if err = each(all, func(m *measured) error { return m.cut(ctx) }); err != nil {
		return err
	}
	for _, m := range all {
		u.runs = append(u.runs, m.sessionRun)
	}
	return nil
}

func each(all []*measured, do func(*measured) error) error {
	for _, m := range all {
		if err := do(m); err != nil {
			return fmt.Errorf("%s: %w", m.Engine, err)
		}
	}
	return nil
}

func (m *measured) name() string {
	return fmt.Sprintf("sessions-%s-%s-%d-%d", m.Engine, m.Variant, m.Size, m.Round)
}

// profile names the file of a profile.
func (m *measured) profile(of string) string {
	return filepath.Join(m.suite.profiles, m.name()+"-"+of+".prof")
}

// start starts the process and waits until all its sessions are connected.
func (m *measured) start(ctx context.Context) error {
	return m.rush(ctx, &m.Cold, func() error {
		part := script{Sessions: m.engine.script(m.Variant, m.Size)}
		if m.suite.profiles != "" {
			part.Profile = m.profile("cpu")
		}
		var err error
		if m.server, err = m.suite.stage.cast(ctx, m.name(), roleSessions, part); err != nil {
			return err
		}
		m.remote = child.NewRemote(m.server.Addr)
		return m.remote.Get(ctx, "/base", &m.Base)
	})
}

// cut ends all connections and waits until they are back.
func (m *measured) cut(ctx context.Context) error {
	if err := m.remote.Post(ctx, "/clear", nil, nil); err != nil {
		return err
	}
	err := m.rush(ctx, &m.Cut, func() error {
		var struck struct{ Connections int }
		err := m.engine.host.Post(ctx, "/faults/cut", struct{}{}, &struck)
		if err == nil && struck.Connections != m.Size {
			err = fmt.Errorf("%d connections were cut, not %d", struck.Connections, m.Size)
		}
		return err
	})
	if err != nil {
		return err
	}
	return m.weigh(ctx, &m.Settled, "settled")
}

// patience is how long everything may take to connect.
const patience = 3 * time.Minute

// rush does what makes everything connect, and measures how that goes.
func (m *measured) rush(ctx context.Context, r *rush, do func() error) error {
	if err := m.engine.host.Delete(ctx, "/door"); err != nil {
		return err
	}
	noise, err := m.suite.listen(m)
	if err != nil {
		return err
	}
	var before, after sessions.Figures
	if m.remote != nil { // a process that has not begun has used nothing
		if err = m.remote.Get(ctx, "/figures", &before); err != nil {
			return err
		}
	}
	began := time.Now()
	if err = do(); err != nil {
		return err
	}
	waiting, stop := context.WithTimeout(ctx, patience)
	defer stop()
	if err = m.remote.Get(waiting, fmt.Sprintf("/await?n=%d", m.Size), new(int)); err != nil {
		return fmt.Errorf("not all of %d sessions were connected in time: %w", m.Size, err)
	}
	r.Seconds = time.Since(began).Seconds()
	if err = m.remote.Get(ctx, "/figures", &after); err != nil {
		return err
	}
	r.CPU = (after.CPU - before.CPU).Seconds()
	if r.Others, err = noise(); err != nil {
		return err
	}
	var door sessions.DoorInfo
	err = m.engine.host.Get(ctx, "/door", &door)
	r.Dials = door.Dials
	return err
}

// weigh measures the memory, first as it is, then without what is free.
func (m *measured) weigh(ctx context.Context, w *memory, when string) error {
	if err := wait(ctx, m.suite.stage.options.sessionCalm); err != nil {
		return err
	}
	err := errors.Join(m.remote.Get(ctx, "/figures", &w.Found), m.remote.Get(ctx, "/figures?collect=1", &w.Collected))
	if err != nil || m.suite.profiles == "" {
		return err
	}
	var heap []byte
	if err = m.remote.Get(ctx, "/profile?of=heap", &heap); err != nil {
		return err
	}
	return os.WriteFile(m.profile("heap-"+when), heap, 0o644) //nolint:gosec // a profile holds no secrets
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// idle measures processes that are left alone, all at the same time.
func (u *sessionSuite) idle(ctx context.Context, all []*measured) error {
	before := make([]sessions.Figures, len(all))
	for i, m := range all {
		if err := m.remote.Get(ctx, "/figures", &before[i]); err != nil {
			return err
		}
	}
	database, err := u.databaseCPU()
	if err != nil {
		return err
	}
	began := time.Now()
	if err = wait(ctx, u.stage.options.sessionIdle); err != nil {
		return err
	}
	seconds := time.Since(began).Seconds()
	later, err := u.databaseCPU()
	if err != nil {
		return err
	}
	for i, m := range all {
		var after sessions.Figures
		if err = m.remote.Get(ctx, "/figures", &after); err != nil {
			return err
		}
		m.Idle = &idleness{Seconds: seconds, CPU: (after.CPU - before[i].CPU).Seconds()}
		if m.Engine == enginePostgres {
			m.Idle.Database = (later - database).Seconds()
		}
	}
	return nil
}

// databaseCPU returns what PostgreSQL has used; 0 when it runs elsewhere.
func (u *sessionSuite) databaseCPU() (time.Duration, error) {
	if pid := u.stage.postgres.PID; pid != 0 {
		return machine.TreeCPU(pid)
	}
	return 0, nil
}

// listen returns a function that tells how many cores others have used since: those that do not belong to the
// measurement of m.
func (u *sessionSuite) listen(m *measured) (func() (float64, error), error) {
	began := time.Now()
	total, own, failed := u.usage(m)
	return func() (float64, error) {
		totalNow, ownNow, err := u.usage(m)
		used := totalNow.Busy - total.Busy + totalNow.Stolen - total.Stolen - (ownNow - own)
		return max(0, used.Seconds()) / time.Since(began).Seconds(), err
	}, failed
}

// usage returns what the machine has used, and what of that belongs to the measurement of m: everything that
// the suite has started, and the suite itself.
func (u *sessionSuite) usage(m *measured) (machine.Usage, time.Duration, error) {
	pids := []int{os.Getpid()}
	for _, e := range u.cast {
		pids = append(pids, e.server.PID)
	}
	if m.server != nil {
		pids = append(pids, m.server.PID)
	}
	own, err := u.databaseCPU()
	for _, pid := range pids {
		used, failed := machine.ProcessCPU(pid)
		own += used
		err = errors.Join(err, failed)
	}
	total, failed := machine.TotalCPU()
	return total, own, errors.Join(err, failed)
}
