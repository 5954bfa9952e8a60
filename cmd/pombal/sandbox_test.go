package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/pombal-api/pombal/internal/app"
	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/testkit"
	"github.com/pombal-api/pombal/pkg/api"
)

// This file holds that whoever runs `pombal serve` cannot make it talk to a fake WhatsApp, by whatever flag or
// variable.

// parseServe parses a command line as main does, and returns what serve would work with.
func parseServe(t *testing.T, args ...string) (app.Config, error) {
	t.Helper()
	var c cli
	parser, err := kong.New(&c, kong.Name("pombal"), kong.Writers(io.Discard, io.Discard), kong.Exit(func(int) {}))
	if err != nil {
		t.Fatal(err)
	}
	_, err = parser.Parse(append([]string{"serve"}, args...))
	return c.Serve.Config, err
}

// serveFlags are all flags of serve, with a value for each that is not its default.
func serveFlags(t *testing.T) map[*kong.Flag]string {
	t.Helper()
	parser, err := kong.New(&cli{})
	if err != nil {
		t.Fatal(err)
	}
	values := map[*kong.Flag]string{}
	at := slices.IndexFunc(parser.Model.Children, func(n *kong.Node) bool { return n.Name == "serve" })
	serve := parser.Model.Children[at]
	for _, group := range serve.AllFlags(true) {
		for _, flag := range group {
			if flag.Name == "help" {
				continue
			}
			switch kind := flag.Target.Type(); {
			case kind == reflect.TypeFor[time.Duration]():
				values[flag] = "7s"
			case kind == reflect.TypeFor[app.Plans]():
				values[flag] = `[{"name":"free","requestsPerMinute":5}]`
			case kind == reflect.TypeFor[app.Secret]() && strings.Contains(flag.Name, "secret"):
				values[flag] = newSecret()
			case flag.Name == "webhook-networks":
				values[flag] = "10.20.0.0/16"
			case flag.Name == "log-level":
				values[flag] = "ERROR"
			case kind.Kind() == reflect.Int:
				values[flag] = "7"
			default:
				values[flag] = "http://127.0.0.1:1"
			}
		}
	}
	if len(values) < 10 {
		t.Fatalf("serve has %d flags only", len(values))
	}
	return values
}

// checkFilled holds that everything in the configuration was set but what nobody may set.
func checkFilled(t *testing.T, how string, cfg app.Config) {
	t.Helper()
	if cfg.Sandbox != nil || cfg.Loopback {
		t.Errorf("%s: the sandbox is %v, loopback %v", how, cfg.Sandbox, cfg.Loopback)
	}
	var empty []string
	for _, field := range reflect.VisibleFields(reflect.TypeFor[app.Config]()) {
		if !field.Anonymous && reflect.ValueOf(cfg).FieldByIndex(field.Index).IsZero() {
			empty = append(empty, field.Name)
		}
	}
	if want := []string{"Loopback", "AccountStreams", "Sandbox"}; !slices.Equal(empty, want) {
		t.Errorf("%s: %v are not set, want %v", how, empty, want)
	}
}

func TestServeKnowsNoSandbox(t *testing.T) { // not parallel: it sets variables
	flags := serveFlags(t)
	var args []string
	for flag, value := range flags {
		args = append(args, fmt.Sprintf("--%s=%s", flag.Name, value))
	}
	cfg, err := parseServe(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	checkFilled(t, "flags", cfg)

	for flag, value := range flags {
		if len(flag.Envs) != 1 || !strings.HasPrefix(flag.Envs[0], "POMBAL_") {
			t.Errorf("--%s has the variables %v", flag.Name, flag.Envs)
		}
		for _, name := range flag.Envs {
			t.Setenv(name, value)
		}
	}
	for _, name := range tempting() {
		t.Setenv(name, "127.0.0.1:1")
	}
	if cfg, err = parseServe(t); err != nil {
		t.Fatal(err)
	}
	checkFilled(t, "variables", cfg)

	for _, flag := range []string{"--sandbox", "--sandbox-addr", "--sandbox-root-key", "--sandbox.addr", "--private-network", "--private-webhooks"} {
		if cfg, err = parseServe(t, flag+"=127.0.0.1:1"); err == nil {
			t.Errorf("serve takes %s: %+v", flag, cfg.Sandbox)
		}
	}
}

// tempting are variables that might be thought to lead somewhere else than to WhatsApp.
func tempting() []string {
	return []string{
		"POMBAL_SANDBOX", "POMBAL_SANDBOX_ADDR", "POMBAL_SANDBOX_ROOT_KEY", "POMBAL_WHATSAPP_URL", "POMBAL_FAKEWA_ADDR",
		"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy",
	}
}

// TestServeReachesNoFakeWhatsApp runs both, side by side: with everything in its environment that points to the
// fake WhatsApp, in a directory in which dev has run, serve asks the real one, or fails to.
func TestServeReachesNoFakeWhatsApp(t *testing.T) {
	if testing.Short() {
		t.Skip("it asks WhatsApp for a code, where there is a network")
	}
	t.Parallel()
	box, _ := startFakewa(t, "--seed-file", filepath.Join(t.TempDir(), "seed"))
	addr := box.Addr
	s := newSite(testkit.Database{Dir: t.TempDir()})
	if err := os.WriteFile(filepath.Join(s.Dir, "dev-run.json"), fmt.Appendf(nil, `{"controlUrl":%q}`, box.ControlURL), 0o600); err != nil {
		t.Fatal(err)
	}
	_, key := s.newKey(t)
	var env []string
	for _, name := range tempting() {
		value := addr
		if strings.HasSuffix(strings.ToUpper(name), "_PROXY") {
			value = "http://" + addr
		}
		env = append(env, name+"="+value)
	}
	p := s.serve(t, append(env, "POMBAL_SANDBOX_ROOT_KEY="+box.RootKey)...)
	c := sdk(t, p, key)
	in, err := c.Instances.Create(t.Context(), api.CreateInstance{Name: "Sales"})
	if err != nil {
		t.Fatal(err)
	}
	connecting, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { // it may wait longer for a code than this test for the outcome
		defer close(done)
		_, _ = c.Instances.Connect(connecting, in.ID, api.ConnectInstance{})
	}()
	eventually(t, 60*time.Second, func() error {
		st, err := c.Instances.Status(t.Context(), in.ID)
		switch {
		case err != nil:
			return err
		case st.Status == api.LiveStatusQRPending: // the real one has answered
			return nil
		case st.StatusReason == nil:
			return errors.New("it has not tried")
		case st.StatusReason.Code != string(domain.ReasonServerUnreachable):
			return fmt.Errorf("it has failed as %s", st.StatusReason.Code)
		}
		return nil
	})
	cancel()
	<-done
	p.stop(t)
	if stats := fakewaDo(t, http.MethodGet, box.ControlURL+"/stats", ""); !strings.Contains(stats, `"dials":0,`) {
		t.Errorf("the fake WhatsApp was dialled: %s", stats)
	}
}
