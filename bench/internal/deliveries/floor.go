package deliveries

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// floor is the least that delivers events and loses none: a row for each, which is claimed, posted and deleted. It
// signs nothing, keeps no log, tries nothing again, and knows neither accounts nor webhooks.
type floor struct {
	outbox  outbox
	http    *http.Transport
	url     func(target int) string
	woken   chan struct{}
	claimed chan row
	posted  chan int64
	open    atomic.Int64 // events that are not deleted yet
}

// row is an event in the outbox.
type row struct {
	id     int64
	target int
	data   []byte
}

// outbox is a table.
type outbox interface {
	// insert adds an event, durably, and returns its id.
	insert(ctx context.Context, target int, data []byte) (int64, error)
	// claim takes at most n events that nobody has taken.
	claim(ctx context.Context, n int) ([]row, error)
	// remove deletes events.
	remove(ctx context.Context, ids []int64) error
	close() error
}

// The bare loop's sizes.
const (
	floorClaim   = 200
	floorWorkers = 32
	floorPoll    = 100 * time.Millisecond
)

func openFloor(ctx context.Context, s Script) (*floor, error) {
	f := &floor{
		http:  &http.Transport{MaxIdleConnsPerHost: floorWorkers, DisableCompression: true},
		url:   func(target int) string { return "http://" + s.Sink + s.path(target) },
		woken: make(chan struct{}, 1), claimed: make(chan row, floorClaim), posted: make(chan int64, floorClaim),
	}
	var err error
	if s.URL == "" {
		f.outbox, err = openSQLite(ctx, s.Dir)
	} else {
		f.outbox, err = openPostgres(ctx, s.URL)
	}
	return f, err
}

func (f *floor) publish(ctx context.Context, target int, data []byte) (string, error) {
	f.open.Add(1)
	id, err := f.outbox.insert(ctx, target, data)
	select {
	case f.woken <- struct{}{}:
	default:
	}
	return strconv.FormatInt(id, 10), err
}

func (f *floor) idle() bool { return f.open.Load() == 0 }

func (f *floor) close() error {
	f.http.CloseIdleConnections()
	return f.outbox.close()
}

// run claims, posts and deletes until ctx ends, or something goes wrong.
func (f *floor) run(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	var all sync.WaitGroup
	step := func(do func(context.Context) error) {
		all.Go(func() { // waited for below
			for ctx.Err() == nil {
				if err := do(ctx); err != nil && ctx.Err() == nil {
					stop(err)
				}
			}
		})
	}
	step(f.claim)
	for range floorWorkers {
		step(f.post)
	}
	step(f.remove)
	all.Wait()
	if err := context.Cause(ctx); err != context.Canceled { //nolint:errorlint // the bare value, unless a step failed
		return err
	}
	return nil
}

// claim takes what there is, and waits when there is nothing.
func (f *floor) claim(ctx context.Context) error {
	rows, err := f.outbox.claim(ctx, floorClaim)
	for _, r := range rows {
		select {
		case f.claimed <- r:
		case <-ctx.Done():
			return nil
		}
	}
	if err != nil || len(rows) > 0 {
		return err
	}
	select {
	case <-f.woken:
	case <-time.After(floorPoll):
	case <-ctx.Done():
	}
	return nil
}

// post hands one event to its receiver.
func (f *floor) post(ctx context.Context) error {
	var r row
	select {
	case r = <-f.claimed:
	case <-ctx.Done():
		return nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url(r.target), bytes.NewReader(r.data))
	if err != nil {
		return err
	}
	req.Header = http.Header{"Content-Type": {"application/json"}, headerID: {strconv.FormatInt(r.id, 10)}}
	res, err := f.http.RoundTrip(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close() // it is at its end, or broken
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("the receiver answered %s", res.Status)
	}
	if err == nil {
		f.posted <- r.id
	}
	return err
}

// remove deletes what has been posted, all there is at once.
func (f *floor) remove(ctx context.Context) error {
	var ids []int64
	select {
	case id := <-f.posted:
		ids = append(ids, id)
	case <-ctx.Done():
		return nil
	}
	for more := true; more && len(ids) < floorClaim; {
		select {
		case id := <-f.posted:
			ids = append(ids, id)
		default:
			more = false
		}
	}
	err := f.outbox.remove(ctx, ids)
	f.open.Add(-int64(len(ids)))
	return err
}
