package soak

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pombal-api/pombal/internal/app"
	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/testkit"
	"github.com/pombal-api/pombal/internal/testkit/apitest"
)

// Nodes of these tests publish events on demand: messages, which nothing publishes otherwise, come in any number.

// publisherVariable tells this binary to be such a node instead of a test. It holds the database.
const publisherVariable = "POMBAL_TEST_SOAK_PUBLISHER"

func init() {
	if text := os.Getenv(publisherVariable); text != "" {
		os.Exit(runPublisher(text))
	}
}

// publication is what such a node is told to publish, as a line of JSON on its standard input.
type publication struct {
	Account   domain.ID
	Instances []domain.ID // whose events they are, at random
	Events    int
	Batch     int           // events in a transaction
	Writers   int           // transactions at a time
	Size      int           // bytes of an event's data, roughly
	Every     time.Duration // how long a writer waits after a transaction
}

// receipt is what the node answers: for each transaction, after the commit, and at the end.
type receipt struct {
	Events  []published `json:",omitempty"`
	Refused bool        `json:",omitempty"` // as it took too long
	Error   string      `json:",omitempty"`
	Done    bool        `json:",omitempty"`
}

// published is an event that is committed.
type published struct {
	ID       string
	Instance string
	Type     string
	Sequence int64
	at       time.Time // when the test was told
}

// runPublisher is the whole life of such a node.
func runPublisher(text string) (code int) {
	var db testkit.Database
	if err := json.Unmarshal([]byte(text), &db); err != nil {
		fmt.Fprintln(os.Stderr, "panic:", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	cfg := apitest.Config(db)
	cfg.Loopback = true
	cfg.AccountStreams = 10_000 // all are of one account
	node, err := app.Open(ctx, cfg, os.Stderr)
	if err == nil {
		_, _ = fmt.Fprintln(os.Stdout, node.URL(), node.AdminURL())
		go obey(ctx, node) // ends with the process
		err = node.Run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "the node ends:", err)
		return 1
	}
	return 0
}

// obey publishes what it is told to. The process ends with its standard input.
func obey(ctx context.Context, node *app.App) {
	in := json.NewDecoder(os.Stdin)
	var mu sync.Mutex
	out := json.NewEncoder(os.Stdout)
	tell := func(r receipt) {
		mu.Lock()
		defer mu.Unlock()
		_ = out.Encode(r) // a test that has gone closes the standard input too
	}
	for {
		var p publication
		if err := in.Decode(&p); err != nil {
			os.Exit(3)
		}
		if err := p.publish(ctx, node, tell); err != nil {
			tell(receipt{Error: err.Error()})
		}
		tell(receipt{Done: true})
	}
}

func (p *publication) publish(ctx context.Context, node *app.App, tell func(receipt)) error {
	var left atomic.Int64
	left.Store(int64(p.Events))
	pad := strings.Repeat("x", p.Size)
	writers, ctx := errgroup.WithContext(ctx)
	for range max(1, p.Writers) {
		writers.Go(func() error {
			for {
				n := min(left.Add(-int64(p.Batch))+int64(p.Batch), int64(p.Batch))
				if n <= 0 {
					return nil
				}
				events := p.batch(int(n), pad)
				switch err := node.Publish(ctx, p.Account, events); {
				case domain.CodeOf(err) == domain.CodeUnavailable: // too much goes on at this machine: others come later
					left.Add(n)
					tell(receipt{Refused: true})
				case err != nil:
					return err
				default:
					tell(receiptOf(events))
				}
				if p.Every > 0 && !pause(ctx, p.Every) {
					return ctx.Err()
				}
			}
		})
	}
	return writers.Wait()
}

// messageEvents are the types that are published.
var messageEvents = []domain.EventSet{
	domain.EventMessageReceived, domain.EventMessageSent, domain.EventMessageDelivered, domain.EventMessageRead, domain.EventMessageFailed,
}

func (p *publication) batch(n int, pad string) []domain.Event {
	events := make([]domain.Event, n)
	for i := range events {
		events[i] = domain.Event{
			InstanceID: p.Instances[rand.IntN(len(p.Instances))], Type: messageEvents[rand.IntN(len(messageEvents))],
			Data: fmt.Appendf(nil, `{"n":"%x","pad":"%s"}`, rand.Uint64(), pad),
		}
	}
	return events
}

func receiptOf(events []domain.Event) (r receipt) {
	for i := range events {
		e := &events[i]
		r.Events = append(r.Events, published{
			ID: e.ID.Prefixed(domain.PrefixEvent), Instance: e.InstanceID.Prefixed(domain.PrefixInstance),
			Type: e.Type.Name(), Sequence: e.Sequence,
		})
	}
	return r
}
