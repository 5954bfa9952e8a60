package httpapi

import (
	"cmp"
	"context"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/pombal-api/pombal/internal/domain"
)

const (
	// lookEvery is how often other nodes' events are looked for; this node's ring.
	lookEvery = 200 * time.Millisecond
	// recentEvents is how many events of an account are kept for its streams.
	recentEvents = 256
	// accountStreams is how many streams an account may have at this node. Each takes a connection and some 40 KiB for as
	// long as it lasts, and its request counts once: without a bound, one key could use up a node within minutes.
	accountStreams = 1000
	// catchingUp is how many streams of this node read from the database at a time: whatever many of them have to catch up
	// with, the rest of the API keeps most of the connections.
	catchingUp = 4
	// fullRetry is when to ask again where there are as many: streams end when pages are closed.
	fullRetry = 30 * time.Second
)

// eventHub tells the streams of this node what is new in their accounts: one look at the database for all of them, and
// one reading of each event for all streams of an account. A stream that falls behind reads for itself, in its turn.
type eventHub struct {
	heads func(ctx context.Context, accounts []domain.ID) (map[domain.ID]int64, error)
	read  func(ctx context.Context, account domain.ID, after int64, limit int) ([]domain.Event, error)
	log   *slog.Logger
	bell  chan struct{}
	limit int                 // of streams of an account
	seats *semaphore.Weighted // of streams that read

	mu    sync.Mutex
	feeds map[domain.ID]*eventFeed
}

// eventFeed is what is known of an account that has streams.
type eventFeed struct {
	streams int
	known   bool                // head is
	head    int64               // the position up to which everything is known
	recent  []domain.Event      // the last ones up to head, without gaps
	changed chan struct{}       // closed when head grows
	turn    *semaphore.Weighted // of the account's streams that would read
}

func newEventHub(deps *Deps, limit int) *eventHub {
	return &eventHub{
		heads: deps.EventHeads, log: deps.Log, bell: make(chan struct{}, 1), feeds: map[domain.ID]*eventFeed{},
		limit: cmp.Or(limit, accountStreams), seats: semaphore.NewWeighted(catchingUp),
		read: func(ctx context.Context, id domain.ID, after int64, limit int) ([]domain.Event, error) {
			account, err := deps.Accounts(id)
			if err != nil {
				return nil, err
			}
			events, _, err := account.Events(ctx, after, limit, domain.EventFilter{})
			return events, err
		},
	}
}

// ring makes the hub look now. It never blocks.
func (h *eventHub) ring() {
	select {
	case h.bell <- struct{}{}:
	default:
	}
}

// run looks for news until ctx ends.
func (h *eventHub) run(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for failing := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-h.bell:
		}
		err := h.look(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			h.log.WarnContext(ctx, "streams wait: events cannot be read; will try again", "error", err)
		}
		failing = err != nil
	}
}

// join adds a stream of the account; it must leave. CodeRateLimitExceeded when the account has as many as it may have.
func (h *eventHub) join(account domain.ID) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	feed := h.feeds[account]
	if feed == nil {
		feed = &eventFeed{changed: make(chan struct{}), turn: semaphore.NewWeighted(1)}
		h.feeds[account] = feed
	}
	if feed.streams >= h.limit {
		return &domain.Error{Code: domain.CodeRateLimitExceeded, RetryAfter: fullRetry,
			Message: "The account has " + strconv.Itoa(h.limit) + " streams here, which is as many as it may have at a time. End some of them."}
	}
	feed.streams++
	return nil
}

func (h *eventHub) leave(account domain.ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if feed := h.feeds[account]; feed != nil {
		if feed.streams--; feed.streams == 0 {
			delete(h.feeds, account)
		}
	}
}

// next returns the events behind a position that are known, or else a channel that is closed when there may be some.
// When neither is there, the caller must read from the database, in its turn: up to behind at least, where the events
// end that are known to have been.
func (h *eventHub) next(account domain.ID, after int64) (events []domain.Event, wait <-chan struct{}, behind int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	feed := h.feeds[account]
	if !feed.known || feed.head <= after {
		return nil, feed.changed, 0
	}
	if n := len(feed.recent); n == 0 || feed.recent[0].Position > after+1 {
		return nil, nil, feed.head
	}
	return feed.recent[after+1-feed.recent[0].Position:], nil, 0
}

// turn waits until a stream of the account may read from the database, first come, first served, and returns what ends
// that. The streams of an account wait for each other first: so each account has one place in the line for a seat, and
// one with many streams keeps out no other.
func (h *eventHub) turn(ctx context.Context, account domain.ID) (end func(), err error) {
	h.mu.Lock()
	own := h.feeds[account].turn
	h.mu.Unlock()
	if err = own.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	if err = h.seats.Acquire(ctx, 1); err != nil {
		own.Release(1)
		return nil, err
	}
	return func() {
		h.seats.Release(1)
		own.Release(1)
	}, nil
}

// look finds the accounts with news, and reads those.
func (h *eventHub) look(ctx context.Context) error {
	accounts := h.followed()
	if len(accounts) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	heads, err := h.heads(ctx, accounts)
	if err != nil {
		return err
	}
	for _, account := range accounts {
		if err := h.advance(ctx, account, heads[account]); err != nil {
			return err
		}
	}
	return nil
}

func (h *eventHub) followed() []domain.ID {
	h.mu.Lock()
	defer h.mu.Unlock()
	accounts := make([]domain.ID, 0, len(h.feeds))
	for account := range h.feeds {
		accounts = append(accounts, account)
	}
	return accounts
}

// advance brings a feed up to a head. A feed that is far behind forgets what it has: its streams read for themselves.
func (h *eventHub) advance(ctx context.Context, account domain.ID, head int64) error {
	h.mu.Lock()
	feed := h.feeds[account]
	if feed == nil || feed.known && feed.head >= head {
		h.mu.Unlock()
		return nil
	}
	known, from := feed.known, feed.head
	h.mu.Unlock()
	var news []domain.Event
	if known && head-from <= recentEvents {
		var err error
		if news, err = h.read(ctx, account, from, recentEvents); err != nil {
			return err
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	feed.grow(head, news)
	return nil
}

// grow adds what was read behind the head. The slices that streams hold stay as they are.
func (f *eventFeed) grow(head int64, news []domain.Event) {
	if n := len(news); n > 0 && news[0].Position == f.head+1 {
		joined := append(append(make([]domain.Event, 0, len(f.recent)+n), f.recent...), news...)
		f.recent = joined[max(0, len(joined)-recentEvents):]
		head = news[n-1].Position
	} else {
		f.recent = nil
	}
	f.known, f.head = true, head
	close(f.changed)
	f.changed = make(chan struct{})
}
