package webhook

import (
	"cmp"
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// Config says what a Worker works with. What is zero gets its default.
type Config struct {
	Store    Store
	Client   *Client
	Log      *slog.Logger
	Observer Observer // nil for none

	// PerEndpoint is how many attempts an endpoint may get at a time when it is well: 8.
	PerEndpoint int
	// MaxAttempts bounds the attempts at a time to endpoints that answer soon: 1024. Those that have not ended for a second
	// are counted apart, up to as many again, and endpoints that have failed get half as many at most.
	MaxAttempts int
	// MaxLanes bounds the webhooks that are served at a time: 4096.
	MaxLanes int
	// Lease is how long other workers leave the lanes of one that has died alone: 15 s.
	Lease time.Duration
	// Poll is how often it is looked for lanes that nobody has woken this worker for: 200 ms.
	Poll time.Duration
	// Drain is how long attempts may go on when the worker has to stop: 10 s.
	Drain time.Duration
	// Jitter returns a random number, from 0 to less than 1.
	Jitter func() float64
}

const (
	renewals = 3 // within a lease
	// slowAfter is when an attempt begins to count as one that may hang.
	slowAfter = time.Second
	// claimGap is between two searches for lanes, fetchGap between two readings of them.
	claimGap = 10 * time.Millisecond
	fetchGap = 5 * time.Millisecond
	// linger is how long a lane is kept that has nothing to do. What comes in meanwhile needs no claim; what another
	// node adds is found at the end, so it has to wait as long as that.
	linger = 100 * time.Millisecond
	// batchSize outcomes are settled at once, and fewer when the first of them has waited for batchDelay.
	batchSize  = 200
	batchDelay = 30 * time.Millisecond
	// maxBatch bounds a transaction, maxUnsettled what waits for one: then nothing new is tried.
	maxBatch     = 1000
	maxUnsettled = 10_000
	// maxQueued bounds the deliveries that are held ready, and maxQueuedBytes their events' data.
	maxQueued      = 4096
	maxQueuedBytes = 64 << 20
	// firstFetch and maxFetch are how many deliveries of a lane are read at once.
	firstFetch, maxFetch = 16, 256
	// storeTimeout bounds a call of the store.
	storeTimeout = 10 * time.Second
)

// Worker delivers events to webhooks. Several workers, on several nodes, share the work: each claims lanes, one for
// a webhook, tries what is due in them, records what came of it, and gives them back.
type Worker struct {
	id     domain.ID
	cfg    Config
	sender sender
	delays []time.Duration // the schedule
	woken  chan struct{}
	stats  [statsLen]atomic.Int64

	mu   sync.Mutex
	told news
}

// news is what a worker has been told of.
type news struct {
	offered []domain.Delivery
	missed  bool // something may be due that was not offered
	lost    []domain.LaneKey
}

// Stats says what a worker has at hand.
type Stats struct {
	Lanes     int // that it serves
	Waiting   int // deliveries that it has read and not begun to try
	Attempts  int // in flight
	Suspects  int // of these, to endpoints that fail or are slow
	Unsettled int // outcomes that are not recorded yet
}

const (
	statLanes = iota
	statWaiting
	statAttempts
	statSuspects
	statUnsettled
	statsLen
)

// NewWorker returns a worker, which begins with Run. It can run once.
func NewWorker(cfg Config) *Worker {
	cfg.PerEndpoint = cmp.Or(cfg.PerEndpoint, 8)
	cfg.MaxAttempts = cmp.Or(cfg.MaxAttempts, 1024)
	cfg.MaxLanes = cmp.Or(cfg.MaxLanes, 4096)
	cfg.Lease = cmp.Or(cfg.Lease, 15*time.Second)
	cfg.Poll = cmp.Or(cfg.Poll, 200*time.Millisecond)
	cfg.Drain = cmp.Or(cfg.Drain, 10*time.Second)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Jitter == nil {
		cfg.Jitter = rand.Float64
	}
	return &Worker{id: domain.NewID(time.Now()), cfg: cfg, sender: cfg.Client, delays: schedule(), woken: make(chan struct{}, 1)}
}

// ID is the name under which the worker holds lanes.
func (w *Worker) ID() domain.ID { return w.id }

// Wake tells the worker that something may have become due. It never blocks.
func (w *Worker) Wake() {
	w.tell(func(n *news) { n.missed = true })
}

// Offer hands the worker deliveries that have been stored and are due, so that it need not read them where it holds
// their lanes. It never blocks; it may take none of them, as the store has them all.
func (w *Worker) Offer(due []domain.Delivery) {
	if len(due) == 0 {
		return
	}
	w.tell(func(n *news) {
		if len(n.offered)+len(due) <= maxQueued {
			n.offered = append(n.offered, due...)
		} else {
			n.missed = true
		}
	})
}

// Lose tells the worker of lanes that it does not hold any more unless it has claimed them under these epochs or later
// ones: nothing more is tried as their webhooks were before. It never blocks.
func (w *Worker) Lose(lanes []domain.LaneKey) {
	w.tell(func(n *news) { n.lost = append(n.lost, lanes...) })
}

func (w *Worker) tell(what func(*news)) {
	w.mu.Lock()
	what(&w.told)
	w.mu.Unlock()
	select {
	case w.woken <- struct{}{}:
	default:
	}
}

// news returns what the worker has been told since.
func (w *Worker) news() news {
	w.mu.Lock()
	defer w.mu.Unlock()
	told := w.told
	w.told = news{}
	return told
}

// Stats returns what the worker has at hand now.
func (w *Worker) Stats() Stats {
	n := func(i int) int { return int(w.stats[i].Load()) }
	return Stats{Lanes: n(statLanes), Waiting: n(statWaiting), Attempts: n(statAttempts), Suspects: n(statSuspects), Unsettled: n(statUnsettled)}
}

// Run delivers until ctx ends. Then it claims nothing more, lets the attempts in flight come to their end for a
// while, records what came of them, and gives its lanes back.
func (w *Worker) Run(ctx context.Context) {
	var minding sync.WaitGroup
	minding.Go(func() { w.mind(ctx) }) // Run waits for it
	defer minding.Wait()
	newDispatcher(ctx, w).run(ctx)
}
