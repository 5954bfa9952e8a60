package app_test

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pombal-api/pombal/internal/app"
	"github.com/pombal-api/pombal/internal/testkit"
	"github.com/pombal-api/pombal/internal/testkit/apitest"
)

// tally counts what was served and refused in each minute, which answers name by its end.
type tally struct {
	mu              sync.Mutex
	served, refused map[int64]int
}

// note counts an answer.
func (n *tally) note(got reply) (refused bool, err error) {
	end, err := strconv.ParseInt(got.header.Get("X-RateLimit-Reset"), 10, 64)
	if err != nil {
		return false, fmt.Errorf("answered %d without a good X-RateLimit-Reset: %w", got.status, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	switch got.status {
	case http.StatusOK:
		n.served[end]++
		return false, nil
	case http.StatusTooManyRequests:
		n.refused[end]++
		return true, checkRefusal(got)
	}
	return false, fmt.Errorf("answered %d: %s", got.status, got.body)
}

// TestLimitsHoldOverNodes hammers two nodes until both refuse. Together they must have served the limit,
// never more, and hardly less: what one node holds in reserve must not be lost to the caller.
func TestLimitsHoldOverNodes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		path  string
		limit int
	}{
		"account": {"/v1/limits", 500}, // the plan's, over all keys of the account
		"group":   {"/v1/instances?limit=1", 50},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nodes := startNodes(t, 2)
			tenant := nodes[0].NewTenant(t, onPlan("free"))
			hammer(t, nodes, c.path, c.limit, tenant.Key, tenant.NewKey(t))
		})
	}
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		s := apitest.Start(t, testkit.Engines()[0])
		tenant := s.NewTenant(t, onPlan("free"))
		hammer(t, []*apitest.Server{s}, "/v1/limits", 500, tenant.Key, tenant.NewKey(t))
	})
}

func onPlan(plan string) func(*app.NewAccount) { return func(n *app.NewAccount) { n.Plan = plan } }

// hammer asks all nodes with all keys until everybody is refused, and again if the minute turned
// meanwhile. Of the last minute all must have been served.
func hammer(t *testing.T, nodes []*apitest.Server, path string, limit int, keys ...string) {
	t.Helper()
	client := nodes[0].HTTP(t)
	n := &tally{served: map[int64]int{}, refused: map[int64]int{}}
	for turned := true; turned; {
		before := len(n.refused)
		if err := hammerOnce(t, n, client, nodes, path, keys); err != nil {
			t.Fatal(err)
		}
		turned = len(n.refused) > before+1
	}
	last := int64(0)
	for end, served := range n.served {
		t.Logf("the minute up to %s: served %d of %d", time.Unix(end, 0).UTC().Format(time.TimeOnly), served, limit)
		if served > limit {
			t.Errorf("served %d in one minute, over the limit of %d", served, limit)
		}
		last = max(last, end)
	}
	if got := n.served[last]; got*100 < limit*95 {
		t.Errorf("refused everybody after %d of %d", got, limit)
	}
}

func hammerOnce(t *testing.T, n *tally, client *http.Client, nodes []*apitest.Server, path string, keys []string) error {
	const callers, enough = 8, 5
	var all errgroup.Group
	for i := range callers * len(nodes) {
		base := nodes[i%len(nodes)].URL
		r := request{method: http.MethodGet, path: path, header: bearer(keys[i/len(nodes)%len(keys)])}
		all.Go(func() error {
			for refusals := 0; refusals < enough; {
				got, err := send(t.Context(), client, base, r)
				if err != nil {
					return err
				}
				refused, err := n.note(got)
				if err != nil {
					return err
				}
				if refused {
					refusals++
				}
			}
			return nil
		})
	}
	return all.Wait()
}

// checkRefusal holds that a refused caller is told when to come back.
func checkRefusal(r reply) error {
	wait, err := strconv.Atoi(r.header.Get("Retry-After"))
	if err != nil || wait < 1 || wait > 60 {
		return fmt.Errorf("Retry-After is %q, want 1 to 60 seconds", r.header.Get("Retry-After"))
	}
	if left := r.header.Get("X-RateLimit-Remaining"); left != "0" {
		return fmt.Errorf("X-RateLimit-Remaining is %q in a refusal", left)
	}
	return nil
}
