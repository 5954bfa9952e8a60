package fakewa

import (
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/coder/websocket"
	"go.mau.fi/whatsmeow/types"
)

// minSeed is how short a seed may be, in bytes.
const minSeed = 16

// Config is what a Server works with.
type Config struct {
	// Seed decides the server's keys and the identities of the phones and contacts: a server of the same
	// seed is the same to its clients. At least 16 bytes.
	Seed []byte
	// StateFile is where the server remembers accounts, linked devices and contacts over a restart. "" for
	// nowhere. Each change writes the whole file.
	StateFile string
	// Log gets one record per stanza at Debug, without contents, and refusals at Info. Nil for none.
	Log *slog.Logger
	// Now is the server's clock. Nil for time.Now.
	Now func() time.Time
}

// Server is the fake WhatsApp. It is safe for concurrent use.
type Server struct {
	seed    []byte
	log     *slog.Logger
	now     func() time.Time
	own     *identity
	routes  map[string]iqHandler
	http    *http.Server
	media   *mediaHost
	running sync.WaitGroup // the connections' readers and writers
	closing chan struct{}  // closed by Close

	stateFile string
	outdated  chan struct{} // has an element while the state file is out of date
	keeping   sync.Once

	mu       sync.Mutex
	closed   bool
	plain    map[net.Conn]struct{} // connections that are not WebSockets, or not yet
	conns    map[*conn]struct{}
	pairings map[string]*pairing // by each of their references
	people   map[string]person   // by phone number, and by the user part of the LID
	groups   map[string]*Group   // by the user part of the address
	faults   []*standing
	stats    counters
	changed  chan struct{} // closed at the next change; nil while nobody waits
}

// person is somebody who has a phone: an Account or a Contact.
type person interface {
	whois() *profile
	signal() *peer
	// receive takes in what the person's phone has decrypted. It is called without Server.mu.
	receive(m Received)
}

// profile is what the server knows of a person. Only name, about and picture change, guarded by Server.mu.
type profile struct {
	phone   string
	lidUser string
	name    string
	about   string
	picture string
}

func (p *profile) pn() types.JID  { return types.NewJID(p.phone, types.DefaultUserServer) }
func (p *profile) lid() types.JID { return types.NewJID(p.lidUser, types.HiddenUserServer) }

// New returns a server that does not listen yet, as its state file says.
func New(cfg Config) (*Server, error) {
	if len(cfg.Seed) < minSeed {
		return nil, errors.New("fakewa: the seed must have at least 16 bytes")
	}
	own, err := newIdentity(cfg.Seed)
	if err != nil {
		return nil, err
	}
	s := &Server{
		seed: cfg.Seed, log: cfg.Log, now: cfg.Now, own: own, stateFile: cfg.StateFile,
		outdated: make(chan struct{}, 1),
		media:    newMediaHost(),
		routes:   routes(),
		closing:  make(chan struct{}),
		plain:    make(map[net.Conn]struct{}),
		conns:    make(map[*conn]struct{}),
		pairings: make(map[string]*pairing),
		people:   make(map[string]person),
		groups:   make(map[string]*Group),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ws/chat", s.chat)
	mux.Handle("/", s.media)
	s.http = &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 20 * time.Second,
		ConnState:         s.track,
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
	}
	if err := s.load(); err != nil {
		return nil, err
	}
	return s, nil
}

// Serve accepts clients on l until Close, or until l fails. It may be called for several listeners, and
// again after l was closed.
func (s *Server) Serve(l net.Listener) error {
	s.keeping.Do(s.startKeeping)
	err := s.http.Serve(&gate{Listener: l, srv: s})
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// startKeeping begins to save changes.
func (s *Server) startKeeping() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.running.Go(s.keep)
	}
}

// Close cuts all connections and waits until nothing of the server runs any more. It may be called twice.
func (s *Server) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.closing)
	}
	open := keysOf(s.conns)
	s.notify()
	s.mu.Unlock()
	err := s.http.Close()
	for _, c := range open {
		c.kill()
	}
	s.running.Wait()
	for s.plainLeft() {
	}
	return errors.Join(err, s.save())
}

// plainLeft waits for one change unless there are no plain connections left.
func (s *Server) plainLeft() bool {
	s.mu.Lock()
	left := len(s.plain) > 0
	change := s.watch()
	s.mu.Unlock()
	if left {
		<-change
	}
	return left
}

// track knows the connections that the HTTP server has.
func (s *Server) track(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch state {
	case http.StateNew:
		s.plain[c] = struct{}{}
	case http.StateClosed, http.StateHijacked:
		delete(s.plain, c)
		s.notify()
	case http.StateActive, http.StateIdle:
	}
}

// chat turns a request into a client's connection and stays with it.
func (s *Server) chat(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		http.Error(w, "the server is closing", http.StatusServiceUnavailable)
		return
	}
	s.running.Add(1)
	s.mu.Unlock()
	defer s.running.Done()
	// The client says that it comes from web.whatsapp.com.
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return // it has been answered
	}
	ws.SetReadLimit(maxFrame)
	newConn(s, r, ws).serve() //nolint:contextcheck // the connection keeps the request's context
}

// attach registers a connection. It fails when the server is closing.
func (s *Server) attach(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.conns[c] = struct{}{}
	s.notify()
	return true
}

// detach forgets a connection and what hung on it.
func (s *Server) detach(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if c.pairing != nil {
		s.dropPairing(c.pairing)
	}
	if c.device != nil && c.device.conn == c {
		c.device.conn = nil
	}
	s.notify()
}

// stamp is the server's time as stanzas carry it.
func (s *Server) stamp() string { return strconv.FormatInt(s.now().Unix(), 10) }

func keysOf[K comparable, V any](m map[K]V) []K {
	list := make([]K, 0, len(m))
	for k := range m {
		list = append(list, k)
	}
	return list
}
