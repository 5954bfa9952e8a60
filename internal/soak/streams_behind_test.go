package soak

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pombal-api/pombal/internal/testkit"
)

const (
	// rssOfBehind bounds what a stream may take while its client, which is far behind, does not read: 50 events as they
	// were read, here of 2 KiB, some of them once more as they are sent, what an idle one takes, and as much garbage.
	rssOfBehind = 512 << 10
	// rssOfReading is what the connections to the database keep once they have been busy, all of them.
	rssOfReading = 48 << 20
)

// TestStreamsFarBehind has many clients come back at once, all far behind, as after an outage, and read nothing. What they
// take of the node's memory is bounded, until they lose their seats.
func TestStreamsFarBehind(t *testing.T) {
	t.Parallel()
	for _, engine := range testkit.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			o, n := newOffice(t, engine), soak(100, 500)/(scale*scale) // with the race detector, reading takes ten times as long
			node := o.newClerk()
			o.newInstances(1)
			first := o.firstEvent(node)
			const many, size = 8000, 2 << 10 // more than systems hold for a connection
			node.publish(publication{Events: many, Batch: 100, Writers: 2, Size: size})
			eventually(t, time.Minute, node.isDone)
			quiet, err := node.metric(t.Context(), "pombal_http_requests_in_flight")
			if err != nil {
				t.Fatal(err)
			}
			before := o.footprint(t, node)
			lines := make([]*line, n)
			var dialing errgroup.Group
			for i := range lines {
				dialing.Go(func() (err error) {
					lines[i], err = o.dialLine(t.Context(), node, first)
					return err
				})
			}
			err = dialing.Wait()
			defer func() {
				for _, l := range lines {
					if l != nil {
						_ = l.conn.Close()
					}
				}
			}()
			if err != nil {
				t.Fatal(err)
			}
			began, most := time.Now(), before.rss
			eventually(t, 3*time.Minute, func() error { // the buffers of the systems fill first
				most = max(most, o.footprint(t, node).rss)
				in, err := node.metric(t.Context(), "pombal_http_requests_in_flight")
				if err == nil && in > quiet {
					err = errors.New("who does not read still has a seat")
				}
				return err
			})
			took := most - before.rss
			t.Logf("%d streams lost their seats within %v; at most they took %.0f KiB of memory each", n, time.Since(began).Round(time.Millisecond), took/float64(n)/1024)
			if bound := float64(n*rssOfBehind + rssOfReading); scale == 1 && took > bound {
				t.Errorf("%d streams took %.0f bytes, more than %.0f", n, took, bound)
			}
		})
	}
}
