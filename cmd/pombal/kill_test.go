package main

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/testkit"
)

// TestKillDuringCreates kills the server, again and again, while 16 clients create instances. What was
// confirmed must be there, all of it, once, and counted.
func TestKillDuringCreates(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		s := newSite(testkit.Database{Dir: t.TempDir()})
		killDuringCreates(t, s, func(*process, *stream) {})
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		pg := testkit.NewPrivatePostgres(t)
		s := newSite(testkit.Database{URL: pg.URL, Dir: t.TempDir()})
		killDuringCreates(t, s, func(p *process, creates *stream) {
			before := goroutines(t, p)
			for range soak(3, 50) { // connections break, the server stays
				s.exec(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pombal'")
				creates.grow(10)
			}
			for range soak(1, 10) { // the database crashes
				pg.Kill9()
				pg.Start()
				creates.grow(30)
			}
			creates.finish()
			eventually(t, 20*time.Second, func() error {
				if after := goroutines(t, p); after > before+20 {
					return fmt.Errorf("the server had %d goroutines and has %d", before, after)
				}
				return nil
			})
		})
	})
}

// killDuringCreates kills and starts the server of the site under a stream of creates, then does more
// with the last server.
func killDuringCreates(t *testing.T, s *site, more func(*process, *stream)) {
	t.Helper()
	partner, partnerKey := s.newKey(t, "--partner")
	_, key := s.newKey(t, "--parent", partner)
	p := s.serve(t)
	creates := startStream(t, p, key, 16)
	for range soak(3, 30) {
		creates.grow(5 + rand.IntN(40))
		p.kill()
		p = s.serve(t)
		creates.url.Store(&p.url)
	}
	creates.grow(30)
	more(p, creates)
	creates.finish()

	// The minute goes by during which the claim of a create belongs to the server that was killed.
	past := "0"
	if s.URL != "" {
		past = "now() - interval '1 hour'"
	}
	s.exec(t, "UPDATE idempotency_keys SET locked_until = "+past)
	for range 2 { // each has one fate, the same one for ever
		creates.repeat()
		creates.check(s, p, partnerKey)
	}

	// As if every create had been killed after its commit and before its answer was kept.
	s.exec(t, "UPDATE idempotency_keys SET status = 0, header = NULL, sealed = NULL, locked_until = "+past)
	creates.repeat()
	creates.check(s, p, partnerKey)
	p.stop(t)
	secrets := map[string]string{"a key": key, "the partner's key": partnerKey, "the secret": s.secret}
	if u, err := url.Parse(s.URL); err == nil && u.User != nil {
		secrets["the database's password"], _ = u.User.Password()
	}
	checkAbsent(t, "the log", p.log.String(), secrets)
}

// goroutines asks a server how many it has.
func goroutines(t *testing.T, p *process) int {
	t.Helper()
	lines := bufio.NewScanner(strings.NewReader(mustCall(t, client(t), http.StatusOK, http.MethodGet, p.admin+"/metrics", "")))
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), "go_goroutines "); ok {
			n, err := strconv.Atoi(value)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("there is no go_goroutines in /metrics")
	return 0
}
