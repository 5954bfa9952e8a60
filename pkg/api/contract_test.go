package api_test

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"

	pombal "github.com/pombal-api/pombal"
	"github.com/pombal-api/pombal/pkg/api"
)

const (
	anInstance = "inst_01kdwfzy80e17b5410xamp3tcx"
	aKey       = "key_01kdwcv7k0fawv3twffmsrhx7s"
	anAccount  = "acct_01kdyyysm0fq4tct8s89acxw0s"
	aWebhook   = "wh_01kghnzcg0e58bm3hfbsmxbqx4"
	aLog       = "log_01kghnzcg0e58bm3hfbsmxbqx4"
	anInbound  = "whin_01kghnzcg0e58bm3hfbsmxbqx4"
	anEvent    = "evt_01kghnzcg0e58bm3hfbsmxbqx4"
)

// caller makes a call. The result is what the client made of the answer, nil
// when that only confirms.
type caller func(context.Context, *api.Client) (any, error)

// instanceCalls has one call for each operation on instances, by operation id.
func instanceCalls() map[string]caller {
	return map[string]caller{
		"listInstances": func(ctx context.Context, c *api.Client) (any, error) {
			return c.Instances.List(ctx, api.ListInstancesParams{})
		},
		"createInstance": func(ctx context.Context, c *api.Client) (any, error) {
			return c.Instances.Create(ctx, api.CreateInstance{Name: "a"})
		},
		"getInstance": func(ctx context.Context, c *api.Client) (any, error) { return c.Instances.Get(ctx, anInstance) },
		"updateInstance": func(ctx context.Context, c *api.Client) (any, error) {
			return c.Instances.Update(ctx, anInstance, api.UpdateInstance{Name: new("a")})
		},
		"deleteInstance": func(ctx context.Context, c *api.Client) (any, error) { return nil, c.Instances.Delete(ctx, anInstance) },
		"connectInstance": func(ctx context.Context, c *api.Client) (any, error) {
			return c.Instances.Connect(ctx, anInstance, api.ConnectInstance{})
		},
		"getInstanceQrCode": func(ctx context.Context, c *api.Client) (any, error) { return c.Instances.QRCode(ctx, anInstance) },
		"disconnectInstance": func(ctx context.Context, c *api.Client) (any, error) {
			return nil, c.Instances.Disconnect(ctx, anInstance, api.DisconnectInstance{Reason: "left"})
		},
		"restartInstance": func(ctx context.Context, c *api.Client) (any, error) {
			return nil, c.Instances.Restart(ctx, anInstance)
		},
		"getInstanceProxy": func(ctx context.Context, c *api.Client) (any, error) { return c.Instances.Proxy(ctx, anInstance) },
		"setInstanceProxy": func(ctx context.Context, c *api.Client) (any, error) {
			return c.Instances.SetProxy(ctx, anInstance, api.SetProxy{URL: "socks5://proxy.example.com"})
		},
		"removeInstanceProxy": func(ctx context.Context, c *api.Client) (any, error) {
			return nil, c.Instances.RemoveProxy(ctx, anInstance)
		},
		"getInstanceStatus": func(ctx context.Context, c *api.Client) (any, error) { return c.Instances.Status(ctx, anInstance) },
	}
}

