package soak

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// deathBounds are what the nodes promise, whoever dies when.
var deathBounds = map[string]time.Duration{
	twice:   lease,
	unowned: 2 * lease,
	// The dial waits for its turn, the login takes a moment, and a failed one is repeated after a few seconds.
	idle: scale * 10 * time.Second,
	// Its node dies, and the one that takes over dies before the login, once.
	away: 2*(lease+lease/2) + scale*10*time.Second,
}

// TestRandomDeaths kills nodes with -9, stops them with SIGTERM and freezes them for longer than the lease, while
// customers use the API of all of them.
func TestRandomDeaths(t *testing.T) {
	t.Parallel()
	t.Run("three nodes", func(t *testing.T) {
		t.Parallel()
		run := (*hangman).once
		if isLong() {
			run = (*hangman).random
		}
		randomDeaths(t, 3, many(24, 60), run)
	})
	t.Run("two nodes", func(t *testing.T) {
		t.Parallel()
		if !isLong() {
			t.Skip("it takes minutes: make soak")
		}
		randomDeaths(t, 2, many(30, 30), (*hangman).random)
	})
}

func randomDeaths(t *testing.T, nodes, instances int, run func(*hangman)) {
	t.Helper()
	seed := seedOf(t)
	s := newSite(t, "")
	s.start(t, nodes)
	subjects := s.populate(t, instances)
	watch := s.watch(t, subjects)

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var customers errgroup.Group
	const workers = 4
	for i := range workers {
		var mine []*subject
		for j := i; j < len(subjects); j += workers {
			mine = append(mine, subjects[j])
		}
		c := &customer{s, rand.New(rand.NewPCG(seed, uint64(i)))}
		customers.Go(func() error { return c.live(ctx, mine) })
	}
	h := &hangman{t: t, site: s, dice: rand.New(rand.NewPCG(seed, 99))}
	run(h)
	stop()
	if err := customers.Wait(); err != nil {
		t.Error(err)
	}
	began := time.Now()
	if err := s.awaitTruth(t.Context(), 2*lease, subjects); err != nil {
		t.Error(err)
	}
	t.Logf("seed %d: %s; all was right %v after the end", seed, h, time.Since(began).Round(time.Millisecond))
	watch.check(t, deathBounds)
	s.logCalls(t)
	left := 0
	for _, x := range subjects {
		left += x.left
	}
	stats := s.wa.Stats()
	t.Logf("%d instances, %d pairings, %d disconnects; %d logins, %d refused; %d devices stay listed after a disconnect",
		len(subjects), stats.Pairings, left, stats.Logins, stats.LoginsRefused, strays(subjects))
}

// seedOf is the seed of the random decisions: always the same in short runs.
func seedOf(tb testing.TB) uint64 {
	tb.Helper()
	if text := os.Getenv("POMBAL_TEST_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			tb.Fatal(err)
		}
		return seed
	}
	return soak(7, rand.Uint64())
}

// hangman decides who dies.
type hangman struct {
	t    *testing.T
	site *site
	dice *rand.Rand

	thawing               sync.WaitGroup
	kills, stops, freezes int
}

// String says what he has done.
func (h *hangman) String() string {
	return fmt.Sprintf("%d kills, %d orderly stops, %d freezes", h.kills, h.stops, h.freezes)
}

// once kills one node and freezes another one, at the same time.
func (h *hangman) once() {
	ctx := h.t.Context()
	pause(ctx, time.Second)
	h.freeze(h.site.nodes[1], lease+2*time.Second)
	h.kill(h.site.nodes[0], time.Second)
	pause(ctx, 3*time.Second)
	h.thawing.Wait()
	pause(ctx, time.Second)
	h.stop(h.site.nodes[2], 0)
}

// random does this and that for five minutes. One node always runs.
func (h *hangman) random() {
	for end := time.Now().Add(5 * time.Minute); time.Now().Before(end); {
		if !pause(h.t.Context(), time.Duration(3000+h.dice.IntN(12_000))*time.Millisecond) {
			break
		}
		var running []*node
		for _, n := range h.site.nodes {
			if n.address() != "" {
				running = append(running, n)
			}
		}
		if len(running) < 2 {
			continue
		}
		victim := running[h.dice.IntN(len(running))]
		down := time.Duration(h.dice.IntN(3000)) * time.Millisecond
		switch roll := h.dice.IntN(100); {
		case roll < 65:
			h.kill(victim, down)
		case roll < 85 || len(running) < len(h.site.nodes):
			h.stop(victim, down)
		default:
			h.freeze(victim, lease+time.Duration(h.dice.IntN(8000))*time.Millisecond)
		}
	}
	h.thawing.Wait()
}

func (h *hangman) kill(n *node, down time.Duration) {
	h.kills++
	n.kill9()
	h.restart(n, down)
}

func (h *hangman) stop(n *node, down time.Duration) {
	h.stops++
	n.terminate(h.t)
	h.restart(n, down)
}

func (h *hangman) restart(n *node, down time.Duration) {
	pause(h.t.Context(), down)
	if err := n.start(); err != nil {
		h.t.Error(err)
	}
}

// freeze stops a node for a while.
func (h *hangman) freeze(n *node, d time.Duration) {
	h.freezes++
	n.freeze(h.t)
	h.thawing.Go(func() {
		pause(context.WithoutCancel(h.t.Context()), d)
		n.thaw(h.t)
	})
}
