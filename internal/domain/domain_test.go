package domain_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pombal-api/pombal/internal/domain"
)

func TestID_RoundTrips(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1_770_120_000_123)
	id := domain.NewID(now)
	if other := domain.NewID(now); id == other {
		t.Error("two ids of one moment are equal")
	}
	if later := domain.NewID(now.Add(time.Millisecond)); later.Prefixed("x") <= id.Prefixed("x") {
		t.Error("ids do not sort by time")
	}
	byUUID, err := domain.ParseUUID(strings.ToUpper(id.String()))
	if err != nil || byUUID != id {
		t.Errorf("%s came back as %s, %v", id, byUUID, err)
	}
	text := id.Prefixed(domain.PrefixInstance)
	if back, err := domain.ParsePrefixed(domain.PrefixInstance, text); err != nil || back != id {
		t.Errorf("%s came back as %s, %v", text, back, err)
	}
	if id[6]>>4 != 7 || id[8]>>6 != 2 {
		t.Errorf("%s is no UUIDv7", id)
	}
}

// The specification's own vector: the TypeID of a UUID.
func TestID_TypeIDVector(t *testing.T) {
	t.Parallel()
	id, err := domain.ParseUUID("01890a5d-ac96-774b-bcce-b302099a8057")
	if err != nil {
		t.Fatal(err)
	}
	if got := id.Prefixed("prefix"); got != "prefix_01h455vb4pex5vsknk084sn02q" {
		t.Errorf("got %s", got)
	}
}

func FuzzParsePrefixed(f *testing.F) {
	for _, text := range []string{"inst_01h455vb4pex5vsknk084sn02q", "inst_81h455vb4pex5vsknk084sn02q", "inst_", "", "INST_01H455VB4PEX5VSKNK084SN02Q"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, err := domain.ParsePrefixed(domain.PrefixInstance, text)
		if err == nil && id.Prefixed(domain.PrefixInstance) != text {
			t.Errorf("%q has a second spelling %q", text, id.Prefixed(domain.PrefixInstance))
		}
	})
}

func TestNames_RoundTrip(t *testing.T) {
	t.Parallel()
	scopes, unknown := domain.ParseScopes(domain.AllScopes.Names())
	if scopes != domain.AllScopes || unknown != "" || len(domain.ScopeNames()) != 10 {
		t.Errorf("scopes %v, unknown %q", scopes, unknown)
	}
	events, unknown := domain.ParseEvents(domain.AllEvents.Names())
	if events != domain.AllEvents || unknown != "" || len(domain.AllEvents.Names()) != 8 {
		t.Errorf("events %v, unknown %q", events, unknown)
	}
	if _, unknown = domain.ParseScopes([]string{"instances:read", "Instances:read"}); unknown != "Instances:read" {
		t.Errorf("unknown %q", unknown)
	}
	if diff := cmp.Diff([]string{}, domain.EventSet(0).Names()); diff != "" {
		t.Error(diff)
	}
	reader := domain.Principal{Scopes: domain.ScopeInstancesRead}
	if reader.Require(domain.ScopeInstancesRead) != nil || reader.Require(domain.ScopeInstancesRead|domain.ScopeKeysWrite) == nil {
		t.Error("Require does not ask for every scope")
	}
	for want, p := range map[string]domain.Principal{
		"This key lacks the scope keys:write. Use a key that has it, or create one with it.": {KeyID: domain.ID{1}},
		"This token lacks the scope keys:write. Use a token or a key that has it.":           {KeyID: domain.ID{1}, TokenID: "jti"},
	} {
		if e, ok := errors.AsType[*domain.Error](p.Require(domain.ScopeKeysWrite)); !ok || e.Message != want {
			t.Errorf("refused with %v, want %q", e, want)
		}
	}
}

func TestIsOrigin(t *testing.T) {
	t.Parallel()
	for origin, want := range map[string]bool{
		"https://app.example.com": true, "http://localhost:3000": true,
		"https://app.example.com/": false, "https://App.example.com": false, "app.example.com": false,
		"https://*.example.com": false, "null": false, "": false, "ftp://example.com": false, "https://a@b.com": false,
	} {
		if got := domain.IsOrigin(origin); got != want {
			t.Errorf("%q: %v", origin, got)
		}
	}
}
