package evolution_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"go.uber.org/goleak"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/evolution"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// account is a made-up store of one account.
type account struct {
	size int
	at   func(i int) domain.Instance // the i-th by creation time
	err  func(i int) error           // what happens instead of the i-th; nil for nothing
}

func (a *account) matching(f domain.InstanceFilter, each func(*domain.Instance) error) error {
	for i := range a.size + 1 {
		if a.err != nil {
			if err := a.err(i); err != nil {
				return err
			}
		}
		if i == a.size {
			break
		}
		in := a.at(i)
		if f.Name != "" && f.Name != in.Name || f.Phone != "" && f.Phone != in.Phone || f.IDs != nil && !slices.Contains(f.IDs, in.ID) {
			continue
		}
		if err := each(&in); err != nil {
			return err
		}
	}
	return nil
}

func (a *account) StreamInstances(_ context.Context, f domain.InstanceFilter, after *domain.Cursor, each func(*domain.Instance) error) error {
	return a.matching(f, func(in *domain.Instance) error {
		if after != nil && (in.CreatedAt.Before(after.CreatedAt) || bytes.Compare(in.ID[:], after.ID[:]) <= 0) {
			return nil
		}
		return each(in)
	})
}

func (a *account) EachInstance(_ context.Context, f domain.InstanceFilter, p domain.PageRequest, each func(*domain.InstanceView) error) (domain.PageInfo, error) {
	var info domain.PageInfo
	err := a.matching(f, func(in *domain.Instance) error {
		info.Total++
		if info.Total > p.Offset && info.Total <= p.Offset+int64(p.Limit) {
			info.Last = domain.Cursor{CreatedAt: in.CreatedAt, ID: in.ID}
			return each(&domain.InstanceView{ID: in.ID})
		}
		return nil
	})
	return info, err
}

// some is a store of the given instances.
func some(list ...domain.Instance) *account {
	return &account{size: len(list), at: func(i int) domain.Instance { return list[i] }}
}

// many is a store of made-up instances.
func many(n int) *account {
	created := time.Date(2024, 1, 15, 10, 30, 0, 0, time.UTC)
	return &account{size: n, at: func(i int) domain.Instance {
		id := domain.ID{0: 1, 12: byte(i >> 24), 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)}
		return domain.Instance{
			ID: id, Name: "Instance " + id.String(), Integration: domain.IntegrationWeb, Status: domain.StatusConnected,
			Phone: "5511999990001", ProfileName: "Support", ProfileStatus: "Available 24/7", ProfilePicURL: "https://example.com/profile.jpg",
			TokenSealed: seal("A1B2C3D4-" + id.String()), CreatedAt: created, UpdatedAt: created.Add(time.Hour),
		}
	}}
}

func seal(token string) []byte { return []byte("sealed " + token) }

// credential is what a key stands for.
type credential struct {
	account   domain.ID
	scopes    domain.ScopeSet
	instances []domain.ID
	own       *domain.Instance
	err       error
}

// world is what the routes work with in these tests.
type world struct {
	keys     map[string]credential
	accounts map[domain.ID]evolution.AccountInstances
	decision domain.RateDecision
	limitErr error
	timeout  time.Duration

	mu     sync.Mutex
	called []domain.ID
	failed []error
}

// theAccount is the account of most tests, theKey its key with every scope.
var theAccount = domain.ID{15: 1}

const theKey = "pmb_the_key"

func newWorld(a evolution.AccountInstances) *world {
	return &world{
		keys:     map[string]credential{theKey: {account: theAccount, scopes: domain.AllScopes}},
		accounts: map[domain.ID]evolution.AccountInstances{theAccount: a},
		decision: domain.RateDecision{Allowed: true},
	}
}

func (w *world) authenticate(_ context.Context, key string) (*domain.Principal, *domain.Instance, error) {
	found, ok := w.keys[key]
	if !ok {
		return nil, nil, domain.NewError(domain.CodeInvalidAPIKey, "This API key is not valid.")
	}
	if found.err != nil {
		return nil, nil, found.err
	}
	a := domain.Account{ID: found.account}
	return &domain.Principal{Account: a, Actor: a, Scopes: found.scopes, Instances: found.instances}, found.own, nil
}

func (w *world) deps() evolution.Deps {
	return evolution.Deps{
		Authenticate: w.authenticate,
		Accounts: func(id domain.ID) (evolution.AccountInstances, error) {
			a, ok := w.accounts[id]
			if !ok {
				return nil, errors.New("no such account")
			}
			return a, nil
		},
		Token: func(in *domain.Instance) (string, error) {
			token, ok := strings.CutPrefix(string(in.TokenSealed), "sealed ")
			if !ok {
				return "", errors.New("not sealed by us")
			}
			return token, nil
		},
		Limit: func(context.Context, *domain.Principal) (domain.RateDecision, error) {
			return w.decision, w.limitErr
		},
		ServerURL: func(*http.Request) string { return "https://api.example.com" },
		Called: func(_ echo.Context, p *domain.Principal) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.called = append(w.called, p.Account.ID)
		},
		Failed: func(_ echo.Context, err error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.failed = append(w.failed, err)
		},
		Timeout: w.timeout,
	}
}

// failures returns the causes that the operator was told.
func (w *world) failures() []error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.failed)
}

// handler returns the routes over w.
func (w *world) handler() http.Handler {
	e := echo.New()
	e.Use(middleware.Recover())
	evolution.Register(e, w.deps())
	return e
}

// serve starts a server over w and returns its URL.
func (w *world) serve(t *testing.T) string {
	t.Helper()
	srv := httptest.NewServer(w.handler())
	t.Cleanup(srv.Close)
	return srv.URL
}

// answer is one HTTP answer, read to its end.
type answer struct {
	status int
	header http.Header
	body   string
}

// client keeps no connection, so that none outlives its test.
func client() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
}

// send sends a GET with the header lines given, each "Name: value".
func send(t *testing.T, url string, header ...string) (answer, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		req.Header[name] = append(req.Header[name], value) // as it is: Set would change its case
	}
	res, err := client().Do(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(body)}, err
}

// get asks for the list with theKey.
func get(t *testing.T, base, query string) answer {
	t.Helper()
	a, err := send(t, base+"/instance/fetchInstances"+query, "apikey: "+theKey)
	if err != nil {
		t.Fatalf("GET %s: %v", query, err)
	}
	return a
}

// entries decodes a list, which must be one.
func (a answer) entries(t *testing.T) []map[string]any {
	t.Helper()
	var list []map[string]any
	if err := json.Unmarshal([]byte(a.body), &list); err != nil || a.status != http.StatusOK || list == nil {
		t.Fatalf("want a list, got %d %.300s (%v)", a.status, a.body, err)
	}
	return list
}

// names returns the names in a list.
func (a answer) names(t *testing.T) []string {
	t.Helper()
	names := []string{}
	for _, e := range a.entries(t) {
		names = append(names, e["instanceName"].(string))
	}
	return names
}

// wantError checks status and envelope, and returns the message.
func (a answer) wantError(t *testing.T, status int) string {
	t.Helper()
	var body map[string]any
	if err := json.Unmarshal([]byte(a.body), &body); err != nil {
		t.Fatalf("not JSON: %d %.300s", a.status, a.body)
	}
	message, _ := body["message"].(string)
	if a.status != status || body["error"] != true || message == "" || len(body) != 2 {
		t.Errorf("got %d %s, want %d with error and message", a.status, a.body, status)
	}
	return message
}
