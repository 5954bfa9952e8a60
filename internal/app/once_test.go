package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pombal-api/pombal/internal/testkit"
	"github.com/pombal-api/pombal/internal/testkit/apitest"
	"github.com/pombal-api/pombal/pkg/api"
)

// TestEqualKeysMakeOneObject sends the same creating request a hundred times at the same moment, to two
// nodes where the database can have two.
func TestEqualKeysMakeOneObject(t *testing.T) {
	t.Parallel()
	for _, engine := range testkit.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			db := apitest.NewDatabase(t, engine)
			nodes := []*apitest.Server{apitest.StartOn(t, db)}
			if db.URL != "" {
				nodes = append(nodes, apitest.StartOn(t, db))
			}
			tenant := nodes[0].NewTenant(t)
			for name, r := range map[string]request{
				"instance": {path: "/v1/instances", body: `{"name":"once","externalId":"once"}`},
				"key":      {path: "/v1/api-keys", body: `{"name":"once","scopes":["instances:read"]}`},
				"token":    {path: "/v1/tokens", body: `{}`},
			} {
				r.method, r.header = http.MethodPost, append(bearer(tenant.Key), "Idempotency-Key", "parallel-"+name)
				t.Run(name, func(t *testing.T) { sendsOnce(t, nodes, r) })
			}
			page, err := tenant.API.Instances.List(t.Context(), api.ListInstancesParams{})
			if err != nil || page.Pagination.Total != 1 || len(page.Data) != 1 {
				t.Errorf("a hundred creates made %d instances (%v)", page.Pagination.Total, err)
			}
			keys, err := tenant.API.APIKeys.List(t.Context(), api.ListAPIKeysParams{})
			if err != nil || keys.Pagination.Total != 2 {
				t.Errorf("a hundred creates left %d keys, want the tenant's and one more (%v)", keys.Pagination.Total, err)
			}
		})
	}
}

// sendsOnce sends r many times at once. Every answer is the same one, or says that it is being made.
func sendsOnce(t *testing.T, nodes []*apitest.Server, r request) {
	t.Helper()
	client := nodes[0].HTTP(t)
	var mu sync.Mutex
	answers, waits := map[string]int{}, 0
	var all errgroup.Group
	for i := range 100 {
		all.Go(func() error {
			got, err := send(t.Context(), client, nodes[i%len(nodes)].URL, r)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			switch {
			case got.status == http.StatusCreated:
				answers[string(got.body)]++
			case got.status == http.StatusConflict && codeOf(got) == api.ErrorCodeIdempotencyInProgress && got.header.Get("Retry-After") != "":
				waits++
			default:
				return fmt.Errorf("answered %d: %s", got.status, got.body)
			}
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		t.Error(err)
	}
	if len(answers) != 1 {
		t.Errorf("%d different answers, %d times in progress: %v", len(answers), waits, answers)
	}
	for _, node := range nodes {
		again := mustSend(t, client, node.URL, r)
		if answers[string(again.body)] == 0 || again.header.Get("Idempotent-Replayed") != "true" {
			t.Errorf("asked again, %s answered %d: %s", node.URL, again.status, again.body)
		}
		other := r
		other.body = `{"name":"another","scopes":["instances:write"]}`
		if got := mustSend(t, client, node.URL, other); got.status < 400 || got.status >= 500 {
			t.Errorf("another body under the same key was answered %d: %s", got.status, got.body)
		}
	}
}

// codeOf is the error code of an answer of /v1.
func codeOf(r reply) api.ErrorCode {
	var envelope api.ErrorEnvelope
	if json.Unmarshal(r.body, &envelope) != nil {
		return ""
	}
	return envelope.Error.Code
}

// TestExternalIDsAreTakenOnce creates the same external id from many callers without any idempotency key.
func TestExternalIDsAreTakenOnce(t *testing.T) {
	t.Parallel()
	for _, engine := range testkit.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			s := apitest.Start(t, engine)
			tenant := s.NewTenant(t, onPlan("small"))
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			var mu sync.Mutex
			codes := map[api.ErrorCode]int{}
			var all errgroup.Group
			for i := range 40 {
				all.Go(func() error {
					external := fmt.Sprintf("mine-%d", i%5)
					_, err := tenant.API.Instances.Create(ctx, api.CreateInstance{Name: "mine", ExternalID: &external})
					mu.Lock()
					defer mu.Unlock()
					codes[api.CodeOf(err)]++
					return nil
				})
			}
			_ = all.Wait()
			rest := codes[api.ErrorCodeExternalIDInUse] + codes[api.ErrorCodeInstanceLimitReached]
			if codes[""] != 3 || rest != 37 {
				t.Errorf("a plan of 3 instances and 5 external ids gave %v", codes)
			}
		})
	}
}
