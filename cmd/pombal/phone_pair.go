package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/pombal-api/pombal/pkg/api"
)

// pairFlags are what the commands need that link an instance to a phone.
type pairFlags struct {
	clientFlags `embed:""`
	controlFlag `embed:""`
	instanceArg `embed:""`
	Phone       string        `help:"The phone: its number, or its name; a number that is new is added. By default one without linked devices." placeholder:"N"`
	Every       time.Duration `default:"200ms" help:"How often to look at the instance until it is connected."`
}

type scanCmd struct {
	pairFlags `embed:""`
}

// Run lets the phone scan the instance's code.
func (c *scanCmd) Run(ctx context.Context, s streams) error {
	return c.pair(ctx, s, func(p *pair) (string, error) {
		code, err := p.client.Instances.QRCode(ctx, p.in.ID)
		if err != nil {
			return "", err
		}
		text := code.QRText
		if text == nil {
			result, err := p.client.Instances.Connect(ctx, p.in.ID, api.ConnectInstance{Method: api.ConnectMethodQRCode})
			if err != nil {
				return "", err
			}
			text = result.QRText
		}
		if text == nil {
			return "", nil
		}
		return *text, p.box.post(ctx, p.phone.path("/scan"), map[string]string{"text": *text})
	})
}

type typeCmd struct {
	pairFlags `embed:""`
}

// Run lets the phone type the instance's code.
func (c *typeCmd) Run(ctx context.Context, s streams) error {
	return c.pair(ctx, s, func(p *pair) (string, error) {
		result, err := p.client.Instances.Connect(ctx, p.in.ID, api.ConnectInstance{Method: api.ConnectMethodPairingCode, Phone: p.phone.Phone})
		if err != nil || result.PairingCode == nil {
			return "", err
		}
		return *result.PairingCode, p.box.post(ctx, p.phone.path("/code"), map[string]string{"code": *result.PairingCode})
	})
}

// pair is an instance and the phone that is to take it.
type pair struct {
	client *api.Client
	in     *api.Instance
	box    *sandboxClient
	phone  *sandboxPhone
}

// pair links the instance to the phone, by a function that takes the code that the instance shows now and
// returns it, or "" when none is needed; and prints as what the instance is connected.
func (f *pairFlags) pair(ctx context.Context, s streams, take func(*pair) (code string, err error)) error {
	return f.controlFlag.with(f.DataDir, func(box *sandboxClient) error {
		return f.withInstance(ctx, s, &f.instanceArg, func(client *api.Client, in *api.Instance) error {
			if in.Status == api.InstanceStatusConnected {
				return fmt.Errorf("%s is connected already; to pair it with another phone, first: pombal instances disconnect %s", in.Name, in.ID)
			}
			phone, err := box.pick(ctx, f.Phone)
			if err != nil {
				return err
			}
			if err = (&pair{client, in, box, phone}).link(take); err != nil {
				return err
			}
			report, err := f.untilNamed(ctx, client, in)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(s.out, connection(in, report))
			return err
		})
	})
}

// link takes the code. One that has just been replaced by the next one is no failure.
func (p *pair) link(take func(*pair) (string, error)) error {
	for last := ""; ; {
		code, err := take(p)
		switch {
		case !refusedWith(err, http.StatusNotFound):
			return err
		case code == last:
			return fmt.Errorf("%s shows a code that the fake WhatsApp at %s does not know: is it an instance of this sandbox? %w", p.in.Name, p.box.base, err)
		}
		last = code
	}
}

// namedWithin bounds the wait for the name, which comes soon after the connection.
const namedWithin = 10 * time.Second

// untilNamed returns when the instance is connected and its profile is known, or should be.
func (f *pairFlags) untilNamed(ctx context.Context, c *api.Client, in *api.Instance) (*api.InstanceStatusReport, error) {
	w := watching{f.Every}
	report, err := w.untilConnected(ctx, c, in, func(*pairingState) error { return nil })
	for end := time.Now().Add(namedWithin); err == nil && report.ProfileName == nil && time.Now().Before(end); {
		if err = wait(ctx, f.Every); err == nil {
			report, err = w.untilConnected(ctx, c, in, func(*pairingState) error { return nil })
		}
	}
	return report, err
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
