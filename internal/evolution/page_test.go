package evolution_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pombal-api/pombal/internal/domain"
)

// pageExample returns the JSON under a heading of the documentation page, on one line. The page's
// e-mail protection has eaten the owners, so they get the numbers 5511999990001 and up.
func pageExample(t *testing.T, heading string) string {
	t.Helper()
	page, err := os.ReadFile("testdata/seed-fetch-instances.txt")
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(page), "\n"+heading+"\n")
	if !found {
		t.Fatalf("the page has no heading %q", heading)
	}
	for _, number := range pageNumbers {
		after = strings.Replace(after, "[email\u00a0protected]", number+"@s.whatsapp.net", 1)
	}
	var value json.RawMessage
	if err := json.NewDecoder(strings.NewReader(after)).Decode(&value); err != nil {
		t.Fatalf("the example below %q: %v", heading, err)
	}
	var line bytes.Buffer
	if err := json.Compact(&line, value); err != nil {
		t.Fatal(err)
	}
	return line.String()
}

var pageNumbers = []string{"5511999990001", "5511999990002"}

// pageAccount is an account that holds the instances of the page, read from the page itself.
func pageAccount(t *testing.T) *account {
	t.Helper()
	var entries []struct {
		InstanceName, InstanceID, Owner, ProfileName, ProfilePicURL, ProfileStatus, APIKey string
		CreatedAt, UpdatedAt                                                               time.Time
	}
	if err := json.Unmarshal([]byte(pageExample(t, "Success Response - Multiple Instances")), &entries); err != nil {
		t.Fatal(err)
	}
	var list []domain.Instance
	for _, e := range entries {
		id, err := domain.ParseUUID(e.InstanceID)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, domain.Instance{
			AccountID: theAccount, ID: id, Name: e.InstanceName, Phone: strings.TrimSuffix(e.Owner, "@s.whatsapp.net"),
			ProfileName: e.ProfileName, ProfilePicURL: e.ProfilePicURL, ProfileStatus: e.ProfileStatus,
			Status: domain.StatusConnected, Integration: domain.IntegrationWeb, TokenSealed: seal(e.APIKey),
			CreatedAt: e.CreatedAt, UpdatedAt: e.UpdatedAt,
		})
	}
	return some(list...)
}

func TestFetchInstances_AsThePageShows(t *testing.T) {
	t.Parallel()
	a := pageAccount(t)
	w, first := newWorld(a), a.at(0)
	w.keys["A1B2C3D4-E5F6-4A7B-8C9D-0E1F2A3B4C5D"] = credential{
		account: theAccount, scopes: domain.ScopeInstancesRead, instances: []domain.ID{first.ID}, own: &first,
	}
	base := w.serve(t)
	tests := []struct {
		name, key, query, heading string
		status                    int
	}{
		{"all", theKey, "", "Success Response - Multiple Instances", http.StatusOK},
		{"by name", theKey, "?instanceName=my-instance", "Success Response - Single Instance", http.StatusOK},
		{"by id", theKey, "?instanceId=a1b2c3d4-e5f6-4a7b-8c9d-0e1f2a3b4c5d", "Success Response - Single Instance", http.StatusOK},
		{"by number", theKey, "?number=5511999990001", "Success Response - Single Instance", http.StatusOK},
		{"by its token", "A1B2C3D4-E5F6-4A7B-8C9D-0E1F2A3B4C5D", "", "Success Response - Single Instance", http.StatusOK},
		{"none", theKey, "?instanceName=nobody", "Empty Response - No Instances Found", http.StatusOK},
		{"wrong key", "wrong", "", "Error Response - Unauthorized", http.StatusUnauthorized},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := send(t, base+"/instance/fetchInstances"+tt.query, "apikey: "+tt.key)
			if err != nil {
				t.Fatal(err)
			}
			if got.status != tt.status || got.header.Get("Content-Type") != "application/json" {
				t.Errorf("status %d, type %s", got.status, got.header.Get("Content-Type"))
			}
			if diff := cmp.Diff(pageExample(t, tt.heading), strings.TrimSpace(got.body)); diff != "" {
				t.Errorf("not what the page shows (-page +got):\n%s", diff)
			}
		})
	}
}

