package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	"github.com/pombal-api/pombal/internal/app"
)

type serveCmd struct {
	app.Config `embed:""`
}

// Run serves until the process is told to stop.
func (c *serveCmd) Run(ctx context.Context, s streams) error {
	node, err := app.Open(ctx, c.Config, s.err)
	if err != nil {
		return err
	}
	return node.Run(ctx)
}

type devCmd struct {
	DataDir         string         `default:"./.pombal" help:"Directory of the database and the sample's keys."`
	Addr            string         `default:"127.0.0.1:8080" help:"Address of the API; port 0 picks a free one."`
	AdminAddr       string         `default:"127.0.0.1:0" help:"Address of /metrics."`
	ControlAddr     string         `default:"127.0.0.1:0" help:"Address of the control API of the fake WhatsApp, which knows no authentication."`
	PublicURL       string         `help:"How clients reach the API, when not at --addr." placeholder:"URL"`
	WebhookNetworks []netip.Prefix `env:"POMBAL_WEBHOOK_NETWORKS" help:"Networks beside the public Internet and this machine that webhooks may lead to, such as 10.20.0.0/16." placeholder:"CIDR"`
	JSON            bool           `help:"Print one line of JSON when ready, and nothing else."`
	Verbose         bool           `short:"v" help:"Show the log."`
}

// ready is the line that --json prints.
type ready struct {
	URL           string `json:"url"`
	AdminURL      string `json:"adminUrl"`
	ControlURL    string `json:"controlUrl"`
	AccountID     string `json:"accountId"`
	APIKey        string `json:"apiKey"`
	PartnerAPIKey string `json:"partnerApiKey"`
}

// Run serves the sample until the process is told to stop.
func (c *devCmd) Run(ctx context.Context, s streams) error {
	logTo := io.Discard
	if c.Verbose {
		logTo = s.err
	}
	dev, err := app.OpenDev(ctx, app.DevConfig{
		DataDir: c.DataDir, Addr: c.Addr, AdminAddr: c.AdminAddr, ControlAddr: c.ControlAddr, PublicURL: c.PublicURL,
		WebhookNetworks: c.WebhookNetworks,
	}, logTo)
	if err != nil {
		return err
	}
	return dev.Run(ctx, func(missing int) error { return c.announce(s, dev, missing) })
}

func (c *devCmd) announce(s streams, dev *app.Dev, missing int) error {
	if missing > 0 {
		if _, err := fmt.Fprintf(s.err, "%d of the sample's instances are not connected yet; see --verbose.\n", missing); err != nil {
			return err
		}
	}
	out := s.out
	r := ready{
		URL: dev.URL(), AdminURL: dev.AdminURL(), ControlURL: dev.ControlURL(), AccountID: dev.Sample.AccountID,
		APIKey: dev.Sample.APIKey, PartnerAPIKey: dev.Sample.PartnerAPIKey,
	}
	if c.JSON {
		return json.NewEncoder(out).Encode(r) //nolint:gosec // printing the sample's keys is what dev is for
	}
	_, err := fmt.Fprintf(out, `Pombal is ready at %[1]s (documentation: %[1]s/docs, metrics: %[2]s/metrics).
Its data is in %[6]s; Ctrl-C stops it. Its instances are connected to a fake WhatsApp: no phone is needed.

  account      %[3]s
  API key      %[4]s
  partner key  %[5]s
  phones       %[7]s (list them: /state)

Try it:

  curl %[1]s/v1/instances -H 'Authorization: Bearer %[4]s'
  curl '%[1]s/v1/instances?status=connected&limit=1' -H 'Authorization: Bearer %[4]s'
  curl %[1]s/v1/instances -H 'Authorization: Bearer %[5]s' -H 'X-Account-Id: *'
  curl %[1]s/instance/fetchInstances -H 'apikey: %[4]s'
  curl -N %[1]s/v1/events/stream -H 'Authorization: Bearer %[4]s'
  pombal phone scan 'Marketing WhatsApp'    # connects it: a simulated phone scans its QR code
`, r.URL, r.AdminURL, r.AccountID, r.APIKey, r.PartnerAPIKey, c.DataDir, r.ControlURL)
	return err
}

type migrateCmd struct {
	app.Database `embed:""`
}

// Run migrates the database.
func (c *migrateCmd) Run(ctx context.Context, s streams) error {
	if err := app.Migrate(ctx, c.Database, s.err); err != nil {
		return err
	}
	_, err := fmt.Fprintln(s.out, "The database is up to date.")
	return err
}

type healthcheckCmd struct {
	URL     string        `env:"POMBAL_HEALTHCHECK_URL" default:"http://127.0.0.1:8080/readyz" help:"What to ask."`
	Timeout time.Duration `default:"3s" help:"How long to wait."`
}

// Run fails unless the node answers that it is ready.
func (c *healthcheckCmd) Run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL, nil)
	if err != nil {
		return err
	}
	res, err := (&http.Client{Timeout: c.Timeout}).Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", c.URL, res.Status)
	}
	return nil
}

type versionCmd struct{}

// version is set by release builds: -ldflags "-X main.version=v1.2.3".
var version string

// Run prints the version, the commit and the Go release.
func (versionCmd) Run(s streams) error {
	info, _ := debug.ReadBuildInfo()
	parts := []string{"pombal"}
	switch {
	case version != "":
		parts = append(parts, version)
	case info != nil:
		parts = append(parts, info.Main.Version)
	}
	if info != nil {
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				parts = append(parts, setting.Value)
			}
		}
		parts = append(parts, info.GoVersion)
	}
	_, err := fmt.Fprintln(s.out, strings.Join(parts, " "))
	return err
}
