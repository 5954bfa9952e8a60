package main

import (
	"context"
	"fmt"
	"time"

	"github.com/pombal-api/pombal/pkg/api"
)

type connectInstanceCmd struct {
	clientFlags `embed:""`
	instanceArg `embed:""`
	watching    `embed:""`
	PairingCode bool   `and:"code" help:"Show a code to type on the phone, instead of a QR code."`
	Phone       string `and:"code" help:"The phone that is to get it: digits, with the code of the country." placeholder:"N"`
	NoWait      bool   `help:"Show the first code and end."`
	JSON        bool   `help:"Print a line of JSON for each new code, and one for the outcome."`
}

// Run connects the instance. It succeeds when the instance is connected.
func (c *connectInstanceCmd) Run(ctx context.Context, s streams) error {
	return c.withInstance(ctx, s, &c.instanceArg, func(client *api.Client, in *api.Instance) error {
		body := api.ConnectInstance{Method: api.ConnectMethodQRCode, Phone: c.Phone}
		if c.PairingCode {
			body.Method = api.ConnectMethodPairingCode
		}
		result, err := client.Instances.Connect(ctx, in.ID, body)
		if err != nil {
			return err
		}
		show := newScreen(s, c.JSON)
		first := pairingState{Status: result.Status, QRText: result.QRText, PairingCode: result.PairingCode, ExpiresAt: result.QRCodeExpiresAt}
		if err = show.state(&first); err != nil {
			return err
		}
		if c.NoWait {
			return show.leave(in, &first)
		}
		report, err := c.untilConnected(ctx, client, in, show.state)
		if err != nil {
			return err
		}
		return show.connected(in, report)
	})
}

// pairingState is how far the pairing of an instance is, as --json prints it.
type pairingState struct {
	Status      api.LiveStatus    `json:"status"`
	QRText      *string           `json:"qrText,omitempty"`
	PairingCode *string           `json:"pairingCode,omitempty"`
	ExpiresAt   *api.Time         `json:"expiresAt,omitempty"`
	Phone       *string           `json:"phone,omitempty"`
	ProfileName *string           `json:"profileName,omitempty"`
	Reason      *api.StatusReason `json:"reason,omitempty"`
}

// text is the code that waits for a phone, of either kind; "" for none.
func (p *pairingState) text() string {
	switch {
	case p.QRText != nil:
		return *p.QRText
	case p.PairingCode != nil:
		return *p.PairingCode
	}
	return ""
}

// watching is how often an instance is looked at. A free plan allows 50 looks a minute.
type watching struct {
	Every time.Duration `default:"1500ms" help:"How often to look at the instance while it waits for a phone."`
}

// untilConnected returns when the instance is connected, and fails when it is not going to be. It calls show
// with what it sees meanwhile.
func (w *watching) untilConnected(ctx context.Context, c *api.Client, in *api.Instance, show func(*pairingState) error) (*api.InstanceStatusReport, error) {
	tick := time.NewTicker(max(w.Every, time.Millisecond))
	defer tick.Stop()
	for {
		report, err := look(ctx, c, in, show)
		if ctx.Err() == nil && (report != nil || err != nil) {
			return report, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("nobody waits for %s any more, but the last code can be used until it expires: %w", in.Name, ctx.Err())
		}
	}
}

// look returns the report of an instance that is connected, and nil of one that may still become so.
func look(ctx context.Context, c *api.Client, in *api.Instance, show func(*pairingState) error) (*api.InstanceStatusReport, error) {
	code, err := c.Instances.QRCode(ctx, in.ID)
	over := err == nil && code.Status == api.LiveStatusDisconnected
	if !over && api.CodeOf(err) != api.ErrorCodeAlreadyConnected {
		if err != nil {
			return nil, err
		}
		return nil, show(&pairingState{Status: code.Status, QRText: code.QRText, PairingCode: code.PairingCode, ExpiresAt: code.ExpiresAt})
	}
	report, err := c.Instances.Status(ctx, in.ID)
	switch {
	case err != nil:
		return nil, err
	case report.Status == api.LiveStatusConnected:
		return report, nil
	case over && report.Status == api.LiveStatusDisconnected:
		if err = show(&pairingState{Status: report.Status, Reason: report.StatusReason}); err != nil {
			return nil, err
		}
		return nil, notConnected(in, report.StatusReason)
	}
	return nil, nil // it is changing
}

// notConnected says why an instance has not been connected.
func notConnected(in *api.Instance, r *api.StatusReason) error {
	if r == nil {
		return fmt.Errorf("%s is not connected; connect it again", in.Name)
	}
	return fmt.Errorf("%s is not connected. %s %s", in.Name, r.Message, r.Action)
}
