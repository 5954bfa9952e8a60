package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pombal-api/pombal/internal/app"
	"github.com/pombal-api/pombal/internal/testkit"
	"github.com/pombal-api/pombal/internal/testkit/apitest"
	"github.com/pombal-api/pombal/pkg/api"
)

// startDev starts `dev --json` and reads the one line that it prints when it is ready.
func startDev(tb testing.TB, dir string, more ...string) (*process, ready) {
	tb.Helper()
	p := start(tb, nil, append([]string{"dev", "--json", "--data-dir", dir, "--addr", "127.0.0.1:0"}, more...)...)
	var line ready
	eventually(tb, 30*time.Second, func() error {
		if err := p.ended(); err != nil {
			tb.Fatal(err)
		}
		text := p.stdout.String()
		if !strings.HasSuffix(text, "\n") {
			return errors.New("it does not say that it is ready")
		}
		return json.Unmarshal([]byte(text), &line)
	})
	p.url, p.admin = line.URL, line.AdminURL
	return p, line
}

func TestDevPrintsOneLineOfJSON(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p, line := startDev(t, dir)
	mustCall(t, client(t), http.StatusOK, http.MethodGet, line.URL+"/readyz", "")
	mustCall(t, client(t), http.StatusOK, http.MethodGet, line.AdminURL+"/metrics", "")
	if _, err := sdk(t, p, line.APIKey).Accounts.Get(t.Context(), line.AccountID); err != nil {
		t.Errorf("the key is not of the account: %v", err)
	}
	if r, sample, err := app.ReadRunning(dir); err != nil || r.ControlURL != line.ControlURL || sample.APIKey != line.APIKey {
		t.Errorf("others find %+v (%v)", r, err)
	}
	p.stop(t)
	if _, _, err := app.ReadRunning(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after the stop others find %v", err)
	}
	var fields map[string]string
	if err := json.Unmarshal([]byte(p.stdout.String()), &fields); err != nil || strings.Count(p.stdout.String(), "\n") != 1 {
		t.Errorf("it printed %q (%v)", p.stdout, err)
	}
	want := []string{"accountId", "adminUrl", "apiKey", "controlUrl", "partnerApiKey", "url"}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(fields))); diff != "" {
		t.Error(diff)
	}
	if p.log.String() != "" {
		t.Errorf("beside it there is %q", p.log)
	}
}

// everything is all that a caller of dev sees of the sample data.
func everything(tb testing.TB, p *process, line ready) map[string][]api.Instance {
	tb.Helper()
	partner := sdk(tb, p, line.PartnerAPIKey)
	all := map[string][]api.Instance{}
	for name, c := range map[string]*api.Client{"own": sdk(tb, p, line.APIKey), "children": partner.OnAccount("*")} {
		page, err := c.Instances.List(tb.Context(), api.ListInstancesParams{})
		if err != nil {
			tb.Fatal(err)
		}
		all[name] = page.Data
	}
	return all
}

// lasting leaves out what changes when connections are opened again.
func lasting() cmp.Option {
	return cmpopts.IgnoreFields(api.Instance{}, "UpdatedAt", "ConnectedAt", "LastSeenAt")
}

