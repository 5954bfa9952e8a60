package evolution_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/store"
	"github.com/pombal-api/pombal/internal/testkit"
)

// openStore opens a database, migrated, with few connections, until the test ends.
func openStore(t *testing.T, db testkit.Database) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{URL: db.URL, DataDir: db.Dir, MaxConns: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// addAccount creates an account with n instances, each made a second after the one before. Every
// tenth is connected.
func addAccount(t *testing.T, s *store.Store, n int, name string) (*store.Account, domain.ID) {
	t.Helper()
	owner := domain.Account{Name: name, Plan: "free"}
	if err := s.CreateAccount(t.Context(), &owner); err != nil {
		t.Fatal(err)
	}
	a, err := s.Account(owner.ID)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now().Add(-24 * time.Hour)
	var states []domain.InstanceState
	for i := range n {
		in := domain.Instance{
			Name: fmt.Sprintf("%s %03d", name, i), Integration: domain.IntegrationWeb, CreatedAt: start.Add(time.Duration(i) * time.Second),
			TokenDigest: []byte(fmt.Sprint(name, i)), TokenSealed: seal(fmt.Sprintf("token of %s %03d", name, i)),
		}
		if err := a.CreateInstance(t.Context(), &in, 0); err != nil {
			t.Fatal(err)
		}
		if i%10 == 0 {
			status, phone := domain.StatusConnected, fmt.Sprintf("551199999%04d", i)
			states = append(states, domain.InstanceState{ID: in.ID, Status: &status, Phone: &phone, At: time.Now()})
		}
	}
	if err := a.SetInstanceStates(t.Context(), states); err != nil {
		t.Fatal(err)
	}
	return a, owner.ID
}

func TestStore_FetchInstances(t *testing.T) {
	t.Parallel()
	for _, engine := range testkit.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			s := openStore(t, engine.New(t))
			mine, id := addAccount(t, s, 450, "mine")
			theirs, other := addAccount(t, s, 3, "theirs")
			w := newWorld(mine)
			w.accounts[id], w.accounts[other] = mine, theirs
			w.keys[theKey] = credential{account: id, scopes: domain.AllScopes}
			w.keys["pmb_other"] = credential{account: other, scopes: domain.AllScopes}
			base := w.serve(t)

			var all []string
			for i := range 450 {
				all = append(all, fmt.Sprintf("mine %03d", i))
			}
			tests := []struct {
				query string
				want  []string
			}{
				{"", all},
				{"?limit=1000", all},
				{"?limit=3", all[:3]},
				{"?limit=3&offset=200", all[200:203]},
				{"?offset=449", all[449:]},
				{"?offset=450", []string{}},
				{"?offset=9007199254740991", []string{}},
				{"?instanceName=mine%20123", all[123:124]},
				{"?number=5511999990120", all[120:121]},
				{"?number=+5511999990120@s.whatsapp.net", all[120:121]},
				{"?number=5511999990121", []string{}},
				{"?instanceName=mine%20120&number=5511999990120", all[120:121]},
				{"?instanceName=mine%20121&number=5511999990120", []string{}},
				{"?instanceName=theirs%20001", []string{}},
				{"?instanceName=%27%20OR%201=1--", []string{}},
				{"?instanceName=%F0%9F%95%8A", []string{}},
				{"?instanceName=%00", []string{}},
			}
			for _, tt := range tests {
				if diff := cmp.Diff(tt.want, get(t, base, tt.query).names(t)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", tt.query, diff)
				}
			}

			first := get(t, base, "?limit=1").entries(t)[0]
			if first["owner"] != "5511999990000@s.whatsapp.net" || first["status"] != "online" || first["apikey"] != "token of mine 000" {
				t.Errorf("the first is %v", first)
			}
			for _, query := range []string{"?instanceId=" + first["instanceId"].(string), "?number=5511999990010"} {
				got, err := send(t, base+"/instance/fetchInstances"+query, "apikey: pmb_other")
				if err != nil {
					t.Fatal(err)
				}
				if names := got.names(t); len(names) == 1 && strings.HasPrefix(names[0], "mine") {
					t.Errorf("another account sees %v", names)
				}
			}
		})
	}
}

// Clients that hang up in the middle must not take the database's connections with them.
func TestStore_HangUps(t *testing.T) {
	t.Parallel()
	for _, engine := range testkit.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			s := openStore(t, engine.New(t))
			mine, id := addAccount(t, s, 300, "mine")
			w := newWorld(mine)
			w.accounts[id] = mine
			w.keys[theKey] = credential{account: id, scopes: domain.AllScopes}
			base := w.serve(t)
			var wg sync.WaitGroup
			for i := range 200 {
				wg.Go(func() { hangUp(t, base, time.Duration(i)*50*time.Microsecond) })
			}
			wg.Wait()
			if n := len(get(t, base, "").entries(t)); n != 300 {
				t.Errorf("%d instances after the hang-ups, want 300", n)
			}
			if f := w.failures(); len(f) != 0 {
				t.Errorf("hang-ups were reported as our failures: %v", f)
			}
		})
	}
}

// hangUp asks for the list and goes away after a while, wherever the call is then.
func hangUp(t *testing.T, base string, after time.Duration) {
	ctx, cancel := context.WithTimeout(t.Context(), after)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/instance/fetchInstances", http.NoBody)
	if err != nil {
		t.Error(err)
		return
	}
	req.Header.Set("apikey", theKey)
	res, err := client().Do(req)
	if err != nil {
		return // went away early
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
}
