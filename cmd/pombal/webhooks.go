package main

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/pombal-api/pombal/pkg/api"
)

type webhooksCmd struct {
	Listen listenWebhooksCmd `cmd:"" help:"Bring the events to a receiver on this machine, signed like webhooks, until Ctrl-C."`
	List   listWebhooksCmd   `cmd:"" help:"List the webhooks."`
	Create createWebhookCmd  `cmd:"" help:"Create one and print its id and its secret, which is shown this once."`
	Delete deleteWebhookCmd  `cmd:"" help:"Delete one."`
	Logs   webhookLogsCmd    `cmd:"" help:"List the deliveries of one, newest first, or show one of them."`
	Replay replayWebhookCmd  `cmd:"" help:"Deliver events again: one (--delivery), or all that failed since a time (--since)."`
	Test   testWebhookCmd    `cmd:"" help:"Send a made-up event and show what the receiver answers."`
}

// webhookArg is the argument that names a webhook.
type webhookArg struct {
	Webhook string `arg:"" help:"The webhook's id, wh_…"`
}

type listWebhooksCmd struct {
	clientFlags `embed:""`
	JSON        bool `help:"Print a line of JSON for each."`
}

// Run lists the webhooks.
func (c *listWebhooksCmd) Run(ctx context.Context, s streams) error {
	return c.with(ctx, s, func(client *api.Client) error {
		all := client.Webhooks.All(ctx, api.ListWebhooksParams{Limit: 100})
		return printAll(s, c.JSON, "ID\tURL\tSTATUS\tINSTANCE\tFAILING SINCE\tEVENTS", all, func(w *api.Webhook) []any {
			return []any{w.ID, w.URL, w.Status, orDash(w.InstanceID), orDash(w.FailingSince), joined(w.Events)}
		})
	})
}

// printAll prints a list: a line of JSON for each object, or a table.
func printAll[T any](s streams, asJSON bool, header string, all iter.Seq2[T, error], cells func(*T) []any) error {
	each := func(do func(*T) error) error {
		for object, err := range all {
			if err == nil {
				err = do(&object)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	if asJSON {
		return each(func(object *T) error { return printJSON(s, object) })
	}
	return table(s.out, header, func(row func(...any)) error {
		return each(func(object *T) error {
			row(cells(object)...)
			return nil
		})
	})
}

func joined(types []api.EventType) string {
	if text := api.EventTypes(types...); text != nil {
		return *text
	}
	return "-"
}

type createWebhookCmd struct {
	clientFlags `embed:""`
	To          string        `required:"" name:"to" help:"The public address that gets the events." placeholder:"URL"`
	Events      []string      `help:"Which events it gets; all of messages and instances if not given." placeholder:"TYPE"`
	Name        string        `help:"What to call it." placeholder:"TEXT"`
	Instance    string        `help:"Only events of this instance: its id, or its name if no other has it." placeholder:"INSTANCE"`
	Secret      string        `help:"A secret of your own; one is made if not given." placeholder:"TEXT"`
	Timeout     time.Duration `default:"5s" help:"How long the receiver may take, 5s to 30s."`
	JSON        bool          `help:"Print the webhook as a line of JSON."`
}

// Run creates the webhook.
func (c *createWebhookCmd) Run(ctx context.Context, s streams) error {
	return c.with(ctx, s, func(client *api.Client) error {
		body := api.CreateWebhook{URL: c.To, TimeoutSeconds: int(c.Timeout / time.Second)}
		for _, name := range c.Events {
			body.Events = append(body.Events, api.EventType(name))
		}
		if len(c.Events) == 0 {
			for _, name := range api.AllWebhookEvents() {
				body.Events = append(body.Events, api.EventType(name))
			}
		}
		if c.Name != "" {
			body.Name = &c.Name
		}
		if c.Secret != "" {
			body.Secret = &c.Secret
		}
		if c.Instance != "" {
			in, err := (&instanceArg{Instance: c.Instance}).find(ctx, client)
			if err != nil {
				return err
			}
			body.InstanceID = &in.ID
		}
		w, err := client.Webhooks.Create(ctx, body)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(s, w)
		}
		return printFacts(s.out, []fact{{"id", w.ID}, {"secret", w.Secret}})
	})
}

type deleteWebhookCmd struct {
	clientFlags `embed:""`
	webhookArg  `embed:""`
}

// Run deletes the webhook.
func (c *deleteWebhookCmd) Run(ctx context.Context, s streams) error {
	return c.with(ctx, s, func(client *api.Client) error {
		if err := client.Webhooks.Delete(ctx, c.Webhook); err != nil {
			return err
		}
		_, err := fmt.Fprintln(s.out, "Deleted", c.Webhook)
		return err
	})
}
