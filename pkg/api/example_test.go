package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/pombal-api/pombal/pkg/api"
)

// exampleEvent is an event as it is streamed and as webhooks get it.
const exampleEvent = `{"id":"evt_01kghnzcg0e58bm3hfbsmxbqx4","event":"instance.disconnected","timestamp":"2026-02-03T12:00:00.000Z",` +
	`"accountId":"acct_01kdyyysm0fq4tct8s89acxw0s","instanceId":"inst_01kdwfzy80e17b5410xamp3tcx","sequence":8,` +
	`"data":{"instanceId":"inst_01kdwfzy80e17b5410xamp3tcx","name":"Sales WhatsApp","status":"disconnected","reason":null}}`

// exampleServer stands in for a real server in the examples.
func exampleServer() *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/events/stream" {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = fmt.Fprintf(w, "id: evt_01kghnzcg0e58bm3hfbsmxbqx4\nevent: instance.disconnected\ndata: %s\n\n", exampleEvent)
			return
		}
		if r.Method == http.MethodDelete {
			w.WriteHeader(http.StatusNotFound)
			_, _ = fmt.Fprint(w, `{"success":false,"error":{"code":"instance_not_found","message":"There is no instance with this id in your account.","requestId":"req_01kghnzcg0en1rks12y199e68y"}}`)
			return
		}
		_, _ = fmt.Fprint(w, `{"success":true,"data":[
			{"id":"inst_01kdwfzy80e17b5410xamp3tcx","name":"Sales WhatsApp","phone":"5511999999999","status":"connected"},
			{"id":"inst_01kf110cj0e638623ebffsvy4c","name":"Support WhatsApp","phone":"5521988888888","status":"connected"}],
			"pagination":{"total":2,"limit":50,"offset":0,"hasMore":false,"nextCursor":null}}`)
	}))
}

func Example() {
	ctx := context.Background()
	server := exampleServer()
	defer server.Close()

	client, err := api.NewClient(server.URL, "pmb_example")
	if err != nil {
		fmt.Println(err)
		return
	}
	page, err := client.Instances.List(ctx, api.ListInstancesParams{Status: api.InstanceStatusFilterConnected})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(page.Pagination.Total, "connected")
	for _, instance := range page.Data {
		fmt.Println(instance.Name, *instance.Phone)
	}
	// Output:
	// 2 connected
	// Sales WhatsApp 5511999999999
	// Support WhatsApp 5521988888888
}

// All asks for the next page when the loop gets there.
func ExampleInstanceService_All() {
	server := exampleServer()
	defer server.Close()
	client, err := api.NewClient(server.URL, "pmb_example")
	if err != nil {
		fmt.Println(err)
		return
	}
	for instance, err := range client.Instances.All(context.Background(), api.ListInstancesParams{Limit: 100}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(instance.ID)
	}
	// Output:
	// inst_01kdwfzy80e17b5410xamp3tcx
	// inst_01kf110cj0e638623ebffsvy4c
}

// A failed call says what went wrong in a code.
func ExampleError() {
	server := exampleServer()
	defer server.Close()
	client, err := api.NewClient(server.URL, "pmb_example")
	if err != nil {
		fmt.Println(err)
		return
	}
	err = client.Instances.Delete(context.Background(), "inst_01kghnzcg0e58bm3hfbsmxbqx4")
	if failure, ok := errors.AsType[*api.Error](err); ok && failure.Code == api.ErrorCodeInstanceNotFound {
		fmt.Println("already gone:", failure.RequestID)
	}
	// Output:
	// already gone: req_01kghnzcg0en1rks12y199e68y
}

// Stream follows what happens, and connects again whenever it has to.
func ExampleEventService_Stream() {
	server := exampleServer()
	defer server.Close()
	client, err := api.NewClient(server.URL, "pmb_example")
	if err != nil {
		fmt.Println(err)
		return
	}
	params := api.StreamEventsParams{Types: api.EventTypes(api.EventTypeInstanceConnected, api.EventTypeInstanceDisconnected)}
	for event, err := range client.Events.Stream(context.Background(), params) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(event.Event, *event.InstanceID)
		break // this example has seen enough
	}
	// Output:
	// instance.disconnected inst_01kdwfzy80e17b5410xamp3tcx
}

// A receiver of webhooks verifies each request and answers at once.
func ExampleReadWebhook() {
	secret := "whs_ThisIsOnlyAnExampleAndSignsNothing123456789" // as it was shown when the webhook was created
	receive := func(w http.ResponseWriter, r *http.Request) {
		event, err := api.ReadWebhook(r, secret)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		fmt.Println("got", event.ID) // hand it to a queue, unless this id has been seen before
		w.WriteHeader(http.StatusNoContent)
	}

	request := httptest.NewRequest(http.MethodPost, "/webhooks/whatsapp", strings.NewReader(exampleEvent))
	answer := httptest.NewRecorder()
	receive(answer, request)
	fmt.Println(answer.Code, strings.TrimSpace(answer.Body.String()))

	request = httptest.NewRequest(http.MethodPost, "/webhooks/whatsapp", strings.NewReader(exampleEvent))
	request.Header = standard("evt_01kghnzcg0e58bm3hfbsmxbqx4", time.Now(), exampleEvent, []byte(secret)) // signed like the server does
	answer = httptest.NewRecorder()
	receive(answer, request)
	fmt.Println(answer.Code)
	// Output:
	// 400 api: the webhook is not signed: there is neither webhook-signature nor X-EnviaAI-Signature
	// got evt_01kghnzcg0e58bm3hfbsmxbqx4
	// 204
}

// A Patch says whether a field is left, cleared or set.
func ExamplePatch() {
	body := api.UpdateInstance{
		WebhookURL: api.Null[string](),  // clear it
		ExternalID: api.Set("crm-4711"), // set it
		Name:       new("Vendas SP"),    // set it; a name cannot be cleared
		Settings:   nil,                 // leave it
	}
	data, err := json.Marshal(body)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(string(data))
	// Output:
	// {"name":"Vendas SP","webhookUrl":null,"externalId":"crm-4711"}
}
