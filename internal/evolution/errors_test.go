package evolution_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

func TestFetchInstances_Header(t *testing.T) {
	t.Parallel()
	w := newWorld(four())
	w.keys["pmb_no_scope"] = credential{account: theAccount, scopes: domain.AllScopes &^ domain.ScopeInstancesRead}
	w.keys["pmb_expired"] = credential{err: domain.NewError(domain.CodeExpiredAPIKey, "This API key has expired.")}
	w.keys["pmb_suspended"] = credential{err: domain.NewError(domain.CodeInsufficient, "This account is suspended.")}
	base := w.serve(t)
	tests := []struct {
		name   string
		path   string
		header []string
		status int
	}{
		{"lower case", "", []string{"apikey: " + theKey}, 200},
		{"mixed case", "", []string{"ApiKey: " + theKey}, 200},
		{"upper case", "", []string{"APIKEY: " + theKey}, 200},
		{"trailing slash", "/?instanceName=sales", []string{"apikey: " + theKey}, 200},
		{"missing", "", nil, 401},
		{"missing, with a bad query", "?limit=0", nil, 401},
		{"empty", "", []string{"apikey: "}, 401},
		{"unknown", "", []string{"apikey: pmb_nobody"}, 401},
		{"doubled", "", []string{"apikey: " + theKey, "apikey: " + theKey}, 401},
		{"doubled in two cases", "", []string{"apikey: " + theKey, "APIKEY: " + theKey}, 401},
		{"with a scheme", "", []string{"apikey: Bearer " + theKey}, 401},
		{"as a Bearer", "", []string{"Authorization: Bearer " + theKey}, 401},
		{"in the query", "?apikey=" + theKey, nil, 401},
		{"suspended", "", []string{"apikey: pmb_suspended"}, 401},
		{"expired", "", []string{"apikey: pmb_expired"}, 401},
		{"without the scope", "", []string{"apikey: pmb_no_scope"}, 401},
		{"without the scope, with a bad query", "?limit=0", []string{"apikey: pmb_no_scope"}, 401},
		{"a huge one", "", []string{"apikey: " + strings.Repeat("x", 100_000)}, 401},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := send(t, base+"/instance/fetchInstances"+tt.path, tt.header...)
			if err != nil {
				t.Fatal(err)
			}
			if tt.status == http.StatusOK {
				got.entries(t)
				return
			}
			if message := got.wantError(t, tt.status); message != "Unauthorized" {
				t.Errorf("message %q", message)
			}
		})
	}
}

// failing has the store of the account fail at the instances that err says.
func failing(err func(i int) error) func(*world) {
	return func(w *world) {
		a := four()
		a.err = err
		w.accounts[theAccount] = a
	}
}

func TestFetchInstances_Failures(t *testing.T) {
	t.Parallel()
	unavailable := domain.Unavailable(errors.New("connection refused at 10.0.0.5"))
	bug := errors.New(`relation "instances" does not exist`)
	always := func(err error) func(*world) {
		return failing(func(int) error { return err })
	}
	tests := []struct {
		name       string
		set        func(*world)
		query      string
		status     int
		retryAfter string
		reported   int
	}{
		{"keys cannot be looked up", func(w *world) { w.keys[theKey] = credential{err: unavailable} }, "", 503, "5", 1},
		{"looking up keys is broken", func(w *world) { w.keys[theKey] = credential{err: bug} }, "", 500, "", 1},
		{"over the limit", func(w *world) {
			w.decision = domain.RateDecision{Bucket: "key", Limit: 500, RetryAfter: 12_300 * time.Millisecond}
		}, "", 429, "13", 0},
		{"limits cannot be looked up", func(w *world) { w.limitErr = unavailable }, "", 503, "5", 1},
		{"no handle", func(w *world) { clear(w.accounts) }, "", 500, "", 1},
		{"the database is down", always(unavailable), "", 503, "5", 1},
		{"the database is down, deep in", always(unavailable), "?offset=3", 503, "5", 1},
		{"the statement is broken", always(bug), "", 500, "", 1},
		{"out of time", always(context.DeadlineExceeded), "", 503, "5", 1},
		{"the database goes down early", failing(func(i int) error {
			if i < 2 {
				return nil
			}
			return unavailable
		}), "", 503, "5", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(four())
			tt.set(w)
			got := get(t, w.serve(t), tt.query)
			message := got.wantError(t, tt.status)
			if !strings.HasSuffix(message, ".") || strings.Contains(message, "10.0.0.5") || strings.Contains(message, "relation") {
				t.Errorf("message %q", message)
			}
			if got.header.Get("Retry-After") != tt.retryAfter {
				t.Errorf("Retry-After %q, want %q", got.header.Get("Retry-After"), tt.retryAfter)
			}
			if n := len(w.failures()); n != tt.reported {
				t.Errorf("%d failures reported, want %d", n, tt.reported)
			}
		})
	}
}

// HEAD is GET without a body, and reads no more than it needs.
func TestFetchInstances_Head(t *testing.T) {
	t.Parallel()
	a := many(1_000)
	a.err = func(i int) error {
		if i > 1 {
			return errors.New("reads on")
		}
		return nil
	}
	base := newWorld(a).serve(t) + "/instance/fetchInstances"
	for query, status := range map[string]int{"": 200, "?limit=5": 200, "?limit=0": 400} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodHead, base+query, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("apikey", theKey)
		res, err := client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != status || res.Header.Get("Content-Type") != "application/json" {
			t.Errorf("HEAD %s: %d %v", query, res.StatusCode, res.Header)
		}
	}
}

func TestFetchInstances_TellsWhoCalled(t *testing.T) {
	t.Parallel()
	w := newWorld(four())
	get(t, w.serve(t), "")
	if len(w.called) != 1 || w.called[0] != theAccount {
		t.Errorf("told who called: %v", w.called)
	}
}
