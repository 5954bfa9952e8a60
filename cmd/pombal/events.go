package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"

	"github.com/pombal-api/pombal/pkg/api"
)

type eventsCmd struct {
	Tail tailEventsCmd `cmd:"" help:"Show events as they happen, until Ctrl-C."`
}

// following says which events to follow.
type following struct {
	Instance string `help:"Only events of this instance: its id, or its name if no other has it." placeholder:"INSTANCE"`
	After    string `help:"Begin behind this event, instead of now." placeholder:"evt_…"`
}

// follow carries out do for each event of the given types until ctx ends, which is no error.
func (f *following) follow(ctx context.Context, c *api.Client, types []string, do func(*api.Event) error) error {
	var params api.StreamEventsParams
	if f.After != "" {
		params.After = &f.After
	}
	if len(types) > 0 {
		params.Types = new(strings.Join(types, ","))
	}
	if f.Instance != "" {
		in, err := (&instanceArg{Instance: f.Instance}).find(ctx, c)
		if err != nil {
			return err
		}
		params.InstanceID = &in.ID
	}
	for event, err := range c.Events.Stream(ctx, params) {
		if err == nil {
			err = do(&event)
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

type tailEventsCmd struct {
	clientFlags `embed:""`
	following   `embed:""`
	Types       []string `help:"Only events of these types, such as instance.connected." placeholder:"TYPE"`
	JSON        bool     `help:"Print each event as a line of JSON."`
}

// Run shows the events. Connections that break are made again; no event is left out.
func (c *tailEventsCmd) Run(ctx context.Context, s streams) error {
	last := ""
	err := c.with(ctx, s, func(client *api.Client) error {
		return c.follow(ctx, client, c.Types, func(e *api.Event) error {
			text, err := eventLine(e, c.JSON)
			if err == nil {
				_, err = fmt.Fprintln(s.out, text)
			}
			if err == nil {
				last = e.ID
			}
			return err
		})
	})
	if last != "" {
		_, _ = fmt.Fprintf(s.err, "To go on from here: --after %s\n", last) // there may be nobody to read it any more
	}
	return err
}

// longestData is how much of an event's data people are shown, in characters: QR codes are pictures.
const longestData = 240

// eventLine is an event as one line, for programs or for people.
func eventLine(e *api.Event, asJSON bool) (string, error) {
	if asJSON {
		text, err := envelope(e)
		return string(text), err
	}
	data := []rune(visible(string(e.Data)))
	if len(data) > longestData {
		data = append(data[:longestData-1], '…')
	}
	return fmt.Sprintf("%s  %s  %-21s  %v  %s", e.Timestamp, e.ID, e.Event, orDash(e.InstanceID), string(data)), nil
}

// envelope is an event as webhooks get it, byte for byte: the fields of api.Event are in that order, and its data
// is as it came.
func envelope(e *api.Event) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(e); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), nil
}

// visible replaces what a terminal would obey rather than show: what is in an event comes from strangers.
func visible(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text)
}
