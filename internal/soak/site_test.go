package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/pombal-api/pombal/internal/app"
	"github.com/pombal-api/pombal/internal/fakewa"
	"github.com/pombal-api/pombal/internal/testkit"
	"github.com/pombal-api/pombal/internal/testkit/apitest"
	"github.com/pombal-api/pombal/pkg/api"
)

// site is a fleet of nodes on one database, the WhatsApp they connect to, and a customer's key.
type site struct {
	tb      testing.TB
	wa      *apitest.WhatsApp
	sandbox app.Sandbox
	url     string // of the database
	dir     string
	key     string
	http    *http.Client
	nodes   []*node

	mu        sync.Mutex
	live      map[string]bool // by the name of the process
	processes []*process
	calls     map[string]int // what calls came to
	bad       int            // how many of them must not have
}

// newSite makes a site without nodes. Its database is the URL's, or a new one for "".
func newSite(tb testing.TB, database string) *site {
	tb.Helper()
	s := &site{
		tb: tb, wa: apitest.NewWhatsApp(tb), url: database, dir: tb.TempDir(),
		live: map[string]bool{}, calls: map[string]int{},
	}
	if s.url == "" {
		s.url = testkit.NewPostgres(tb)
	}
	cfg := apitest.Config(testkit.Database{URL: s.url, Dir: s.dir})
	s.wa.Use(&cfg)
	s.sandbox = *cfg.Sandbox
	s.prepare(tb, cfg)
	contract, err := apitest.Contract()
	if err != nil {
		tb.Fatal(err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	s.http = &http.Client{Transport: contract.For(tb).Transport(transport), Timeout: 20 * time.Second}
	tb.Cleanup(transport.CloseIdleConnections)
	tb.Cleanup(s.end)
	return s
}

// prepare makes the tables, an account and a key.
func (s *site) prepare(tb testing.TB, cfg app.Config) {
	tb.Helper()
	if err := app.Migrate(tb.Context(), cfg.Database, io.Discard); err != nil {
		tb.Fatal(err)
	}
	operator, err := app.OpenOperator(tb.Context(), cfg, io.Discard)
	if err != nil {
		tb.Fatal(err)
	}
	account, err := operator.CreateAccount(tb.Context(), app.NewAccount{Name: "soak", Plan: "test"})
	if err == nil {
		_, s.key, err = operator.CreateKey(tb.Context(), app.NewKey{Account: account.ID.Prefixed("acct"), Name: "soak"})
	}
	if err = errors.Join(err, operator.Close()); err != nil {
		tb.Fatal(err)
	}
	// Who is who: a row of a node gets the name of the process that made it. And who did what, for explain.
	s.exec(tb, `ALTER TABLE nodes ADD COLUMN soak_process text NOT NULL DEFAULT current_setting('application_name');
		CREATE TABLE soak_history AS SELECT clock_timestamp() AS at, ''::text AS process, l.* FROM instance_links l LIMIT 0;
		CREATE FUNCTION soak_note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			INSERT INTO public.soak_history SELECT clock_timestamp(), current_setting('application_name'), NEW.*;
			RETURN NULL;
		END $$;
		CREATE TRIGGER soak_note AFTER INSERT OR UPDATE ON instance_links FOR EACH ROW EXECUTE FUNCTION soak_note()`)
}

func (s *site) exec(tb testing.TB, sql string) {
	tb.Helper()
	conn, err := pgx.Connect(tb.Context(), s.url)
	if err != nil {
		tb.Fatal(err)
	}
	_, err = conn.Exec(tb.Context(), sql)
	if err = errors.Join(err, conn.Close(tb.Context())); err != nil {
		tb.Fatal(err)
	}
}

// withName names a process to the database.
func withName(database, process string) string {
	u, err := url.Parse(database)
	if err != nil {
		return database
	}
	q := u.Query()
	q.Set("application_name", process)
	u.RawQuery = q.Encode()
	return u.String()
}

// start starts n nodes more, named a, b, c, …, side by side.
func (s *site) start(tb testing.TB, n int) {
	tb.Helper()
	var starting errgroup.Group
	for range n {
		node := &node{site: s, name: string(rune('a' + len(s.nodes))), database: s.url}
		s.nodes = append(s.nodes, node)
		starting.Go(node.start)
	}
	if err := starting.Wait(); err != nil {
		tb.Fatal(err)
	}
}

// end kills what runs and looks at all logs.
func (s *site) end() {
	s.mu.Lock()
	processes := s.processes
	s.mu.Unlock()
	for _, p := range processes {
		p.kill()
		p.checkLog(s.tb)
		if s.tb.Failed() {
			s.tb.Logf("what was remarkable in the log of %s:\n%s", p.name, p.remarks())
		}
	}
}

func (s *site) addProcess(p *process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.processes = append(s.processes, p)
}

func (s *site) setLive(process string, live bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live[process] = live
}

func (s *site) isLive(process string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.live[process]
}

// door is an address of the fake WhatsApp for one process: what comes in there bears its name.
func (s *site) door(process string) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go func() { _ = s.wa.Serve(doorListener{l, process}) }() // ends with the listener, which process.kill closes
	return l, nil
}

type doorListener struct {
	net.Listener
	process string
}

func (l doorListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return doorConn{c, doorAddr(l.process + " " + c.RemoteAddr().String())}, nil
}

type doorConn struct {
	net.Conn
	remote doorAddr
}

// RemoteAddr says which process it is.
func (c doorConn) RemoteAddr() net.Addr { return c.remote }

type doorAddr string

// Network is part of net.Addr.
func (a doorAddr) Network() string { return "tcp" }

// String is part of net.Addr.
func (a doorAddr) String() string { return string(a) }

// online is a device that is logged in.
type online struct {
	phone   string
	device  int
	process string
	since   time.Time
}

// online lists who is logged in at the fake WhatsApp.
func (s *site) online() (list []online) {
	for _, c := range s.wa.Connections() {
		if c.State == fakewa.StateLoggedIn || c.State == fakewa.StateActive {
			process, _, _ := strings.Cut(c.Remote, " ")
			list = append(list, online{c.Phone, c.Device, process, c.Since})
		}
	}
	return list
}

// client is the SDK on the node at an address.
func (s *site) client(address string) (*api.Client, error) {
	return api.NewClient(address, s.key, api.WithHTTPClient(s.http), api.WithMaxRetries(0))
}

// on returns a client of a node that must be there.
func (s *site) on(tb testing.TB, n *node) *api.Client {
	tb.Helper()
	c, err := s.client(n.address())
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// note counts what a call came to, and reports what no call may come to.
func (s *site) note(op string, err error) {
	kind := "ok"
	var e *api.Error
	switch {
	case errors.As(err, &e):
		kind = fmt.Sprintf("%d %s", e.Status, e.Code)
	case err != nil:
		kind = "no answer" // its node has died, or is frozen
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[op+": "+kind]++
	if e == nil || e.Status < 500 || e.Status == http.StatusServiceUnavailable && e.Code == "unavailable" {
		return
	}
	if s.bad++; s.bad <= 10 {
		s.tb.Errorf("%s: %v", op, err)
	}
}
