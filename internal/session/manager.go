package session

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// Config of a Manager. The zero value of each field takes the default in parentheses.
type Config struct {
	Name              string        // of the node, for people
	Capacity          int           // how many instances to hold at most (1,500)
	Alone             bool          // no other process uses the database, as with SQLite
	LeaseTTL          time.Duration // how long a node is alive without renewal (15 s)
	OutageGrace       time.Duration // how long connections are kept while the database serves nobody (10 min)
	MaxDialsPerSecond int           // bounds new connections of paired instances, and again of unpaired ones (150)
	HandOverPerSecond int           // bounds what is given to other nodes (5)
	// Proxy opens the sealed URL of an instance's proxy. nil refuses to connect instances that have one.
	Proxy func(account, instance domain.ID, sealed []byte) (url string, err error)
	Now   func() time.Time // (time.Now)
	Rand  func() float64   // in [0, 1), for jitter; safe for concurrent use
	Log   *slog.Logger     // nil discards
}

func (c *Config) setDefaults() {
	setDefault(&c.Capacity, 1500)
	setDefault(&c.LeaseTTL, 15*time.Second)
	setDefault(&c.OutageGrace, 10*time.Minute)
	setDefault(&c.MaxDialsPerSecond, 150)
	setDefault(&c.HandOverPerSecond, 5)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Rand == nil {
		c.Rand = rand.Float64
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Manager holds this node's share of the instances.
type Manager struct {
	cfg    Config
	store  Store
	driver Driver
	dials  *pacer // of paired instances
	pairs  *pacer // of unpaired ones: behind each stands a person who waits
	wake   chan struct{}
	held   atomic.Int64
	online atomic.Int64
	unheld atomic.Int64
}

// NewManager returns a manager that does nothing before Run.
func NewManager(cfg Config, store Store, driver Driver) *Manager {
	cfg.setDefaults()
	return &Manager{
		cfg: cfg, store: store, driver: driver, wake: make(chan struct{}, 1),
		dials: newPacer(cfg.MaxDialsPerSecond), pairs: newPacer(cfg.MaxDialsPerSecond),
	}
}

// Wake makes the manager look at wishes now rather than at its next poll. It never blocks.
func (m *Manager) Wake() { signal(m.wake) }

// Held is how many instances this node holds now.
func (m *Manager) Held() int { return int(m.held.Load()) }

// Online is how many of them are logged in.
func (m *Manager) Online() int { return int(m.online.Load()) }

// Unheld is how many instances should be held by some node and are not, as of the latest look at the fleet.
func (m *Manager) Unheld() int { return int(m.unheld.Load()) }

// Run holds instances until ctx ends; then it closes their connections, gives them back and returns nil. It
// must run once.
func (m *Manager) Run(ctx context.Context) error {
	var sweeping sync.WaitGroup
	defer sweeping.Wait()
	sweeping.Go(func() { m.sweep(ctx) })
	for failures := 0; ctx.Err() == nil; failures++ {
		t, err := m.join(ctx)
		if err == nil {
			failures = 0
			t.serve(ctx)
			continue
		}
		if failures == 0 && ctx.Err() == nil {
			m.cfg.Log.WarnContext(ctx, "cannot join the other nodes; trying again", "error", err)
		}
		m.pause(ctx, time.Second)
	}
	return nil
}

// pause waits for d, more or less, or until ctx ends.
func (m *Manager) pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(m.jittered(d))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// jittered is d give or take a tenth, so that nodes that began together do not stay together.
func (m *Manager) jittered(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.9 + 0.2*m.cfg.Rand()))
}

// join makes this process a node with a new id.
func (m *Manager) join(ctx context.Context) (*tenure, error) {
	began := m.cfg.Now()
	node := domain.Node{ID: domain.NewID(began), Name: m.cfg.Name, Capacity: m.cfg.Capacity}
	calling, cancel := context.WithTimeout(ctx, m.callTimeout())
	defer cancel()
	if err := m.store.JoinNode(calling, node, m.cfg.LeaseTTL, m.cfg.Alone); err != nil {
		return nil, err
	}
	return newTenure(m, node, began), nil
}

// callTimeout bounds a call of the store, so that several fit into a TTL.
func (m *Manager) callTimeout() time.Duration { return m.cfg.LeaseTTL / 5 }
