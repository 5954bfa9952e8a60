package soak

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pombal-api/pombal/internal/testkit"
	"github.com/pombal-api/pombal/pkg/api"
)

// line is a stream of events over a connection of its own.
type line struct {
	conn   net.Conn
	reader *bufio.Reader
}

// dialLine opens a stream and reads what comes before the events.
func (o *office) dialLine(ctx context.Context, c *clerk, after string) (*line, error) {
	u, err := url.Parse(c.process().url)
	if err != nil {
		return nil, err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return nil, err
	}
	l := &line{conn: conn, reader: bufio.NewReaderSize(conn, 512)}
	if after != "" {
		after = "Last-Event-ID: " + after + "\r\n"
	}
	_, err = fmt.Fprintf(conn, "GET /v1/events/stream HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n%s\r\n", u.Host, o.key, after)
	if err == nil {
		err = errors.Join(l.await(": connected"), l.await("\n"))
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return l, nil
}

// await reads until a line begins with something.
func (l *line) await(prefix string) error {
	for {
		text, err := l.reader.ReadSlice('\n')
		if strings.HasPrefix(string(text), prefix) {
			return nil
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return fmt.Errorf("a stream ends before %q: %w", prefix, err)
		}
	}
}

// rssOfStream bounds what an idle stream may add to the memory of a node. The two goroutines of a connection have 8 KiB
// and 4 KiB of stack at least, its buffers 8 KiB, and there are a request with its headers, a context, and timers; twice
// that is garbage until it is collected.
const rssOfStream = 64 << 10

// TestIdleStreams has many streams wait at one node, for next to nothing, and tells all of them of an event.
func TestIdleStreams(t *testing.T) {
	t.Parallel()
	for _, engine := range testkit.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			o, n := newOffice(t, engine), soak(500, 5000)/scale
			node := o.newClerk()
			o.newInstances(1)
			o.firstEvent(node)
			// What a node takes for the first streams, it takes once.
			warm := o.dialLines(t, node, n/10)
			before := o.footprint(t, node)
			began := time.Now()
			lines := o.dialLines(t, node, n)
			opened := time.Since(began)
			after := o.footprint(t, node)
			perStream, goroutines := (after.rss-before.rss)/float64(n), (after.goroutines-before.goroutines)/float64(n)
			t.Logf("%d streams opened in %v: %.1f KiB of memory and %.2f goroutines each; %.1f MiB in all",
				n, opened.Round(time.Millisecond), perStream/1024, goroutines, after.rss/(1<<20))
			if scale == 1 && perStream > rssOfStream { // the race detector takes several times as much
				t.Errorf("a stream takes %.0f bytes, more than %d", perStream, rssOfStream)
			}
			if goroutines > 2.1 {
				t.Errorf("a stream takes %.2f goroutines", goroutines)
			}
			if isLong() {
				each(t, lines, func(l *line) error { return l.await(": alive") })
				t.Logf("after the first heartbeats it is %.1f MiB", o.footprint(t, node).rss/(1<<20))
			}
			began = time.Now()
			node.publish(publication{Events: 1})
			each(t, append(lines, warm...), func(l *line) error { return l.await("data: ") })
			t.Logf("all were told of an event %v after it was asked for", time.Since(began).Round(time.Millisecond))
			for _, l := range append(lines, warm...) {
				_ = l.conn.Close()
			}
			eventually(t, 20*time.Second, func() error {
				if now := o.footprint(t, node); now.goroutines > before.goroutines {
					return fmt.Errorf("%.0f goroutines are left of %.0f", now.goroutines, after.goroutines)
				}
				return nil
			})
		})
	}
}

// dialLines opens n streams, which end with the test.
func (o *office) dialLines(t *testing.T, c *clerk, n int) []*line {
	t.Helper()
	lines := make([]*line, n)
	var dialing errgroup.Group
	dialing.SetLimit(16)
	for i := range lines {
		dialing.Go(func() (err error) {
			lines[i], err = o.dialLine(t.Context(), c, "")
			return err
		})
	}
	err := dialing.Wait()
	t.Cleanup(func() {
		for _, l := range lines {
			if l != nil {
				_ = l.conn.Close() // it may be closed already
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// each does something with all lines at a time.
func each(t *testing.T, lines []*line, do func(*line) error) {
	t.Helper()
	var doing errgroup.Group
	for _, l := range lines {
		doing.Go(func() error {
			if err := l.conn.SetReadDeadline(time.Now().Add(40 * time.Second)); err != nil {
				return err
			}
			return do(l)
		})
	}
	if err := doing.Wait(); err != nil {
		t.Fatal(err)
	}
}

// footprint is what a node takes.
type footprint struct {
	rss, goroutines float64
}

func (o *office) footprint(t *testing.T, c *clerk) (f footprint) {
	t.Helper()
	var err, failed error
	f.rss, err = c.metric(t.Context(), "process_resident_memory_bytes")
	f.goroutines, failed = c.metric(t.Context(), "go_goroutines")
	if err = errors.Join(err, failed); err != nil {
		t.Fatal(err)
	}
	return f
}

// TestSlowReader never reads. It loses its seat, and goes on behind the last event that it finds in its buffers.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	for _, engine := range testkit.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t, engine)
			node := o.newClerk()
			o.newInstances(1)
			first := o.firstEvent(node)
			quiet, err := node.metric(t.Context(), "pombal_http_requests_in_flight")
			if err != nil {
				t.Fatal(err)
			}
			l, err := o.dialLine(t.Context(), node, first)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.conn.Close() }()
			const many, size = 256, 32 << 10 // more than systems hold for a connection
			node.publish(publication{Events: many, Batch: 10, Size: size})
			eventually(t, 20*time.Second, node.isDone)
			began := time.Now()
			eventually(t, 20*time.Second, func() error {
				n, err := node.metric(t.Context(), "pombal_http_requests_in_flight")
				if err == nil && n > quiet {
					err = errors.New("who does not read still has a seat")
				}
				return err
			})
			t.Logf("it lost its seat %v after the last event", time.Since(began).Round(time.Millisecond))

			read := l.rest(t)
			if len(read) == 0 || len(read) >= many {
				t.Fatalf("%d events of %d came before it lost its seat", len(read), many)
			}
			f := o.follow(o.stream, read[len(read)-1])
			events := o.history()[1:]
			eventually(t, 20*time.Second, func() error { return f.has(many - len(read)) })
			f.check(t, events[len(read):])
			if got := idsOf(events[:len(read)]); !slices.Equal(got, read) {
				t.Error("what it had got before is not what has happened")
			}
			t.Logf("%d events were in its buffers, %d came over another connection", len(read), many-len(read))
		})
	}
}

