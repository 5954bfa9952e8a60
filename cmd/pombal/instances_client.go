package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/pombal-api/pombal/internal/app"
	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/pkg/api"
)

// defaultURL is where serve and dev are unless they are told otherwise.
const defaultURL = "http://127.0.0.1:8080"

// clientFlags are what every command needs that calls the API.
type clientFlags struct {
	URL     string `env:"POMBAL_URL" help:"Where the API is: by default where the dev of --data-dir runs, or else http://127.0.0.1:8080." placeholder:"URL"`
	APIKey  string `env:"POMBAL_API_KEY" help:"A key for it; by default, for the dev of --data-dir only, that of its sample." placeholder:"KEY"`
	Account string `help:"The child account to act on, with the key of a partner." placeholder:"acct_…"`
	DataDir string `default:"./.pombal" help:"The data directory of a running dev."`
}

// with makes a client of the API for one command.
func (f *clientFlags) with(ctx context.Context, s streams, do func(*api.Client) error) error {
	running, sample, err := app.ReadRunning(f.DataDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s cannot be read: %w", f.DataDir, err)
	}
	base, key := cmp.Or(f.URL, running.URL, defaultURL), f.APIKey
	if key == "" {
		if sample.APIKey == "" {
			return fmt.Errorf("there is no API key: set POMBAL_API_KEY or give --api-key (no dev runs in %s whose key could be used)", f.DataDir)
		}
		if !sameServer(base, running.URL) {
			return fmt.Errorf("there is no API key for %s: set POMBAL_API_KEY or give --api-key", base)
		}
		key = sample.APIKey
		if _, err = fmt.Fprintf(s.err, "Using the API key of the sample in %s.\n", f.DataDir); err != nil {
			return err
		}
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment}
	defer transport.CloseIdleConnections()
	options := []api.Option{api.WithHTTPClient(&http.Client{Transport: transport, Timeout: 30 * time.Second})}
	if f.Account != "" {
		options = append(options, api.WithAccount(f.Account))
	}
	client, err := api.NewClient(base, key, options...)
	if err != nil {
		return err
	}
	return reached(base, do(client))
}

// sameServer reports whether a URL leads to the dev that runs at another one: the sample's key is nobody else's business.
func sameServer(base, dev string) bool {
	u, err := url.Parse(base)
	v, devErr := url.Parse(dev)
	if err != nil || devErr != nil {
		return false
	}
	return u.Scheme == v.Scheme && (u.Host == v.Host || u.Port() == v.Port() && isLocal(u) && isLocal(v))
}

// isLocal reports whether a URL is of this machine.
func isLocal(u *url.URL) bool {
	return u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback()
}

// reached says what to do about a server that is not there.
func reached(base string, err error) error {
	if dial, ok := errors.AsType[*net.OpError](err); ok && dial.Op == "dial" {
		return fmt.Errorf("%s cannot be reached (see --url and POMBAL_URL). Does Pombal run there? %w", base, dial.Err)
	}
	return err
}

// instanceArg is the argument that names an instance.
type instanceArg struct {
	Instance string `arg:"" help:"The instance's id, or its name if no other has it."`
}

// find returns the instance.
func (a *instanceArg) find(ctx context.Context, c *api.Client) (*api.Instance, error) {
	if _, err := domain.ParsePrefixed(domain.PrefixInstance, a.Instance); err == nil {
		return c.Instances.Get(ctx, a.Instance)
	}
	var found []api.Instance
	for in, err := range c.Instances.All(ctx, api.ListInstancesParams{Search: &a.Instance, Limit: 100}) {
		if err != nil {
			return nil, err
		}
		if in.Name == a.Instance {
			found = append(found, in)
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("there is no instance with the id or the name %q; see pombal instances list", a.Instance)
	case 1:
		return &found[0], nil
	}
	return nil, fmt.Errorf("%d instances are named %q, such as %s and %s: say which one by its id", len(found), a.Instance, found[0].ID, found[1].ID)
}

// withInstance makes a client and finds the instance for one command.
func (f *clientFlags) withInstance(ctx context.Context, s streams, arg *instanceArg, do func(*api.Client, *api.Instance) error) error {
	return f.with(ctx, s, func(c *api.Client) error {
		in, err := arg.find(ctx, c)
		if err != nil {
			return err
		}
		return do(c, in)
	})
}

// printJSON prints one line of JSON.
func printJSON(s streams, v any) error {
	e := json.NewEncoder(s.out)
	e.SetEscapeHTML(false) // the text of a QR code is an address
	return e.Encode(v)
}

// orDash is a value for a table.
func orDash[T any](v *T) any {
	if v == nil {
		return "-"
	}
	return *v
}
