package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/app"
	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/testkit"
	"github.com/pombal-api/pombal/internal/testkit/apitest"
	"github.com/pombal-api/pombal/pkg/api"
)

// box is a node whose instances reach a fake WhatsApp, and what a dev running there writes into its directory.
type box struct {
	*apitest.Tenant
	wa      *apitest.WhatsApp
	control string // URL
	dir     string
}

func newBox(t *testing.T) *box {
	t.Helper()
	wa := apitest.NewWhatsApp(t)
	b := &box{wa: wa, control: serveControl(t, wa), dir: t.TempDir()}
	b.Tenant = apitest.Start(t, testkit.Engines()[0], wa.Use).NewTenant(t)
	b.write(t, "dev-run.json", app.Running{URL: b.Server.URL, ControlURL: b.control})
	b.write(t, "dev.json", app.Sample{APIKey: b.Key})
	return b
}

func serveControl(t *testing.T, wa *apitest.WhatsApp) string {
	t.Helper()
	control := httptest.NewServer(wa.Control())
	t.Cleanup(control.Close)
	return control.URL
}

func (b *box) write(t *testing.T, name string, v any) {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err = os.WriteFile(filepath.Join(b.dir, name), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// args are a command's arguments for this box.
func (b *box) args(args ...string) []string { return append(args, "--data-dir", b.dir) }

// must carries out a command and returns what it prints, without the last line break.
func (b *box) must(t *testing.T, args ...string) string {
	t.Helper()
	out, errOut, err := runHere(t.Context(), b.args(args...)...)
	if err != nil {
		t.Fatalf("pombal %s: %v\n%s%s", strings.Join(args, " "), err, out, errOut)
	}
	return strings.TrimSuffix(out, "\n")
}

// refuse carries out a command that must fail with an error that has these texts.
func (b *box) refuse(t *testing.T, args []string, texts ...string) {
	t.Helper()
	out, _, err := runHere(t.Context(), b.args(args...)...)
	checkError(t, strings.Join(args, " ")+" printed "+out, err, texts...)
}

func checkError(t *testing.T, what string, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: it succeeded", what)
		return
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %q lacks %q", what, err, text)
		}
	}
}

// running is a command under way.
type running struct {
	out, log output
	ended    chan error
}

func (b *box) start(ctx context.Context, args ...string) *running {
	r := &running{ended: make(chan error, 1)}
	go func() { r.ended <- run(ctx, b.args(args...), &r.out, &r.log) }() // waited for by end
	return r
}

// lines waits until there are so many lines, and returns them.
func (r *running) lines(t *testing.T, n int) []string {
	t.Helper()
	var lines []string
	eventually(t, time.Minute, func() error {
		lines = strings.Split(r.out.String(), "\n")
		lines = lines[:len(lines)-1]
		if len(lines) >= n {
			return nil
		}
		select {
		case err := <-r.ended:
			t.Fatalf("it has ended: %v", err)
		default:
		}
		return errors.New("it prints " + r.out.String() + r.log.String())
	})
	return lines
}

func (r *running) end(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.ended:
		return err
	case <-time.After(time.Minute):
		t.Fatal("it does not end")
		return nil
	}
}

func TestInstances(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	id := b.must(t, "instances", "create", "--name", "Sales", "--external-id", "crm-7", "--webhook-url", "https://example.com/hook")
	var got api.Instance
	if err := json.Unmarshal([]byte(b.must(t, "instances", "get", "Sales", "--json")), &got); err != nil {
		t.Fatal(err)
	}
	if got.ID != id || *got.ExternalID != "crm-7" || *got.WebhookURL != "https://example.com/hook" {
		t.Errorf("%+v", got)
	}
	twins := []string{b.NewInstance(t, "Twin").ID, b.NewInstance(t, "Twin").ID}
	checkTable(t, b.must(t, "instances", "list"), 3, "REASON", id, "Sales", "disconnected", "never_connected", twins[0])
	checkTable(t, b.must(t, "instances", "list", "--search", "sal", "--status", "disconnected"), 1, id)
	checkTable(t, b.must(t, "instances", "list", "--status", "connected"), 0, "REASON")
	if lines := strings.Split(b.must(t, "instances", "list", "--json"), "\n"); len(lines) != 3 || !strings.HasPrefix(lines[0], `{"id":"`+id) {
		t.Errorf("%q", lines)
	}
	for _, command := range []string{"get", "status"} {
		checkTable(t, b.must(t, "instances", command, id), strings.Count(b.must(t, "instances", command, "Sales"), "\n"),
			id, "Sales", "has not been connected yet", "scan the QR code")
	}
	b.refuse(t, []string{"instances", "get", "Twin"}, "2 instances", twins[0], twins[1])
	b.refuse(t, []string{"instances", "get", "Twi"}, `"Twi"`, "instances list")
	b.refuse(t, []string{"instances", "get", domain.NewID(time.Now()).Prefixed(domain.PrefixInstance)}, "instance_not_found")
	b.refuse(t, []string{"instances", "disconnect", "Sales"}, "instance_not_connected")
	b.refuse(t, []string{"instances", "restart", id}, "instance_not_connected")
	b.refuse(t, []string{"instances", "create", "--name", "Bad", "--webhook-url", "nowhere"}, "webhookUrl")
	if got := b.must(t, "instances", "delete", "Sales"); got != "Deleted "+id {
		t.Errorf("it prints %q", got)
	}
	checkTable(t, b.must(t, "instances", "list"), 2)
}