// rest reads what is left of a stream that has ended, and returns the ids of the complete events.
func (l *line) rest(t *testing.T) (list []string) {
	t.Helper()
	if err := l.conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	// The answer goes on in chunks.
	head := strings.NewReader("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
	if _, err := l.reader.Discard(len("\r\n")); err != nil { // the end of the first chunk
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(io.MultiReader(head, l.reader)), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	lines, id := bufio.NewReader(res.Body), ""
	for {
		text, err := lines.ReadString('\n')
		switch {
		case err != nil && !errors.Is(err, io.ErrUnexpectedEOF):
			t.Fatalf("the stream does not break off, but: %v", err)
		case err != nil:
			return list
		case strings.HasPrefix(text, "id: "):
			id = strings.TrimSpace(text[len("id: "):])
		case text == "\n" && id != "":
			list, id = append(list, id), ""
		}
	}
}

func idsOf(events []api.Event) []string {
	list := make([]string, len(events))
	for i := range events {
		list[i] = events[i].ID
	}
	return list
}

// TestStreamsOfTwoNodes follows the events of two nodes at both of them, and at whichever serves while both are killed
// in turn.
func TestStreamsOfTwoNodes(t *testing.T) {
	t.Parallel()
	engines := testkit.Engines()
	o := newOffice(t, engines[slices.IndexFunc(engines, func(e testkit.Engine) bool { return e.Name == "postgres" })])
	a, b := o.newClerk(), o.newClerk()
	o.newInstances(3)
	first := o.firstEvent(a)
	atA, atB := o.follow(o.client(o.transport(a)), first), o.follow(o.client(o.transport(b)), first)
	n := soak(40, 1000)
	for _, c := range o.clerks {
		c.publish(publication{Events: n, Every: 20 * time.Millisecond})
	}
	for _, c := range o.clerks {
		eventually(t, time.Minute, c.isDone)
	}
	for _, f := range []*follower{atA, atB} {
		eventually(t, 10*time.Second, func() error { return f.has(2 * n) })
		late := o.lateness(f)
		t.Logf("of %d events from two nodes, the median came %v after its commit was known, the last %v",
			2*n, late[len(late)/2].Round(time.Millisecond), late[len(late)-1].Round(time.Millisecond))
		if late[len(late)-1] > scale*time.Second {
			t.Errorf("an event came after %v", late[len(late)-1])
		}
		f.stop()
		<-f.done
	}

	f := o.follow(o.stream, first)
	before, kills := o.ackedEvents(), soak(4, 20)
	for i := range kills {
		victim, other := o.clerks[i%2], o.clerks[1-i%2]
		for _, c := range o.clerks {
			c.publish(publication{Events: soak(50, 500), Batch: 3, Writers: 2, Every: time.Millisecond})
		}
		eventually(t, time.Minute, func() error { // it follows what happens now, and is in the middle
			return errors.Join(f.has(before), other.isDone())
		})
		victim.publish(publication{Events: 500, Batch: 3, Every: time.Millisecond})
		before = o.ackedEvents()
		eventually(t, time.Minute, func() error { return f.has(before) })
		victim.kill9()
		if err := victim.start(); err != nil {
			t.Fatal(err)
		}
	}
	events := o.history()
	o.checkHistory(events)
	eventually(t, time.Minute, func() error { return f.has(len(events) - 1) })
	f.check(t, events[1:])
	t.Logf("%d kills, %d events: the stream skipped and repeated none", kills, len(events))
}

// lateness is how long after it was known that they are committed events came, sorted.
func (o *office) lateness(f *follower) (list []time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	for id, came := range f.came {
		list = append(list, max(0, came.Sub(o.acked[id].at)))
	}
	slices.Sort(list)
	return list
}
