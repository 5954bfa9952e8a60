package main

import (
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/testkit"
	"github.com/pombal-api/pombal/pkg/api"
)

// TestOperateBesideAServer creates and revokes keys while another process serves from the same database.
func TestOperateBesideAServer(t *testing.T) {
	t.Parallel()
	for _, engine := range testkit.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			s := newSite(engine.New(t))
			p := s.serve(t)
			account := s.must(t, "accounts", "create", "--name", "Made beside", "--plan", "enterprise")
			key := s.must(t, "keys", "create", "--account", account, "--name", "first")
			reader := s.must(t, "keys", "create", "--account", account, "--name", "reader", "--scopes", "instances:read", "--expires", "1h")

			c := sdk(t, p, key)
			if _, err := c.Instances.Create(t.Context(), api.CreateInstance{Name: "at once"}); err != nil {
				t.Errorf("the new key does not work at once: %v", err)
			}
			if _, err := sdk(t, p, reader).Instances.Create(t.Context(), api.CreateInstance{Name: "no"}); api.CodeOf(err) != api.ErrorCodeInsufficientPermissions {
				t.Errorf("a key that may read can write: %v", err)
			}
			list := s.must(t, "keys", "list", "--account", account)
			checkTable(t, list, 2, "ENDS IN", "first", "reader", "instances:read", key[len(key)-4:])
			if strings.Contains(list, key) {
				t.Error("the list shows a key")
			}
			if got := s.must(t, "keys", "revoke", "--account", account, keyID(t, list, "first")); !strings.HasPrefix(got, "Revoked key_") {
				t.Errorf("it prints %q", got)
			}
			refusedWithinASecond(t, c)
			checkTable(t, s.must(t, "keys", "list", "--account", account), 1, "reader")
			checkTable(t, s.must(t, "accounts", "list"), 1, "PLAN", account, "Made beside", "enterprise", "active")

			s.must(t, "signing-keys", "rotate")
			p.stop(t)
		})
	}
}

// checkTable holds that a table has so many rows, and the texts.
func checkTable(t *testing.T, table string, rows int, texts ...string) {
	t.Helper()
	if got := strings.Count(table, "\n"); got != rows { // the heading is the row that the last line break lacks
		t.Errorf("%d rows, want %d:\n%s", got, rows, table)
	}
	for _, text := range texts {
		if !strings.Contains(table, text) {
			t.Errorf("the table lacks %q:\n%s", text, table)
		}
	}
}

// keyID finds the id of the key with this name.
func keyID(t *testing.T, table, name string) string {
	t.Helper()
	for line := range strings.Lines(table) {
		if cells := strings.Fields(line); len(cells) > 1 && cells[1] == name {
			return cells[0]
		}
	}
	t.Fatalf("there is no key named %s:\n%s", name, table)
	return ""
}

// refusedWithinASecond lists until that is refused. A call that begins later than a second from now must be.
func refusedWithinASecond(t *testing.T, c *api.Client) {
	t.Helper()
	for revoked := time.Now(); ; {
		late := time.Since(revoked) > time.Second
		_, err := c.Instances.List(t.Context(), api.ListInstancesParams{Limit: 1})
		if api.CodeOf(err) == api.ErrorCodeInvalidAPIKey {
			t.Logf("refused after %v", time.Since(revoked).Round(time.Millisecond))
			return
		}
		if err != nil || late {
			t.Fatalf("a second after its revocation, a key gets %v", err)
		}
	}
}

func TestOperatorMistakesAreNamed(t *testing.T) {
	t.Parallel()
	s := newSite(testkit.Database{Dir: t.TempDir()})
	account := s.must(t, "accounts", "create", "--name", "Plain")
	partner := s.must(t, "accounts", "create", "--name", "Partner", "--partner")
	child := s.must(t, "accounts", "create", "--name", "Child", "--parent", partner)
	const nobody = "acct_01j0000000e00800000000000a"
	for name, c := range map[string]struct {
		command string
		say     []string
	}{
		"no name":           {"accounts create", []string{"--name"}},
		"empty name":        {"accounts create --name=", []string{"name"}},
		"key without name":  {"keys create --name= --account " + account, []string{"name"}},
		"long name":         {"accounts create --name " + strings.Repeat("x", 101), []string{"name", "100"}},
		"unknown plan":      {"accounts create --name X --plan gold", []string{`"gold"`, "POMBAL_PLANS"}},
		"unknown parent":    {"accounts create --name X --parent " + nobody, []string{"no account"}},
		"parent is no id":   {"accounts create --name X --parent nobody", []string{`"nobody"`, "accounts list"}},
		"parent no partner": {"accounts create --name X --parent " + account, []string{"--partner"}},
		"grandchild":        {"accounts create --name X --parent " + child, []string{"not a partner"}},
		"partner child":     {"accounts create --name X --partner --parent " + partner, []string{"child"}},
		"negative limit":    {"accounts create --name X --request-limit=-5", []string{"request limit must be"}},
		"no account":        {"keys create", []string{"--account"}},
		"unknown account":   {"keys create --account " + nobody, []string{"no account"}},
		"unknown scope":     {"keys create --account " + account + " --scopes instances:raed", []string{"instances:raed", "instances:read"}},
		"past expiry":       {"keys create --account " + account + " --expires=-1h", []string{"expired"}},
		"keys of nobody":    {"keys list --account " + nobody, []string{"no account"}},
		"revoke no id":      {"keys revoke --account " + account + " first", []string{`"first"`, "keys list"}},
		"revoke unknown":    {"keys revoke --account " + account + " key_01j0000000e00800000000000a", []string{"no API key"}},
		"unknown flag":      {"accounts list --frobnicate", []string{"--frobnicate", "pombal --help"}},
		"unknown command":   {"acounts list", []string{"acounts", "accounts"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := s.operate(t, strings.Fields(c.command)...)
			checkRefused(t, name, out, err, c.say...)
		})
	}
}

