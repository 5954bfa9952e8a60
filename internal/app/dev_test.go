package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pombal-api/pombal/internal/app"
	"github.com/pombal-api/pombal/internal/testkit/apitest"
	"github.com/pombal-api/pombal/pkg/api"
)

func openDev(t *testing.T, dir string) *app.Dev {
	t.Helper()
	dev, err := app.OpenDev(t.Context(), app.DevConfig{
		DataDir: dir, Addr: "127.0.0.1:0", AdminAddr: "127.0.0.1:0", ControlAddr: "127.0.0.1:0", Seed: apitest.Seed(),
	}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return dev
}

// whileReady runs dev, calls do when it is ready, and stops it.
func whileReady(t *testing.T, dev *app.Dev, do func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := dev.Run(ctx, func(int) error { // how many are missing depends on the machine's speed
		defer cancel() // also when the test fails in it
		do()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// editSample changes what dev has written down, as a crash would have left it.
func editSample(t *testing.T, dir string, edit func(*app.Sample)) {
	t.Helper()
	path := filepath.Join(dir, "dev.json")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var s app.Sample
	if err = json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	edit(&s)
	if raw, err = json.Marshal(s); err != nil {
		t.Fatal(err)
	}
	if err = os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestDevGoesOn stops dev's beginning at each of its steps: the next start makes the same things, once.
func TestDevGoesOn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := openDev(t, dir)
	plan := first.Sample
	if err := first.Close(); err != nil { // nothing is connected yet
		t.Fatal(err)
	}
	same := cmpopts.IgnoreFields(app.Sample{}, "APIKey", "PartnerAPIKey")
	for _, step := range []struct {
		name string
		undo func(*app.Sample)
	}{
		{"made, not connected", func(*app.Sample) {}},
		{"connected, not noted", func(s *app.Sample) { s.Instances[0].Connected = false }},
		{"made, not noted", func(s *app.Sample) {
			s.Seeded, s.APIKey, s.PartnerAPIKey = false, "", ""
			for i := range s.Instances {
				s.Instances[i].Connected = false
			}
		}},
	} {
		editSample(t, dir, step.undo)
		dev := openDev(t, dir)
		after := dev.Sample
		after.Instances = nil
		before := plan
		before.Instances = nil
		if diff := cmp.Diff(before, after, same); diff != "" {
			t.Errorf("%s: another sample is made:\n%s", step.name, diff)
		}
		whileReady(t, dev, func() { checkDevSample(t, dev) })
	}
}

func checkDevSample(t *testing.T, dev *app.Dev) {
	t.Helper()
	c, err := api.NewClient(dev.URL(), dev.Sample.APIKey, api.WithHTTPClient(plainClient(t)))
	if err != nil {
		t.Fatal(err)
	}
	const want = "Sales WhatsApp connected, Support WhatsApp connected, Marketing WhatsApp disconnected"
	eventually(t, 30*time.Second, func() error {
		page, err := c.Instances.List(t.Context(), api.ListInstancesParams{})
		if err != nil {
			return err
		}
		var got []string
		for _, in := range page.Data {
			got = append(got, in.Name+" "+string(in.Status))
		}
		if strings.Join(got, ", ") != want {
			return fmt.Errorf("there are %v", got)
		}
		return nil
	})
	checkSampleWebhooks(t, c)
}

// checkSampleWebhooks holds that the sample calls nobody.
func checkSampleWebhooks(t *testing.T, c *api.Client) {
	t.Helper()
	hooks, err := c.Webhooks.List(t.Context(), api.ListWebhooksParams{})
	if err != nil || len(hooks.Data) != 2 {
		t.Fatalf("the webhooks are %+v, %v", hooks, err)
	}
	for _, w := range hooks.Data {
		if !w.OfInstance || w.Status != api.WebhookStatusDisabled {
			t.Errorf("a webhook of the sample would be called: %+v", w)
		}
	}
}

// Webhooks of dev lead to this machine, and to what else it was told; not to whatever its network holds.
func TestDevWebhooks(t *testing.T) {
	t.Parallel()
	dev, err := app.OpenDev(t.Context(), app.DevConfig{
		DataDir: t.TempDir(), Addr: "127.0.0.1:0", AdminAddr: "127.0.0.1:0", ControlAddr: "127.0.0.1:0", Seed: apitest.Seed(),
		WebhookNetworks: []netip.Prefix{netip.MustParsePrefix("10.20.0.0/16")},
	}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	whileReady(t, dev, func() {
		c, err := api.NewClient(dev.URL(), dev.Sample.APIKey)
		if err != nil {
			t.Fatal(err)
		}
		for url, want := range map[string]api.ErrorCode{
			"http://127.0.0.1:3000/hook": "", "http://[::1]:3000/hook": "", "http://localhost:3000/hook": "", "http://10.20.30.40/hook": "",
			"http://10.21.0.1/hook": api.ErrorCodeInvalidWebhookURL, "http://192.168.1.1/hook": api.ErrorCodeInvalidWebhookURL,
			"http://[fd00::1]/hook": api.ErrorCodeInvalidWebhookURL, "http://169.254.169.254/hook": api.ErrorCodeInvalidWebhookURL,
		} {
			_, err := c.Webhooks.Create(t.Context(), api.CreateWebhook{URL: url, Events: []api.EventType{api.EventTypeMessageSent}})
			if code := api.CodeOf(err); code != want {
				t.Errorf("%s: %v, want %q", url, err, want)
			}
		}
	})
}

// TestDevRefusesAnOldSample holds that data without a fake WhatsApp is not taken for something that it is not.
func TestDevRefusesAnOldSample(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const old = `{"secret":"x","accountId":"acct_x","apiKey":"pmb_x"}`
	if err := os.WriteFile(filepath.Join(dir, "dev.json"), []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := app.OpenDev(t.Context(), app.DevConfig{DataDir: dir}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "older version") || !strings.Contains(err.Error(), dir) {
		t.Errorf("it says %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "pombal.db")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it has made a database (%v)", err)
	}
}
