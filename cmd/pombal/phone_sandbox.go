package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/pombal-api/pombal/internal/app"
	"github.com/pombal-api/pombal/internal/fakewa"
)

// controlFlag says where the fake WhatsApp is.
type controlFlag struct {
	ControlURL string `help:"Where the control API of the fake WhatsApp is: by default that of the dev of --data-dir." placeholder:"URL"`
}

// sandboxClient calls the control API of a fake WhatsApp.
type sandboxClient struct {
	base string
	http *http.Client
}

// with makes a client for one command.
func (f *controlFlag) with(dataDir string, do func(*sandboxClient) error) error {
	base := f.ControlURL
	if base == "" {
		running, _, err := app.ReadRunning(dataDir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s cannot be read: %w", dataDir, err)
		}
		if base = running.ControlURL; base == "" {
			return fmt.Errorf("there is no control address in %s; start pombal dev, whose phones these are, or give --data-dir or --control-url", dataDir)
		}
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	return do(&sandboxClient{strings.TrimRight(base, "/"), &http.Client{Transport: transport, Timeout: time.Minute}})
}

// sandboxError is a refusal of the fake WhatsApp.
type sandboxError struct {
	status  int
	message string
}

// Error returns what the fake WhatsApp says.
func (e *sandboxError) Error() string { return "the fake WhatsApp: " + e.message }

// refusedWith reports whether the fake WhatsApp has refused something with this HTTP status.
func refusedWith(err error, status int) bool {
	e, ok := errors.AsType[*sandboxError](err)
	return ok && e.status == status
}

// call sends a request, with body in it unless that is nil, and reads the answer into out.
func (c *sandboxClient) call(ctx context.Context, method, path string, body, out any) error {
	var payload io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		payload = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, payload)
	if err != nil {
		return err
	}
	res, err := c.http.Do(req)
	if dial, ok := errors.AsType[*net.OpError](err); ok && dial.Op == "dial" {
		return fmt.Errorf("the fake WhatsApp cannot be reached at %s. Does pombal dev still run? %w", c.base, dial.Err)
	}
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		var refusal struct{ Error string }
		if err = json.NewDecoder(res.Body).Decode(&refusal); err != nil || refusal.Error == "" {
			return fmt.Errorf("%s is not the control API of a fake WhatsApp: it answers %s", c.base, res.Status)
		}
		return &sandboxError{res.StatusCode, strings.TrimPrefix(refusal.Error, "fakewa: ")}
	}
	if err = json.NewDecoder(res.Body).Decode(out); err != nil {
		return fmt.Errorf("%s is not the control API of a fake WhatsApp: %w", c.base, err)
	}
	return nil
}

// post is call for what answers nothing of interest.
func (c *sandboxClient) post(ctx context.Context, path string, body any) error {
	return c.call(ctx, http.MethodPost, path, body, new(json.RawMessage))
}

// sandboxPhone is a phone of the fake WhatsApp.
type sandboxPhone struct {
	Phone    string              `json:"phone"`
	PushName string              `json:"pushName"`
	Devices  []fakewa.DeviceInfo `json:"devices"`
}

func (p *sandboxPhone) path(part string) string { return "/accounts/" + url.PathEscape(p.Phone) + part }

// sandboxContact is somebody else there.
type sandboxContact struct {
	Phone string `json:"phone"`
	Name  string `json:"name"`
}

// sandboxState is who there is.
type sandboxState struct {
	Accounts []sandboxPhone   `json:"accounts"`
	Contacts []sandboxContact `json:"contacts"`
}

func (c *sandboxClient) state(ctx context.Context) (state sandboxState, err error) {
	return state, c.call(ctx, http.MethodGet, "/state", nil, &state)
}

// only returns the one that a number, with or without a plus, or a name stands for.
func only[T any](who string, list []T, names func(*T) (number, name string)) (*T, bool) {
	digits := strings.TrimPrefix(who, "+")
	var named []*T
	for i := range list {
		number, name := names(&list[i])
		if number == digits {
			return &list[i], true
		}
		if strings.EqualFold(name, who) {
			named = append(named, &list[i])
		}
	}
	if len(named) != 1 {
		return nil, false
	}
	return named[0], true
}

func (s *sandboxState) phone(who string) (*sandboxPhone, bool) {
	return only(who, s.Accounts, func(p *sandboxPhone) (string, string) { return p.Phone, p.PushName })
}

func (s *sandboxState) contact(who string) (*sandboxContact, bool) {
	return only(who, s.Contacts, func(p *sandboxContact) (string, string) { return p.Phone, p.Name })
}

// pick returns the phone that a number or a name stands for, adding it if it is new; "" stands for any phone
// without linked devices.
func (c *sandboxClient) pick(ctx context.Context, who string) (*sandboxPhone, error) {
	state, err := c.state(ctx)
	if err != nil {
		return nil, err
	}
	if who == "" {
		free := func(p sandboxPhone) bool { return len(p.Devices) == 0 }
		if i := slices.IndexFunc(state.Accounts, free); i >= 0 {
			return &state.Accounts[i], nil
		}
	} else if p, ok := state.phone(who); ok {
		return p, nil
	}
	return c.add(ctx, fakewa.AccountOptions{Phone: who})
}

// madeUpTries is how many numbers are made up until one is free.
const madeUpTries = 5

// add adds a phone. Without a number it gets a made-up one, and without a name one that shows its number.
func (c *sandboxClient) add(ctx context.Context, o fakewa.AccountOptions) (*sandboxPhone, error) {
	for try := 1; ; try++ {
		number := cmp.Or(strings.TrimPrefix(o.Phone, "+"), fmt.Sprintf("55119%08d", rand.N(100_000_000))) //nolint:gosec // any will do
		full := o
		full.Phone, full.PushName = number, cmp.Or(o.PushName, "Phone "+number[max(0, len(number)-4):])
		added := new(sandboxPhone)
		err := c.call(ctx, http.MethodPost, "/accounts", full, added)
		if o.Phone == "" && try < madeUpTries && refusedWith(err, http.StatusConflict) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return added, nil
	}
}