func TestInstancesNeedAServerAndAKey(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	_, errOut, err := runHere(t.Context(), b.args("instances", "list")...)
	if err != nil || !strings.Contains(errOut, "API key of the sample in "+b.dir) {
		t.Errorf("it says %q (%v)", errOut, err)
	}
	if strings.Contains(errOut, b.Key) {
		t.Error("it shows the key")
	}
	_, errOut, err = runHere(t.Context(), "instances", "list", "--url", b.Server.URL, "--api-key", b.Key, "--data-dir", t.TempDir())
	if err != nil || errOut != "" {
		t.Errorf("with its own key it says %q (%v)", errOut, err)
	}
	b.refuse(t, []string{"instances", "list", "--api-key", b.Key + "x"}, "invalid_api_key")
	b.refuse(t, []string{"instances", "list", "--api-key", b.NewKey(t, "messages:read")}, "insufficient_permissions")
	b.refuse(t, []string{"instances", "list", "--url", "http://pombal.example.com"}, "no API key for http://pombal.example.com", "POMBAL_API_KEY")
	b.refuse(t, []string{"instances", "list", "--url", "ftp://127.0.0.1", "--api-key", b.Key}, "must look like")
	b.refuse(t, []string{"instances", "list", "--url", "http://127.0.0.1:1", "--api-key", b.Key}, "http://127.0.0.1:1 cannot be reached", "POMBAL_URL")
	_, _, err = runHere(t.Context(), "instances", "list", "--data-dir", t.TempDir())
	checkError(t, "without dev", err, "no API key", "POMBAL_API_KEY")
	broken := t.TempDir()
	if err = os.WriteFile(filepath.Join(broken, "dev-run.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err = runHere(t.Context(), "instances", "list", "--data-dir", broken)
	checkError(t, "a broken directory", err, broken, "cannot be read")
}

// The key of dev's sample goes to that dev, and nowhere else.
func TestTheSamplesKeyStaysAtHome(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("another server was sent %q", r.Header)
	}))
	t.Cleanup(other.Close)
	for _, args := range [][]string{{"instances", "list"}, {"events", "tail"}, {"webhooks", "list"}} {
		b.refuse(t, append(args, "--url", other.URL), "no API key for "+other.URL, "POMBAL_API_KEY")
	}
	at := strings.Replace(b.Server.URL, "127.0.0.1", "localhost", 1)
	b.must(t, "instances", "list", "--url", at)
	for base, want := range map[string]bool{
		"http://127.0.0.1:8080": true, "http://localhost:8080/v1": true, "http://[::1]:8080": true, "http://10.1.2.3:8080": false,
		"https://127.0.0.1:8080": false, "http://127.0.0.1": false, "http://127.0.0.1:8081": false, "http://127.0.0.1.example.com:8080": false,
		"http://localhost.example.com:8080": false, "%": false,
	} {
		if sameServer(base, "http://127.0.0.1:8080") != want {
			t.Errorf("%s is the dev at http://127.0.0.1:8080: %v, want %v", base, !want, want)
		}
	}
	if !sameServer("http://10.1.2.3:8080", "http://10.1.2.3:8080") || sameServer("http://127.0.0.1:8080", "http://10.1.2.3:8080") {
		t.Error("a dev on a network is at its own address only")
	}
}

func TestInstancesOfAChild(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, testkit.Engines()[0])
	partner := s.NewPartner(t)
	child := partner.NewChild(t)
	id := child.NewInstance(t, "The child's").ID
	out, _, err := runHere(t.Context(), "instances", "list", "--url", s.URL, "--api-key", partner.Key, "--account", child.ID)
	if err != nil {
		t.Fatal(err)
	}
	checkTable(t, strings.TrimSuffix(out, "\n"), 1, id)
}
