package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/pombal-api/pombal/pkg/api"
)

type instancesCmd struct {
	List       listInstancesCmd      `cmd:"" help:"List the instances."`
	Get        getInstanceCmd        `cmd:"" help:"Show one."`
	Create     createInstanceCmd     `cmd:"" help:"Create one and print its id."`
	Connect    connectInstanceCmd    `cmd:"" help:"Connect one: show its QR code here, and wait until a phone has scanned it."`
	Disconnect disconnectInstanceCmd `cmd:"" help:"Log one out at WhatsApp and forget its pairing."`
	Restart    restartInstanceCmd    `cmd:"" help:"Open the connection of one anew, with the same pairing."`
	Status     statusInstanceCmd     `cmd:"" help:"Show how the connection of one does."`
	Delete     deleteInstanceCmd     `cmd:"" help:"Delete one for good, in whatever state it is."`
}

type listInstancesCmd struct {
	clientFlags `embed:""`
	Status      string `enum:"connected,connecting,disconnected,all" default:"all" help:"Only those in this state: ${enum}."`
	Search      string `help:"Only those with this text in their name or number." placeholder:"TEXT"`
	JSON        bool   `help:"Print a line of JSON for each."`
}

// Run lists the instances.
func (c *listInstancesCmd) Run(ctx context.Context, s streams) error {
	return c.with(ctx, s, func(client *api.Client) error {
		params := api.ListInstancesParams{Status: api.InstanceStatusFilter(c.Status), Limit: 100}
		if c.Search != "" {
			params.Search = &c.Search
		}
		each := func(do func(*api.Instance) error) error {
			for in, err := range client.Instances.All(ctx, params) {
				if err != nil {
					return err
				}
				if err = do(&in); err != nil {
					return err
				}
			}
			return nil
		}
		if c.JSON {
			return each(func(in *api.Instance) error { return printJSON(s, in) })
		}
		return table(s.out, "ID\tNAME\tSTATUS\tPHONE\tPROFILE\tREASON", func(row func(...any)) error {
			return each(func(in *api.Instance) error {
				row(in.ID, in.Name, in.Status, orDash(in.Phone), orDash(in.ProfileName), reasonCode(in.StatusReason))
				return nil
			})
		})
	})
}

func reasonCode(r *api.StatusReason) string {
	if r == nil {
		return "-"
	}
	return r.Code
}

type getInstanceCmd struct {
	clientFlags `embed:""`
	instanceArg `embed:""`
	JSON        bool `help:"Print a line of JSON."`
}

// Run shows the instance.
func (c *getInstanceCmd) Run(ctx context.Context, s streams) error {
	return c.withInstance(ctx, s, &c.instanceArg, func(_ *api.Client, in *api.Instance) error {
		if c.JSON {
			return printJSON(s, in)
		}
		facts := []fact{
			{"id", in.ID}, {"name", in.Name}, {"status", in.Status}, {"phone", orDash(in.Phone)}, {"profile", orDash(in.ProfileName)},
			{"external id", orDash(in.ExternalID)}, {"webhook", orDash(in.WebhookURL)}, {"created", in.CreatedAt},
			{"connected since", orDash(in.ConnectedAt)}, {"last seen", orDash(in.LastSeenAt)},
		}
		return printFacts(s.out, append(facts, reasonFacts(in.StatusReason)...))
	})
}

// fact is a line about something.
type fact struct {
	name  string
	value any
}

func reasonFacts(r *api.StatusReason) []fact {
	if r == nil {
		return nil
	}
	return []fact{{"reason", r.Message}, {"what to do", r.Action}}
}

// printFacts prints what there is to say of one thing.
func printFacts(out io.Writer, facts []fact) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, f := range facts {
		_, _ = fmt.Fprintf(w, "%s\t%v\n", f.name, f.value) // Flush reports what goes wrong
	}
	return w.Flush()
}

type createInstanceCmd struct {
	clientFlags `embed:""`
	Name        string `required:"" help:"What to call it."`
	ExternalID  string `help:"Your own reference, unique in the account." placeholder:"TEXT"`
	WebhookURL  string `help:"The address that gets its events." placeholder:"URL"`
	JSON        bool   `help:"Print the instance as a line of JSON."`
}

// Run creates the instance.
func (c *createInstanceCmd) Run(ctx context.Context, s streams) error {
	return c.with(ctx, s, func(client *api.Client) error {
		body := api.CreateInstance{Name: c.Name}
		if c.ExternalID != "" {
			body.ExternalID = &c.ExternalID
		}
		if c.WebhookURL != "" {
			body.WebhookURL = &c.WebhookURL
		}
		in, err := client.Instances.Create(ctx, body)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(s, in)
		}
		_, err = fmt.Fprintln(s.out, in.ID)
		return err
	})
}

type disconnectInstanceCmd struct {
	clientFlags `embed:""`
	instanceArg `embed:""`
	Reason      string `help:"Why, for the server's log." placeholder:"TEXT"`
}

// Run logs the instance out.
func (c *disconnectInstanceCmd) Run(ctx context.Context, s streams) error {
	return c.withInstance(ctx, s, &c.instanceArg, func(client *api.Client, in *api.Instance) error {
		if err := client.Instances.Disconnect(ctx, in.ID, api.DisconnectInstance{Reason: c.Reason}); err != nil {
			return err
		}
		_, err := fmt.Fprintln(s.out, "Disconnected", in.ID)
		return err
	})
}

type restartInstanceCmd struct {
	clientFlags `embed:""`
	instanceArg `embed:""`
}

// Run opens the connection anew.
func (c *restartInstanceCmd) Run(ctx context.Context, s streams) error {
	return c.withInstance(ctx, s, &c.instanceArg, func(client *api.Client, in *api.Instance) error {
		if err := client.Instances.Restart(ctx, in.ID); err != nil {
			return err
		}
		_, err := fmt.Fprintln(s.out, "Restarting", in.ID)
		return err
	})
}

type statusInstanceCmd struct {
	clientFlags `embed:""`
	instanceArg `embed:""`
	JSON        bool `help:"Print a line of JSON."`
}

// Run shows the state of the connection.
func (c *statusInstanceCmd) Run(ctx context.Context, s streams) error {
	return c.withInstance(ctx, s, &c.instanceArg, func(client *api.Client, in *api.Instance) error {
		report, err := client.Instances.Status(ctx, in.ID)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(s, report)
		}
		facts := []fact{
			{"id", report.ID}, {"name", report.Name}, {"status", report.Status}, {"phone", orDash(report.Phone)},
			{"profile", orDash(report.ProfileName)}, {"connected since", orDash(report.ConnectedAt)},
			{"last seen", orDash(report.LastSeenAt)}, {"uptime, s", report.Health.Uptime}, {"round trip, ms", orDash(report.Health.Latency)},
		}
		return printFacts(s.out, append(facts, reasonFacts(report.StatusReason)...))
	})
}

type deleteInstanceCmd struct {
	clientFlags `embed:""`
	instanceArg `embed:""`
}

// Run deletes the instance.
func (c *deleteInstanceCmd) Run(ctx context.Context, s streams) error {
	return c.withInstance(ctx, s, &c.instanceArg, func(client *api.Client, in *api.Instance) error {
		if err := client.Instances.Delete(ctx, in.ID); err != nil {
			return err
		}
		_, err := fmt.Fprintln(s.out, "Deleted", in.ID)
		return err
	})
}