func TestFetchInstances_Fields(t *testing.T) {
	t.Parallel()
	created := time.Date(2024, 1, 15, 7, 30, 0, 5_000_000, time.FixedZone("BRT", -3*60*60))
	base := domain.Instance{ID: domain.ID{15: 7}, Name: "n", CreatedAt: created, UpdatedAt: created, Integration: domain.IntegrationWeb}
	bare := map[string]any{
		"instanceName": "n", "instanceId": "00000000-0000-0000-0000-000000000007", "owner": nil,
		"profileName": nil, "profilePicUrl": nil, "profileStatus": nil, "status": "offline",
		"connectionStatus": map[string]any{"state": "close"}, "integration": "WHATSAPP-BAILEYS",
		"serverUrl": "https://api.example.com", "apikey": "",
		"createdAt": "2024-01-15T10:30:00.005Z", "updatedAt": "2024-01-15T10:30:00.005Z",
	}
	closed := func(reason any) map[string]any { return map[string]any{"state": "close", "statusReason": reason} }
	tests := []struct {
		name string
		set  func(*domain.Instance)
		want map[string]any
	}{
		{"never paired", func(in *domain.Instance) {
			in.Status, in.Reason = domain.StatusDisconnected, domain.ReasonNeverConnected
		}, nil},
		{"connecting", func(in *domain.Instance) { in.Status = domain.StatusConnecting },
			map[string]any{"status": "connecting", "connectionStatus": map[string]any{"state": "connecting"}}},
		{"connected", func(in *domain.Instance) { in.Status, in.Phone = domain.StatusConnected, "5511999990001" },
			map[string]any{"status": "online", "connectionStatus": map[string]any{"state": "open"}, "owner": "5511999990001@s.whatsapp.net"}},
		{"connected, with an old reason", func(in *domain.Instance) { in.Status, in.Reason = domain.StatusConnected, domain.ReasonLoggedOut },
			map[string]any{"status": "online", "connectionStatus": map[string]any{"state": "open"}}},
		{"logged out", func(in *domain.Instance) { in.Status, in.Reason = domain.StatusDisconnected, domain.ReasonLoggedOut },
			map[string]any{"connectionStatus": closed(401.0)}},
		{"disconnected by the user", func(in *domain.Instance) {
			in.Status, in.Reason = domain.StatusDisconnected, domain.ReasonDisconnectedByUser
		}, map[string]any{"connectionStatus": closed(401.0)}},
		{"a newer node's words", func(in *domain.Instance) { in.Status, in.Reason = "hibernating", "frozen" }, nil},
		{"cloud", func(in *domain.Instance) { in.Integration = domain.IntegrationCloud }, map[string]any{"integration": "WHATSAPP-BUSINESS"}},
		{"any text", func(in *domain.Instance) {
			in.Name, in.ProfileStatus = "\u202eטקסט \"</script>\u2028🕊", "a\\b\tc"
		}, map[string]any{"instanceName": "\u202eטקסט \"</script>\u2028🕊", "profileStatus": "a\\b\tc"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			in := base
			tt.set(&in)
			want := map[string]any{}
			for _, part := range []map[string]any{bare, tt.want} {
				for k, v := range part {
					want[k] = v
				}
			}
			got := get(t, newWorld(some(in)).serve(t), "").entries(t)
			if diff := cmp.Diff([]map[string]any{want}, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestFetchInstances_Tokens(t *testing.T) {
	t.Parallel()
	token := "A1B2C3D4-E5F6-4A7B-8C9D-0E1F2A3B4C5D"
	in := domain.Instance{ID: domain.ID{15: 1}, Name: "n", TokenSealed: seal(token)}
	short, broken, none := in, in, in
	short.TokenSealed, broken.TokenSealed, none.TokenSealed = seal("short"), []byte("?"), nil
	reader := credential{account: theAccount, scopes: domain.AllScopes &^ domain.ScopeKeysWrite}
	owner := credential{account: theAccount, scopes: domain.ScopeInstancesRead, instances: []domain.ID{in.ID}, own: &in}
	admin := credential{account: theAccount, scopes: domain.ScopeInstancesRead | domain.ScopeKeysWrite}
	tests := []struct {
		name     string
		in       domain.Instance
		who      credential
		want     string
		failures int
	}{
		{"a key that makes keys", in, admin, token, 0},
		{"its own token", in, owner, token, 0},
		{"another key", in, reader, "A1B2********", 0},
		{"another key, short token", short, reader, "********", 0},
		{"no token", none, admin, "", 0},
		{"sealed under a lost secret", broken, admin, "********", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(some(tt.in))
			w.keys[theKey] = tt.who
			got := get(t, w.serve(t), "").entries(t)
			if len(got) != 1 || got[0]["apikey"] != tt.want {
				t.Errorf("got %v, want apikey %v", got, tt.want)
			}
			if n := len(w.failures()); n != tt.failures {
				t.Errorf("%d failures reported, want %d", n, tt.failures)
			}
		})
	}
}