// webhookCalls has one call for each operation on webhooks, by operation id.
func webhookCalls() map[string]caller {
	return map[string]caller{
		"listWebhooks": func(ctx context.Context, c *api.Client) (any, error) {
			return c.Webhooks.List(ctx, api.ListWebhooksParams{})
		},
		"createWebhook": func(ctx context.Context, c *api.Client) (any, error) {
			return c.Webhooks.Create(ctx, api.CreateWebhook{URL: "https://example.com", Events: []api.EventType{api.EventTypeMessageReceived}})
		},
		"getWebhook": func(ctx context.Context, c *api.Client) (any, error) { return c.Webhooks.Get(ctx, aWebhook) },
		"replaceWebhook": func(ctx context.Context, c *api.Client) (any, error) {
			return c.Webhooks.Replace(ctx, aWebhook, api.ReplaceWebhook{URL: "https://example.com", Events: []api.EventType{api.EventTypeMessageReceived}})
		},
		"updateWebhook": func(ctx context.Context, c *api.Client) (any, error) {
			return c.Webhooks.Update(ctx, aWebhook, api.UpdateWebhook{Name: api.Null[string]()})
		},
		"deleteWebhook": func(ctx context.Context, c *api.Client) (any, error) { return nil, c.Webhooks.Delete(ctx, aWebhook) },
		"rotateWebhookSecret": func(ctx context.Context, c *api.Client) (any, error) {
			return c.Webhooks.RotateSecret(ctx, aWebhook, api.RotateWebhookSecret{OverlapSeconds: new(0)})
		},
		"testWebhook": func(ctx context.Context, c *api.Client) (any, error) {
			return c.Webhooks.Test(ctx, aWebhook, api.TestWebhook{})
		},
		"listWebhookLogs": func(ctx context.Context, c *api.Client) (any, error) {
			return c.Webhooks.Logs(ctx, aWebhook, api.ListWebhookLogsParams{})
		},
		"getWebhookLog": func(ctx context.Context, c *api.Client) (any, error) { return c.Webhooks.Log(ctx, aWebhook, aLog) },
		"replayWebhookLog": func(ctx context.Context, c *api.Client) (any, error) {
			return c.Webhooks.ReplayLog(ctx, aWebhook, aLog)
		},
		"replayWebhook": func(ctx context.Context, c *api.Client) (any, error) {
			return c.Webhooks.Replay(ctx, aWebhook, api.ReplayWebhook{Since: api.NewTime(time.Now())})
		},
		"listInboundWebhooks": func(ctx context.Context, c *api.Client) (any, error) {
			return c.Webhooks.Inbound.List(ctx, api.ListInboundWebhooksParams{})
		},
		"createInboundWebhook": func(ctx context.Context, c *api.Client) (any, error) {
			return c.Webhooks.Inbound.Create(ctx, api.CreateInboundWebhook{Name: "a", InstanceID: anInstance})
		},
		"deleteInboundWebhook": func(ctx context.Context, c *api.Client) (any, error) {
			return nil, c.Webhooks.Inbound.Delete(ctx, anInbound)
		},
	}
}

// otherCalls has one call for each other operation, by operation id.
func otherCalls() map[string]caller {
	return map[string]caller{
		"listApiKeys": func(ctx context.Context, c *api.Client) (any, error) {
			return c.APIKeys.List(ctx, api.ListAPIKeysParams{})
		},
		"createApiKey": func(ctx context.Context, c *api.Client) (any, error) {
			return c.APIKeys.Create(ctx, api.CreateAPIKey{Name: "a", Scopes: []api.Scope{api.ScopeInstancesRead}})
		},
		"revokeApiKey": func(ctx context.Context, c *api.Client) (any, error) { return nil, c.APIKeys.Revoke(ctx, aKey) },
		"rotateApiKey": func(ctx context.Context, c *api.Client) (any, error) {
			return c.APIKeys.Rotate(ctx, aKey, api.RotateAPIKey{OverlapSeconds: new(0)})
		},
		"createToken": func(ctx context.Context, c *api.Client) (any, error) { return c.Tokens.Create(ctx, api.CreateToken{}) },
		"listAccounts": func(ctx context.Context, c *api.Client) (any, error) {
			return c.Accounts.List(ctx, api.ListAccountsParams{})
		},
		"createAccount": func(ctx context.Context, c *api.Client) (any, error) {
			return c.Accounts.Create(ctx, api.CreateAccount{Name: "a"})
		},
		"getAccount": func(ctx context.Context, c *api.Client) (any, error) { return c.Accounts.Get(ctx, anAccount) },
		"updateAccount": func(ctx context.Context, c *api.Client) (any, error) {
			return c.Accounts.Update(ctx, anAccount, api.UpdateAccount{ExternalID: api.Null[string]()})
		},
		"listEvents": func(ctx context.Context, c *api.Client) (any, error) {
			return c.Events.List(ctx, api.ListEventsParams{})
		},
		// The answer has no end; the test wants its first event.
		"streamEvents": func(ctx context.Context, c *api.Client) (any, error) {
			for event, err := range c.Events.Stream(ctx, api.StreamEventsParams{}) {
				return event, err
			}
			return nil, nil
		},
		"getLimits": func(ctx context.Context, c *api.Client) (any, error) { return c.Limits(ctx) },
	}
}

// operation is one operation of the document with its place.
type operation struct {
	*openapi3.Operation
	method, path string
}

// versioned returns the operations of the document under /v1, by id.
func versioned(t *testing.T) map[string]operation {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(pombal.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]operation{}
	for path, item := range doc.Paths.Map() {
		if !strings.HasPrefix(path, "/v1/") {
			continue
		}
		for method, op := range item.Operations() {
			found[op.OperationID] = operation{op, method, path}
		}
	}
	return found
}

