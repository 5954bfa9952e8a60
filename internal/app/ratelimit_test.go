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

// window is what the answers said about one minute, which they name by its end.
type window struct {
	served, refused map[*apitest.Server]int
}

func (w *window) total() (n int) {
	for _, served := range w.served {
		n += served
	}
	return n
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

// hammer asks all nodes with all keys until everybody is refused, and counts what was served by window.
// A window may turn meanwhile: then the one before was cut short, and only the limit counts for it.
func hammer(t *testing.T, nodes []*apitest.Server, path string, limit int, keys ...string) {
	t.Helper()
	const callers, enough = 8, 5
	client := nodes[0].HTTP(t)
	var mu sync.Mutex
	windows := map[int64]*window{}
	note := func(node *apitest.Server, got reply) (refused bool, err error) {
		end, err := strconv.ParseInt(got.header.Get("X-RateLimit-Reset"), 10, 64)
		if err != nil {
			return false, fmt.Errorf("answered %d with no X-RateLimit-Reset: %w", got.status, err)
		}
		mu.Lock()
		defer mu.Unlock()
		w := windows[end]
		if w == nil {
			w = &window{map[*apitest.Server]int{}, map[*apitest.Server]int{}}
			windows[end] = w
		}
		switch got.status {
		case http.StatusOK:
			w.served[node]++
			return false, nil
		case http.StatusTooManyRequests:
			w.refused[node]++
			return true, checkRefusal(got)
		}
		return false, fmt.Errorf("answered %d: %s", got.status, got.body)
	}
	var all errgroup.Group
	for i := range callers * len(nodes) {
		node, key := nodes[i%len(nodes)], keys[i/len(nodes)%len(keys)]
		all.Go(func() error {
			for refusals := 0; refusals < enough; {
				got, err := send(t.Context(), client, node.URL, request{method: http.MethodGet, path: path, header: bearer(key)})
				if err != nil {
					return err
				}
				refused, err := note(node, got)
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
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
	judge(t, nodes, windows, limit)
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

// judge looks at the windows. The last one was used up, as everybody was refused in the end.
func judge(t *testing.T, nodes []*apitest.Server, windows map[int64]*window, limit int) {
	t.Helper()
	last := int64(0)
	for end, w := range windows {
		t.Logf("the minute up to %s: served %d of %d", time.Unix(end, 0).UTC().Format(time.TimeOnly), w.total(), limit)
		if w.total() > limit {
			t.Errorf("served %d in one minute, over the limit of %d", w.total(), limit)
		}
		last = max(last, end)
	}
	for _, node := range nodes {
		if windows[last].refused[node] == 0 {
			return // the minute turned when this node had been asked for the last time
		}
	}
	if got := windows[last].total(); got*100 < limit*95 {
		t.Errorf("refused everybody after %d of %d", got, limit)
	}
}
