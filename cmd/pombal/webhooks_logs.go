package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/pombal-api/pombal/pkg/api"
)

type webhookLogsCmd struct {
	clientFlags `embed:""`
	webhookArg  `embed:""`
	Delivery    string `arg:"" optional:"" help:"Show this delivery with all its attempts." placeholder:"log_…"`
	Status      string `enum:"success,failed,waiting,exhausted," default:"" help:"Only deliveries that are: success, failed, waiting or exhausted."`
	Event       string `help:"Only deliveries of this event." placeholder:"evt_…"`
	Limit       int    `default:"50" help:"How many to show at most."`
	JSON        bool   `help:"Print a line of JSON for each."`
}

// Run lists the deliveries, or shows one.
func (c *webhookLogsCmd) Run(ctx context.Context, s streams) error {
	return c.with(ctx, s, func(client *api.Client) error {
		if c.Delivery != "" {
			return c.show(ctx, s, client)
		}
		params := api.ListWebhookLogsParams{Status: api.ListWebhookLogsParamsStatus(c.Status), Limit: min(max(c.Limit, 1), 100)}
		if c.Event != "" {
			params.EventID = &c.Event
		}
		all := first(c.Limit, client.Webhooks.AllLogs(ctx, c.Webhook, params))
		return printAll(s, c.JSON, "ID\tTIME\tEVENT\tEVENT ID\tRESULT\tANSWER\tRETRIES\tNEXT\tERROR", all, func(l *api.WebhookLog) []any {
			return []any{l.ID, l.Timestamp, l.Event, l.EventID, result(l), orDash(l.StatusCode), l.RetryCount, orDash(l.NextRetryAt), orDash(l.Error)}
		})
	})
}

// result is how a delivery does, in a word.
func result(l *api.WebhookLog) string {
	if l.State == api.DeliveryStateExhausted {
		return "exhausted"
	}
	return string(l.Status)
}

// first yields what comes first, at most n.
func first[T any](n int, all iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		left := n
		for object, err := range all {
			if !yield(object, err) {
				return
			}
			if left--; left <= 0 {
				return
			}
		}
	}
}

func (c *webhookLogsCmd) show(ctx context.Context, s streams, client *api.Client) error {
	l, err := client.Webhooks.Log(ctx, c.Webhook, c.Delivery)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s, l)
	}
	payload, err := envelope(&l.Payload)
	if err != nil {
		return err
	}
	facts := []fact{{"id", l.ID}, {"state", l.State}, {"next attempt", orDash(l.NextRetryAt)}, {"event", visible(string(payload))}}
	for _, a := range l.Attempts {
		text := fmt.Sprintf("%s  %v  %d ms", a.Timestamp, orDash(a.StatusCode), a.ResponseTime)
		for _, more := range []*string{a.Error, a.Response} {
			if more != nil && *more != "" {
				text += "  " + visible(*more)
			}
		}
		facts = append(facts, fact{fmt.Sprintf("attempt %d", a.Number), text})
	}
	return printFacts(s.out, facts)
}

type replayWebhookCmd struct {
	clientFlags `embed:""`
	webhookArg  `embed:""`
	Delivery    string `xor:"what" help:"Either this delivery, whatever became of it," placeholder:"log_…"`
	Since       string `xor:"what" help:"or all whose latest attempt failed, of events since this time: RFC 3339, or so long ago, such as 2h." placeholder:"TIME"`
}

// Validate refuses a call that says nothing of what to replay. A tag that did would show both flags as required.
func (c *replayWebhookCmd) Validate() error {
	if c.Delivery == "" && c.Since == "" {
		return errors.New("give --delivery or --since")
	}
	return nil
}

// Run puts deliveries back to where they wait for an attempt.
func (c *replayWebhookCmd) Run(ctx context.Context, s streams) error {
	since, err := parseSince(c.Since, time.Now())
	if err != nil {
		return err
	}
	return c.with(ctx, s, func(client *api.Client) error {
		var replay *api.WebhookReplay
		if c.Delivery != "" {
			replay, err = client.Webhooks.ReplayLog(ctx, c.Webhook, c.Delivery)
		} else {
			replay, err = client.Webhooks.Replay(ctx, c.Webhook, api.ReplayWebhook{Since: api.NewTime(since)})
		}
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(s.out, "Deliveries that wait for their next attempt: %d\n", replay.Replayed)
		return err
	})
}

// parseSince reads a time, or how long it is ago; "" is the zero time.
func parseSince(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("--since %q is neither a time such as %s nor a duration such as 2h", text, now.UTC().Format(time.RFC3339))
	}
	return at, nil
}

type testWebhookCmd struct {
	clientFlags `embed:""`
	webhookArg  `embed:""`
	Event       string `default:"message.received" help:"Which event to send." placeholder:"TYPE"`
	JSON        bool   `help:"Print a line of JSON."`
}

// errReceiver says that a test was carried out and failed.
var errReceiver = errors.New("the receiver did not accept the test event")

// Run sends the test event. It fails when the receiver does.
func (c *testWebhookCmd) Run(ctx context.Context, s streams) error {
	return c.with(ctx, s, func(client *api.Client) error {
		result, err := client.Webhooks.Test(ctx, c.Webhook, api.TestWebhook{Event: api.EventType(c.Event)})
		if err != nil {
			return err
		}
		if c.JSON {
			err = printJSON(s, result)
		} else {
			err = printFacts(s.out, []fact{
				{"result", result.Status}, {"answer", orDash(result.StatusCode)}, {"took, ms", result.ResponseTime},
				{"error", visible(fmt.Sprint(orDash(result.Error)))}, {"event", result.Payload.ID},
			})
		}
		if err == nil && result.Status != api.WebhookTestResultStatusSuccess {
			err = errReceiver
		}
		return err
	})
}