// success returns the status, the type and the examples of the answer to a
// success.
func (op operation) success(t *testing.T) (status int, kind string, examples []any) {
	t.Helper()
	status = http.StatusOK
	for op.Responses.Status(status) == nil {
		status++ // 201 or 202
	}
	content := op.Responses.Status(status).Value.Content
	kind = "application/json"
	if content.Get(kind) == nil {
		kind = "text/event-stream"
	}
	media := content.Get(kind)
	if media.Example != nil {
		return status, kind, []any{media.Example}
	}
	for _, example := range media.Examples {
		examples = append(examples, example.Value.Value)
	}
	return status, kind, examples
}

// The client has a call for each operation, at the documented place, and
// nothing that the document shows in an answer is lost on the way through the
// Go types.
func TestClient_FitsTheDocument(t *testing.T) {
	t.Parallel()
	operations := versioned(t)
	calls := instanceCalls()
	maps.Copy(calls, webhookCalls())
	maps.Copy(calls, otherCalls())
	for id := range calls {
		if _, ok := operations[id]; !ok {
			t.Errorf("the client calls %s, which the document does not have", id)
		}
	}
	for id, op := range operations {
		callIt, ok := calls[id]
		if !ok {
			t.Errorf("the client has no call for %s", id)
			continue
		}
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			status, kind, examples := op.success(t)
			if len(examples) == 0 {
				t.Fatal("the document has no example of the answer")
			}
			for _, example := range examples {
				checkCall(t, op, status, kind, example, callIt)
			}
		})
	}
}

// checkCall makes a call, answers it with an example and compares the result.
func checkCall(t *testing.T, op operation, status int, kind string, example any, callIt caller) {
	t.Helper()
	var body []byte
	if stream, ok := example.(string); ok {
		body, example = []byte(stream+"\n"), dataOf(t, stream)
	} else {
		body = toJSON(t, example)
	}
	path := strings.NewReplacer("{instanceId}", anInstance, "{keyId}", aKey, "{accountId}", anAccount,
		"{webhookId}", aWebhook, "{logId}", aLog, "{inboundId}", anInbound).Replace(op.path)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != op.method || r.URL.Path != path {
			t.Errorf("the client sends %s %s, the document says %s %s", r.Method, r.URL.Path, op.method, path)
		}
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		_, _ = w.Write(body)
	}))
	defer s.Close()
	c, err := api.NewClient(s.URL, "pmb_test")
	if err != nil {
		t.Fatal(err)
	}
	got, err := callIt(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if got == nil {
		return
	}
	want, _ := example.(map[string]any)
	if data, single := want["data"].(map[string]any); single && want["success"] == true {
		want = data
	}
	if diff := cmp.Diff(fromJSON(t, toJSON(t, want)), fromJSON(t, toJSON(t, got))); diff != "" {
		t.Errorf("lost on the way (-document +client):\n%s", diff)
	}
}

// dataOf returns the data of the only message of a stream.
func dataOf(t *testing.T, stream string) any {
	t.Helper()
	_, data, ok := strings.Cut(stream, "\ndata: ")
	if !ok {
		t.Fatalf("the stream has no data:\n%s", stream)
	}
	return fromJSON(t, []byte(data))
}

// Nothing that the document shows in an error is lost on the way through the Go
// types.
func TestClient_UnderstandsEachErrorExample(t *testing.T) {
	t.Parallel()
	for id, op := range versioned(t) {
		for status, res := range op.Responses.Map() {
			if status < "400" {
				continue
			}
			media := res.Value.Content.Get("application/json")
			examples := []any{media.Example}
			for _, example := range media.Examples {
				examples = append(examples, example.Value.Value)
			}
			for _, example := range slices.DeleteFunc(examples, func(e any) bool { return e == nil }) {
				var envelope api.ErrorEnvelope
				if err := json.Unmarshal(toJSON(t, example), &envelope); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(fromJSON(t, toJSON(t, example)), fromJSON(t, toJSON(t, envelope))); diff != "" {
					t.Errorf("%s %s: lost on the way (-document +client):\n%s", id, status, diff)
				}
			}
		}
	}
}

func toJSON(t *testing.T, value any) []byte {
	t.Helper()
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func fromJSON(t *testing.T, data []byte) any {
	t.Helper()
	var value any
	if err := json.Unmarshal(data, &value); err != nil {
		t.Fatal(err)
	}
	return value
}
