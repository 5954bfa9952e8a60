package evolution_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pombal-api/pombal/internal/domain"
)

func at(second int) time.Time { return time.Date(2024, 1, 15, 10, 30, second, 0, time.UTC) }

// four is an account with four instances, two of which share a name.
func four() *account {
	return some(
		domain.Instance{ID: domain.ID{15: 0x0a}, Name: "sales", Phone: "5511999990001", CreatedAt: at(1)},
		domain.Instance{ID: domain.ID{15: 0x0b}, Name: "Sales", Phone: "5511999990002", CreatedAt: at(2)},
		domain.Instance{ID: domain.ID{15: 0x0c}, Name: "twin", Phone: "5511999990003", CreatedAt: at(3)},
		domain.Instance{ID: domain.ID{15: 0x0d}, Name: "twin", CreatedAt: at(4)},
	)
}

const (
	idA = "00000000-0000-0000-0000-00000000000a"
	idB = "00000000-0000-0000-0000-00000000000b"
	idC = "00000000-0000-0000-0000-00000000000c"
	idD = "00000000-0000-0000-0000-00000000000d"
)

func TestFetchInstances_Filters(t *testing.T) {
	t.Parallel()
	all, none := []string{idA, idB, idC, idD}, []string{}
	tests := []struct {
		query string
		want  []string
	}{
		{"", all},
		{"?", all},
		{"?instanceName=&instanceId=&number=", all},
		{"?instanceName=sales", []string{idA}},
		{"?instanceName=Sales", []string{idB}},
		{"?instanceName=twin", []string{idC, idD}},
		{"?instanceName=sale", none},
		{"?instanceName=%20sales", none},
		{"?instanceId=" + idB, []string{idB}},
		{"?instanceId=" + strings.ToUpper(idB), []string{idB}},
		{"?instanceId=00000000-0000-0000-0000-0000000000ff", none},
		{"?instanceId=inst_0000000000e000000000000000", none},
		{"?instanceId=nonsense", none},
		{"?number=5511999990003", []string{idC}},
		{"?number=%2B5511999990003", []string{idC}},
		{"?number=+5511999990003", []string{idC}},
		{"?number=5511999990003@s.whatsapp.net", []string{idC}},
		{"?number=551199999000", none},
		{"?number=(55)11999990003", none},
		{"?number=%2B", none},
		{"?number=" + strings.Repeat("9", 100), none},
		{"?instanceName=" + strings.Repeat("%F0%9F%95%8A", 100), none},

		// AND
		{"?instanceName=twin&number=5511999990003", []string{idC}},
		{"?instanceName=twin&instanceId=" + idD, []string{idD}},
		{"?instanceName=twin&instanceId=" + idA, none},
		{"?instanceName=twin&instanceId=" + idC + "&number=5511999990003", []string{idC}},
		{"?instanceName=twin&instanceId=nonsense", none},

		// repeated: all must hold
		{"?instanceName=twin&instanceName=twin", []string{idC, idD}},
		{"?instanceName=&instanceName=sales", []string{idA}},
		{"?instanceName=sales&instanceName=Sales", none},
		{"?instanceId=" + idA + "&instanceId=" + idB, none},

		// what no column holds
		{"?instanceName=a%00b", none},
		{"?instanceName=%ff%fe", none},
		{"?number=5511%00", none},
		{"?instanceId=%00", none},

		// unknown: ignored
		{"?token=x&apikey=y&page=2&instancename=sales", all},

		// pages
		{"?limit=2", []string{idA, idB}},
		{"?limit=2&offset=0", []string{idA, idB}},
		{"?limit=2&offset=2", []string{idC, idD}},
		{"?limit=1000&offset=3", []string{idD}},
		{"?limit=2&offset=4", none},
		{"?limit=2&offset=9007199254740991", none},
		{"?offset=1", []string{idB, idC, idD}},
		{"?instanceName=twin&limit=1&offset=1", []string{idD}},
	}
	base := newWorld(four()).serve(t)
	for _, tt := range tests {
		t.Run(tt.query, func(t *testing.T) {
			t.Parallel()
			got := []string{}
			for _, e := range get(t, base, tt.query).entries(t) {
				got = append(got, e["instanceId"].(string))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestFetchInstances_BadInput(t *testing.T) {
	t.Parallel()
	base := newWorld(four()).serve(t)
	for _, query := range []string{
		"limit=0", "limit=1001", "limit=-1", "limit=1e3", "limit=50.5", "limit=abc", "limit=%2B5", "limit=+5", "limit=99999999999999999999",
		"limit=1&limit=2", "limit=%00", "limit=", "limit=1&limit=1",
		"offset=", "offset=-1", "offset=9007199254740992", "offset=9223372036854775808", "offset=x", "offset=1&offset=2", "limit=10&offset=%20",
		"instanceName=%zz", "instanceName=50%", "a;b=c", "%",
		"instanceName=" + strings.Repeat("x", 101), "instanceId=" + strings.Repeat("x", 1<<16), "number=&number=" + strings.Repeat("9", 101),
	} {
		t.Run(query, func(t *testing.T) {
			t.Parallel()
			message := get(t, base, "?"+query).wantError(t, http.StatusBadRequest)
			if !strings.HasSuffix(message, ".") {
				t.Errorf("the message is not a sentence: %q", message)
			}
			if name, _, ok := strings.Cut(query, "="); ok && slices.Contains([]string{"limit", "offset"}, name) &&
				!strings.Contains(message, "limit") && !strings.Contains(message, "offset") {
				t.Errorf("the message does not say which parameter: %q", message)
			}
		})
	}
}

func TestFetchInstances_WhoSeesWhat(t *testing.T) {
	t.Parallel()
	w := newWorld(four())
	other := domain.ID{15: 2}
	w.accounts[other] = some(domain.Instance{ID: domain.ID{15: 0xee}, Name: "theirs", Phone: "4915112345678"})
	own := four().at(2)
	w.keys["pmb_other"] = credential{account: other, scopes: domain.AllScopes}
	w.keys["pmb_two"] = credential{account: theAccount, scopes: domain.ScopeInstancesRead, instances: []domain.ID{{15: 0x0a}, {15: 0x0d}}}
	w.keys["pmb_none"] = credential{account: theAccount, scopes: domain.ScopeInstancesRead, instances: []domain.ID{}}
	w.keys["token-of-instance-c"] = credential{account: theAccount, scopes: domain.ScopeInstancesRead, instances: []domain.ID{own.ID}, own: &own}
	base := w.serve(t)
	tests := []struct {
		key, query string
		want       []string
	}{
		{"pmb_other", "", []string{"theirs"}},
		{"pmb_other", "?instanceName=sales", []string{}},
		{"pmb_other", "?instanceId=" + idA, []string{}},
		{"pmb_other", "?number=5511999990001", []string{}},
		{theKey, "?instanceName=theirs", []string{}},
		{theKey, "?instanceId=00000000-0000-0000-0000-0000000000ee", []string{}},
		{"pmb_two", "", []string{"sales", "twin"}},
		{"pmb_two", "?instanceId=" + idA, []string{"sales"}},
		{"pmb_two", "?instanceId=" + idB, []string{}},
		{"pmb_two", "?instanceName=Sales", []string{}},
		{"pmb_none", "", []string{}},
		{"token-of-instance-c", "", []string{"twin"}},
		{"token-of-instance-c", "?instanceId=" + idC, []string{"twin"}},
		{"token-of-instance-c", "?instanceId=" + idD, []string{}},
		{"token-of-instance-c", "?instanceName=sales", []string{}},
		{"token-of-instance-c", "?number=5511999990001", []string{}},
	}
	for _, tt := range tests {
		t.Run(tt.key+tt.query, func(t *testing.T) {
			t.Parallel()
			got, err := send(t, base+"/instance/fetchInstances"+tt.query, "apikey: "+tt.key)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got.names(t)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