// checkSample holds that the sample is as the documentation shows it, and really connected: the fake WhatsApp
// must agree.
func checkSample(tb testing.TB, p *process, line ready) {
	tb.Helper()
	all := everything(tb, p, line)
	var got []string
	for _, in := range append(all["own"], all["children"]...) {
		got = append(got, fmt.Sprintf("%s %s %s %s", in.Name, in.Status, deref(in.Phone), deref(in.ProfileName)))
	}
	want := []string{
		"Sales WhatsApp connected 5511999999999 Sales Team", "Support WhatsApp connected 5521988888888 Support Team",
		"Marketing WhatsApp disconnected  ", "my-instance connected 5511977777777 My Business",
		"second-instance connected 5511966666666 Support Team", "Reception disconnected  ",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		tb.Errorf("the sample:\n%s", diff)
	}
	if active := activePhones(tb, line); len(active) != 4 {
		tb.Errorf("the fake WhatsApp has %v connected", active)
	}
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// activePhones asks the fake WhatsApp who is connected.
func activePhones(tb testing.TB, line ready) (phones []string) {
	tb.Helper()
	var list []struct{ Phone, State string }
	if err := json.Unmarshal([]byte(mustCall(tb, client(tb), http.StatusOK, http.MethodGet, line.ControlURL+"/connections", "")), &list); err != nil {
		tb.Fatal(err)
	}
	for _, c := range list {
		if c.State == "active" {
			phones = append(phones, c.Phone)
		}
	}
	return phones
}

func TestDevKeepsItsData(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "made", "by dev") // a folder that is not there yet
	p, first := startDev(t, dir)
	before := everything(t, p, first)
	checkSample(t, p, first)
	c := sdk(t, p, first.APIKey)
	name := "Renamed by the user"
	if _, err := c.Instances.Update(t.Context(), before["own"][0].ID, api.UpdateInstance{Name: &name}); err != nil {
		t.Fatal(err)
	}
	if err := c.Instances.Delete(t.Context(), before["own"][1].ID); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Instances.Create(t.Context(), api.CreateInstance{Name: "Made by the user"}); err != nil {
		t.Fatal(err)
	}
	changed := everything(t, p, first)
	p.stop(t)

	for _, end := range []func(*process){func(p *process) { p.stop(t) }, (*process).kill} {
		p, again := startDev(t, dir)
		if diff := cmp.Diff(changed, everything(t, p, again), lasting()); diff != "" {
			t.Errorf("after a restart:\n%s", diff)
		}
		if active := activePhones(t, again); len(active) != 3 {
			t.Errorf("after a restart the fake WhatsApp has %v connected", active)
		}
		again.URL, again.AdminURL, again.ControlURL = first.URL, first.AdminURL, first.ControlURL // ports differ
		if diff := cmp.Diff(first, again); diff != "" {
			t.Errorf("after a restart:\n%s", diff)
		}
		end(p)
	}
}

// TestDevKilledWhileItBegins kills dev again and again before and after it is ready for the first time. It must
// go on where it was, and never begin anew.
func TestDevKilledWhileItBegins(t *testing.T) {
	t.Parallel()
	for range soak(3, 100) {
		dir := t.TempDir()
		for range 1 + rand.IntN(4) {
			p := start(t, nil, "dev", "--data-dir", dir, "--addr", "127.0.0.1:0", "--verbose")
			select { // any moment of its beginning
			case <-time.After(time.Duration(rand.IntN(900)) * time.Millisecond):
			case <-p.done:
			}
			p.kill()
		}
		p, line := startDev(t, dir)
		checkSample(t, p, line)
		db := site{Database: testkit.Database{Dir: dir}}
		if n := db.count(t, "SELECT count(*) FROM accounts"); n != 4 {
			t.Errorf("there are %d accounts", n)
		}
		if n := db.count(t, "SELECT count(*) FROM api_keys"); n != 2 {
			t.Errorf("there are %d keys", n)
		}
		p.kill()
	}
}

// TestDevShowsWhatToTry carries out the requests that dev suggests.
func TestDevShowsWhatToTry(t *testing.T) {
	t.Parallel()
	p := start(t, nil, "dev", "--data-dir", t.TempDir(), "--addr", "127.0.0.1:0")
	command := regexp.MustCompile(`(?m)^ *curl '?(http[^' ]+)'?((?: -H '[^']+')+)$`)
	header := regexp.MustCompile(`-H '([^:']+): ([^']+)'`)
	eventually(t, 30*time.Second, func() error {
		if len(command.FindAllString(p.stdout.String(), -1)) < 3 {
			return fmt.Errorf("it prints %q", p.stdout)
		}
		return p.ended()
	})
	for _, m := range command.FindAllStringSubmatch(p.stdout.String(), -1) {
		var headers []string
		for _, h := range header.FindAllStringSubmatch(m[2], -1) {
			headers = append(headers, h[1], h[2])
		}
		mustCall(t, client(t), http.StatusOK, http.MethodGet, m[1], "", headers...)
	}
	p.stop(t)
}

func TestDevRefusesWhatIsInUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p, _ := startDev(t, dir)
	address := strings.TrimPrefix(p.url, "http://")
	for name, c := range map[string]struct {
		args []string
		say  []string
	}{
		"data":    {[]string{"--data-dir", dir, "--addr", "127.0.0.1:0"}, []string{"another pombal process", dir, "--data-dir"}},
		"addr":    {[]string{"--data-dir", t.TempDir(), "--addr", address}, []string{"cannot listen on " + address, "in use"}},
		"control": {[]string{"--data-dir", t.TempDir(), "--addr", "127.0.0.1:0", "--control-addr", address}, []string{"cannot listen on " + address}},
		"admin":   {[]string{"--data-dir", t.TempDir(), "--addr", "127.0.0.1:0", "--admin-addr", address}, []string{"cannot listen on " + address}},
	} {
		q := start(t, nil, append([]string{"dev", "--json"}, c.args...)...) // a process trusts one sandbox only
		if code := q.exitCode(t); code != 1 {
			t.Errorf("%s: the exit code is %d", name, code)
		}
		checkRefused(t, name, q.stdout.String(), errors.New(q.log.String()), c.say...)
	}
	mustCall(t, client(t), http.StatusOK, http.MethodGet, p.url+"/readyz", "") // the first one is unharmed
	p.stop(t)
}

// checkRefused holds that a command prints nothing and fails with one readable sentence.
func checkRefused(t *testing.T, name, out string, err error, say ...string) {
	t.Helper()
	if err == nil || out != "" {
		t.Errorf("%s: printed %q and failed with %v", name, out, err)
		return
	}
	for _, part := range say {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%s: says %q, which lacks %q", name, err, part)
		}
	}
	if strings.Contains(err.Error(), "%!") || strings.Contains(err.Error(), "<nil>") || strings.Contains(err.Error(), "goroutine") {
		t.Errorf("%s: says %q", name, err)
	}
}

// TestDevInThisProcess runs dev as a function: it must leave nothing behind when its context ends.
func TestDevInThisProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := app.OpenDev(t.Context(), app.DevConfig{DataDir: dir, Seed: apitest.Seed(), Addr: "127.0.0.1:0", AdminAddr: "127.0.0.1:0", ControlAddr: "127.0.0.1:0"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if err = first.Close(); err != nil { // it was for the sample, which has the seed that this process trusts
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	out := &output{}
	done := make(chan error, 1)
	go func() { // waited for below
		done <- run(ctx, []string{"dev", "--json", "--data-dir", dir, "--addr", "127.0.0.1:0"}, out, &bytes.Buffer{})
	}()
	eventually(t, 30*time.Second, func() error {
		if out.String() == "" {
			return errors.New("it does not say that it is ready")
		}
		return nil
	})
	var line ready
	if err := json.Unmarshal([]byte(out.String()), &line); err != nil {
		t.Fatal(err)
	}
	mustCall(t, client(t), http.StatusOK, http.MethodGet, line.URL+"/readyz", "")
	cancel()
	if err := <-done; err != nil {
		t.Errorf("dev ends with %v", err)
	}
	if conn, err := net.Dial("tcp", strings.TrimPrefix(line.URL, "http://")); err == nil {
		_ = conn.Close()
		t.Error("the port is still open")
	}
}

// TestStartUp measures how long a process takes to its first answer on a database that is there. The goal
// is 300 ms; a busy machine may miss it, so nothing is asserted.
func TestStartUp(t *testing.T) {
	dir := t.TempDir()
	p, _ := startDev(t, dir)
	p.stop(t)
	s := newSite(engineDatabase(t, "sqlite"))
	s.newKey(t)
	pg := newSite(engineDatabase(t, "postgres"))
	pg.newKey(t)
	for name, begin := range map[string]func(addr string) *process{
		"dev":            func(addr string) *process { return start(t, nil, "dev", "--data-dir", dir, "--addr", addr) },
		"serve sqlite":   func(addr string) *process { return start(t, s.env("POMBAL_ADDR="+addr), "serve") },
		"serve postgres": func(addr string) *process { return start(t, pg.env("POMBAL_ADDR="+addr), "serve") },
	} {
		var took []time.Duration
		for range soak(3, 20) {
			addr := freeAddress(t)
			began := time.Now()
			p := begin(addr)
			firstAnswer(t, addr)
			took = append(took, time.Since(began).Round(time.Millisecond))
			p.stop(t)
		}
		slices.Sort(took)
		t.Logf("%s: first answer after %v (median of %v)", name, took[len(took)/2], took)
	}
}

// freeAddress is an address whose port was free a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// firstAnswer asks without pause until the server answers that it is ready.
func firstAnswer(t *testing.T, addr string) {
	t.Helper()
	c := client(t)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); <-tick.C {
		if status, _, err := call(t, c, http.MethodGet, "http://"+addr+"/readyz", ""); err == nil && status == http.StatusOK {
			return
		}
	}
	t.Fatal("no answer")
}
