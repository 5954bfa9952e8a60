package main

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pombal-api/pombal/internal/testkit"
	"github.com/pombal-api/pombal/pkg/api"
)

// phone is a number that only the search for it and the sample data hold.
const phone = "5511999999999"

// TestNoSecretIsKeptInClear uses everything that has to do with secrets, well and badly, and then looks for
// them in the log and in the files.
func TestNoSecretIsKeptInClear(t *testing.T) {
	t.Parallel()
	for _, engine := range testkit.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			s := newSite(engine.New(t))
			p := s.serve(t, "POMBAL_LOG_LEVEL=DEBUG")
			secrets := useSecrets(t, s, p)
			secrets["the operator's secret"] = s.secret
			if s.URL != "" {
				secrets["the database URL"] = s.URL
			}
			checkAbsent(t, "the log of a running server", p.log.String(), secrets)
			for name, text := range readFiles(t, s.Dir) { // with the write-ahead log
				checkAbsent(t, name, text, secrets)
			}
			p.stop(t)
			secrets["a phone number"] = phone
			checkAbsent(t, "the log", p.log.String(), secrets)
			checkAbsent(t, "the database", dump(t, s), secrets)
			for name, text := range readFiles(t, s.Dir) {
				checkAbsent(t, name, text, secrets)
			}
			if !strings.Contains(p.log.String(), `"route":"listInstances"`) {
				t.Error("there is no log to look at")
			}
		})
	}
}

// useSecrets makes keys, tokens and instances in every way, and returns all that must stay secret.
func useSecrets(t *testing.T, s *site, p *process) map[string]string {
	t.Helper()
	account, key := s.newKey(t, "--partner")
	secrets := map[string]string{"a key made by the operator": key}
	add := func(name, secret string) {
		if secret == "" {
			t.Fatalf("there is no %s", name)
		}
		secrets[name] = secret
	}
	c, ctx := sdk(t, p, key), t.Context()
	made, err := c.APIKeys.Create(ctx, api.CreateAPIKey{Name: "made", Scopes: []api.Scope{api.ScopeInstancesRead}})
	if err != nil {
		t.Fatal(err)
	}
	add("key made by a key", made.Key)
	rotated, err := c.APIKeys.Rotate(ctx, made.ID, api.RotateAPIKey{})
	if err != nil {
		t.Fatal(err)
	}
	add("key after rotation", rotated.Key)
	token, err := c.Tokens.Create(ctx, api.CreateToken{})
	if err != nil {
		t.Fatal(err)
	}
	add("token", token.Token)
	hook := "https://hooks.example.com/t/secret-in-a-path-0123456789"
	if _, err := c.Instances.Create(ctx, api.CreateInstance{Name: "instance", WebhookURL: &hook}); err != nil {
		t.Fatal(err)
	}
	var fetched []api.EvolutionInstance
	text := mustCall(t, client(t), http.StatusOK, http.MethodGet, p.url+"/instance/fetchInstances", "", "apikey", key)
	if err := json.Unmarshal([]byte(text), &fetched); err != nil || len(fetched) != 1 {
		t.Fatalf("fetchInstances answers %s (%v)", text, err)
	}
	add("token of an instance", fetched[0].APIKey)

	misuse(t, p, account, secrets)
	return secrets
}

// misuse sends secrets where they do not belong, and such as are not good.
func misuse(t *testing.T, p *process, account string, secrets map[string]string) {
	t.Helper()
	c := client(t)
	for name, secret := range secrets {
		broken := secret[:len(secret)-1] + "_"
		for _, r := range []struct {
			method, path, body string
			header             []string
		}{
			{"GET", "/v1/instances", "", []string{"Authorization", "Bearer " + secret}},
			{"GET", "/v1/instances", "", []string{"Authorization", "Bearer " + broken}},
			{"GET", "/v1/instances", "", []string{"Authorization", "Basic " + secret}},
			{"GET", "/v1/instances", "", []string{"Authorization", "Bearer " + secret, "X-Account-Id", secret}},
			{"GET", "/v1/instances", "", []string{"Authorization", "Bearer " + secret, "X-Request-Id", secret[:12]}},
			{"GET", "/v1/instances?search=" + phone, "", []string{"Authorization", "Bearer " + secret}},
			{"GET", "/v1/instances?token=" + secret, "", []string{"Authorization", "Bearer " + secret}},
			{"GET", "/v1/instances/" + secret, "", []string{"Authorization", "Bearer " + secret}},
			{"GET", "/" + secret, "", nil},
			{"GET", "/instance/fetchInstances?number=" + phone, "", []string{"apikey", secret}},
			{"GET", "/instance/fetchInstances?apikey=" + secret, "", []string{"apikey", broken}},
			{"POST", "/v1/tokens", `{"key":"` + secret + `"}`, []string{"Authorization", "Bearer " + secret, "Idempotency-Key", "misuse-" + account}},
			{"POST", "/v1/api-keys", `{"name":"` + phone, []string{"Authorization", "Bearer " + secret}},
		} {
			status, answer, err := call(t, c, r.method, p.url+r.path, r.body, r.header...)
			if err != nil || status >= 500 {
				t.Errorf("%s: %s %s: %d (%v): %s", name, r.method, r.path, status, err, answer)
			}
		}
	}
}

// checkAbsent looks for the secrets, and for the part of keys and tokens that makes them secret.
func checkAbsent(t *testing.T, where, text string, secrets map[string]string) {
	t.Helper()
	for name, secret := range secrets {
		part := secret
		if at := strings.LastIndexAny(secret, "_."); at > 0 && !strings.Contains(secret, "://") {
			part = secret[at+1:]
		}
		if at := strings.Index(strings.ToLower(text), strings.ToLower(part)); at >= 0 {
			t.Errorf("%s holds %s: …%q…", where, name, text[max(0, at-100):min(len(text), at+len(part)+20)])
		}
	}
}

// readFiles returns the files of a data directory by name.
func readFiles(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		files[entry.Name()] = string(text)
		info, errInfo := entry.Info()
		if errInfo == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s may be read by others: %v", entry.Name(), info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// dump prints every value of every table, as text.
func dump(t *testing.T, s *site) string {
	t.Helper()
	tables := "SELECT name FROM sqlite_master WHERE type = 'table'"
	if s.URL != "" {
		tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
	}
	db := s.open(t)
	var all strings.Builder
	for _, table := range values(t, db, tables) {
		for _, value := range values(t, db, `SELECT * FROM "`+table+`"`) {
			all.WriteString(value + "\n")
		}
	}
	if !strings.Contains(all.String(), t.Name()) {
		t.Errorf("the database does not hold the account: %s", all.String())
	}
	return all.String()
}

// values returns all cells that a query finds.
func values(t *testing.T, db *sql.DB, query string) (texts []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	cells, targets := make([]any, len(columns)), make([]any, len(columns))
	for i := range cells {
		targets[i] = &cells[i]
	}
	for rows.Next() {
		if err := rows.Scan(targets...); err != nil {
			t.Fatal(err)
		}
		for _, cell := range cells {
			if raw, ok := cell.([]byte); ok {
				cell = string(raw)
			}
			texts = append(texts, fmt.Sprint(cell))
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return texts
}
