package soak

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/pombal-api/pombal/pkg/api"
)

// TestNodeCutOff takes the way to the database from one of two nodes; WhatsApp it still reaches.
func TestNodeCutOff(t *testing.T) {
	t.Parallel()
	// A cut cable: the node cannot know what the other one does, so it lets go before its lease ends.
	t.Run("silence", func(t *testing.T) {
		t.Parallel()
		c := newCutOff(t)
		c.way.silence()
		c.awaitTakeOver(t, lease+3*time.Second)
		if c.left == 0 || c.left > lease {
			t.Errorf("the node that was cut off held connections for %v, longer than the lease", c.left)
		}
		c.comeBack(t, map[string]time.Duration{twice: 0, unowned: 2 * lease, idle: 10 * time.Second, away: 2 * lease})
	})
	// Refused, the node takes the database for down and keeps its connections. WhatsApp ends them when the
	// other one logs in.
	t.Run("refusal", func(t *testing.T) {
		t.Parallel()
		c := newCutOff(t)
		c.way.refuse()
		c.awaitTakeOver(t, lease+3*time.Second)
		c.comeBack(t, map[string]time.Duration{twice: 2 * time.Second, unowned: 2 * lease, idle: 10 * time.Second, away: 5 * time.Second})
	})
}

type cutOff struct {
	site     *site
	subjects []*subject
	watch    *watch
	way      *tunnel
	began    time.Time
	left     time.Duration // until the last connection of the node was gone
}

// newCutOff lets node a go through a tunnel.
func newCutOff(t *testing.T) *cutOff {
	t.Helper()
	s := newSite(t, "")
	c := &cutOff{site: s, way: newTunnel(t, s.url)}
	s.nodes = []*node{{site: s, name: "a", database: c.way.url}}
	if err := s.nodes[0].start(); err != nil {
		t.Fatal(err)
	}
	s.start(t, 1)
	c.subjects = s.populate(t, many(10, 30))
	s.awaitBalance(t, c.subjects)
	c.watch = s.watch(t, c.subjects)
	c.began = time.Now()
	return c
}

// awaitTakeOver waits until the node that is not cut off has everything.
func (c *cutOff) awaitTakeOver(t *testing.T, within time.Duration) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	asking.Go(func() { c.ask(ctx, t) })
	a, b := c.site.nodes[0].life(), c.site.nodes[1].life()
	eventually(t, within, func() error {
		held := map[string]int{}
		for _, o := range c.site.online() {
			held[o.process]++
		}
		if held[a] == 0 && c.left == 0 {
			c.left = time.Since(c.began)
		}
		if held[a] != 0 || held[b] != len(c.subjects) {
			return fmt.Errorf("the nodes have %v", held)
		}
		return nil
	})
	t.Logf("the connections were gone after %v, and back on the other node after %v", c.left.Round(10*time.Millisecond),
		time.Since(c.began).Round(10*time.Millisecond))
	cancel()
	asking.Wait()
}

// ask wants a 503 of the node that is cut off.
func (c *cutOff) ask(ctx context.Context, t *testing.T) {
	client := c.site.on(t, c.site.nodes[0])
	for pause(ctx, 200*time.Millisecond) {
		_, err := client.Instances.Status(ctx, c.subjects[0].id)
		if ctx.Err() != nil {
			return
		}
		if e, ok := errors.AsType[*api.Error](err); !ok || e.Code != "unavailable" {
			t.Errorf("of a node that is cut off: %v", err)
		}
	}
}

// comeBack repairs the way, and waits until both nodes have their share again.
func (c *cutOff) comeBack(t *testing.T, bounds map[string]time.Duration) {
	t.Helper()
	if err := c.way.open(); err != nil {
		t.Fatal(err)
	}
	c.site.awaitBalance(t, c.subjects)
	c.watch.check(t, bounds)
}
