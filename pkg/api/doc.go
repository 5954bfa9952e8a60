// Package api is the Go SDK of Pombal: the types of the HTTP API and a client.
//
//	client, err := api.NewClient("https://pombal.example.com", os.Getenv("POMBAL_API_KEY"))
//	if err != nil {
//		return err
//	}
//	page, err := client.Instances.List(ctx, api.ListInstancesParams{
//		Status: api.InstanceStatusFilterConnected,
//	})
//
// The types are generated from openapi.yaml, so they and the document cannot
// drift apart. In answers, a pointer is nil where the API says null. In
// requests, a zero value is left out, and then the documented default applies;
// fields whose zero value means something are pointers (new(true) makes one).
// The few fields that a PATCH can clear are a [Patch], which tells "leave it"
// from "clear it" from "set it".
//
// Follow what happens with Client.Events.Stream, which survives broken
// connections, or let it be sent to a webhook and check it with [ReadWebhook].
//
// The package needs the standard library only.
package api
