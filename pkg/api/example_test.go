package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/pombal-api/pombal/pkg/api"
)

// exampleServer stands in for a real server in the examples.
func exampleServer() *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
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