// TestFlagsOfEveryCommand holds what has no database.
func TestFlagsOfEveryCommand(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"serve --frobnicate", "dev --frobnicate", "dev extra", "--frobnicate", "serve --addr", "accounts"} {
		out, _, err := runHere(t.Context(), strings.Fields(args)...)
		checkRefused(t, args, out, err, "pombal --help")
	}
	for _, args := range []string{"", "--help", "serve --help", "dev --help", "accounts --help", "keys create --help"} {
		out, _, err := runHere(t.Context(), strings.Fields(args)...)
		if err != nil || !strings.Contains(out, "Usage: pombal") {
			t.Errorf("pombal %s: %v\n%s", args, err, out)
		}
	}
	out, _, err := runHere(t.Context(), "version")
	if err != nil || !strings.HasPrefix(out, "pombal ") || !strings.Contains(out, runtime.Version()) || strings.Count(out, "\n") != 1 {
		t.Errorf("version prints %q (%v)", out, err)
	}
}

// TestUnknownFlagsEndTheProcess holds the exit codes that scripts see.
func TestUnknownFlagsEndTheProcess(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]int{"serve --frobnicate": 1, "frobnicate": 1, "version": 0, "--help": 0} {
		if code := start(t, nil, strings.Fields(args)...).exitCode(t); code != want {
			t.Errorf("pombal %s ends with %d, want %d", args, code, want)
		}
	}
}

// TestSchemas migrates, migrates again, and refuses a database of the future.
func TestSchemas(t *testing.T) {
	t.Parallel()
	for _, engine := range testkit.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			s := newSite(engine.New(t))
			migrate := []string{"migrate", "--database-url", s.URL, "--data-dir", s.Dir} // without the secret
			for range 2 {
				if out, _, err := runHere(t.Context(), migrate...); err != nil || out != "The database is up to date.\n" {
					t.Fatalf("migrate prints %q (%v)", out, err)
				}
			}
			known := s.count(t, "SELECT max(version_id) FROM goose_db_version")
			s.exec(t, fmt.Sprintf("INSERT INTO goose_db_version (version_id, is_applied) VALUES (%d, true)", known+1))
			say := []string{"newer", fmt.Sprintf("schema %d", known+1), fmt.Sprintf("knows %d", known)}
			out, _, err := runHere(t.Context(), migrate...)
			checkRefused(t, "migrate", out, err, say...)
			out, err = s.operate(t, "accounts", "list")
			checkRefused(t, "accounts list", out, err, say...)
			p := start(t, s.env(), "serve")
			if code := p.exitCode(t); code != 1 || !strings.Contains(p.log.String(), say[1]) {
				t.Errorf("serve ends with %d: %s", code, p.log)
			}
		})
	}
}

// TestSecretsChange serves with a new secret, and the one before beside it.
func TestSecretsChange(t *testing.T) {
	t.Parallel()
	s := newSite(testkit.Database{Dir: t.TempDir()})
	_, key := s.newKey(t)
	p := s.serve(t)
	c := sdk(t, p, key)
	token, err := c.Tokens.Create(t.Context(), api.CreateToken{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Instances.Create(t.Context(), api.CreateInstance{Name: "sealed before"}); err != nil {
		t.Fatal(err)
	}
	p.stop(t)
	previous := s.secret
	s.secret = newSecret()
	p = s.serve(t, "POMBAL_SECRET_PREVIOUS="+previous)
	for _, credential := range []string{key, token.Token} {
		mustCall(t, client(t), http.StatusOK, http.MethodGet, p.url+"/v1/instances", "", "Authorization", "Bearer "+credential)
	}
	seen := mustCall(t, client(t), http.StatusOK, http.MethodGet, p.url+"/instance/fetchInstances", "", "apikey", key)
	if !strings.Contains(seen, "sealed before") {
		t.Errorf("fetchInstances answers %s", seen)
	}
	p.stop(t)
	p = s.serve(t) // the key's digest is still of the old secret, which is gone
	mustCall(t, client(t), http.StatusUnauthorized, http.MethodGet, p.url+"/v1/instances", "", "Authorization", "Bearer "+key)
	p.stop(t)
}
