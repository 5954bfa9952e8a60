package httpapi

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pombal-api/pombal/internal/domain"
)

// viewOf is an instance as the store hands it to the list.
func viewOf(in *domain.Instance) *domain.InstanceView {
	return &domain.InstanceView{
		AccountID: in.AccountID, ID: in.ID, Name: []byte(in.Name), ExternalID: bytesOf(in.ExternalID),
		Integration: []byte(in.Integration), Status: []byte(in.Status), Reason: bytesOf(string(in.Reason)),
		Phone: bytesOf(in.Phone), ProfileName: bytesOf(in.ProfileName), ProfilePicURL: bytesOf(in.ProfilePicURL),
		WebhookURL: bytesOf(in.WebhookURL), WebhookEvents: in.WebhookEvents, AutoRead: in.AutoRead, AutoTyping: in.AutoTyping,
		CreatedAt: millisOf(in.CreatedAt), UpdatedAt: millisOf(in.UpdatedAt),
		ConnectedAt: millisOf(in.ConnectedAt), LastSeenAt: millisOf(in.LastSeenAt),
	}
}

func bytesOf(s string) []byte {
	if s == "" {
		return nil
	}
	return []byte(s)
}

func millisOf(t time.Time) int64 {
	if t.IsZero() {
		return domain.NoTime
	}
	return t.UnixMilli()
}

func drawTime(t *rapid.T, label string, optional bool) time.Time {
	if optional && rapid.Bool().Draw(t, label+" unset") {
		return time.Time{}
	}
	first := time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC).UnixMilli()
	last := time.Date(9999, 12, 31, 23, 59, 59, 999_000_000, time.UTC).UnixMilli()
	return time.UnixMilli(rapid.Int64Range(first+1, last).Draw(t, label)).UTC()
}

func drawInstance(t *rapid.T) *domain.Instance {
	text := func(label string) string { return rapid.String().Draw(t, label) }
	return &domain.Instance{
		AccountID: domain.NewID(time.Now()), ID: domain.ID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id")),
		Name: text("name"), ExternalID: text("externalId"), Phone: text("phone"), ProfileName: text("profileName"),
		ProfilePicURL: text("profilePicUrl"), WebhookURL: text("webhookUrl"),
		Integration:   rapid.SampledFrom([]domain.Integration{domain.IntegrationWeb, domain.IntegrationCloud}).Draw(t, "integration"),
		Status:        rapid.SampledFrom(domain.Statuses()).Draw(t, "status"),
		Reason:        rapid.SampledFrom([]domain.ReasonCode{"", domain.ReasonLoggedOut, domain.ReasonNeverConnected, "from_the_future"}).Draw(t, "reason"),
		WebhookEvents: domain.EventSet(rapid.Uint32Range(0, uint32(domain.AllEvents)).Draw(t, "events")),
		AutoRead:      rapid.Bool().Draw(t, "autoRead"), AutoTyping: rapid.Bool().Draw(t, "autoTyping"),
		CreatedAt: drawTime(t, "createdAt", false), UpdatedAt: drawTime(t, "updatedAt", false),
		ConnectedAt: drawTime(t, "connectedAt", true), LastSeenAt: drawTime(t, "lastSeenAt", true),
	}
}

// The hand-written encoder and encoding/json give the same bytes for the same instance.
func TestAppendInstance_EqualsEncodingJSON(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := drawInstance(t)
		withAccount := rapid.Bool().Draw(t, "withAccount")
		presented := presentInstance(in)
		if withAccount {
			presented.AccountID = in.AccountID.Prefixed(domain.PrefixAccount)
		}
		var want bytes.Buffer
		enc := json.NewEncoder(&want)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(presented); err != nil {
			t.Fatal(err)
		}
		view := viewOf(in)
		view.Name = []byte(in.Name) // a name is never null
		got := appendInstance(nil, view, withAccount)
		if diff := cmp.Diff(want.String(), string(got)+"\n"); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestAppendString_EscapesLikeEncodingJSON(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"", "plain", `quote " backslash \ slash /`, "\x00\x01\b\f\n\r\t\x1f\x7f", "<&>", "\u2028\u2029\u2030", "\xff\xfe broken",
		"\xed\xa0\x80 surrogate", "é 日本 😀", "ends \xe2\x80", "\ufffd itself",
	} {
		var want bytes.Buffer
		enc := json.NewEncoder(&want)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(s); err != nil {
			t.Fatal(err)
		}
		if got := string(appendString(nil, []byte(s))) + "\n"; got != want.String() {
			t.Errorf("%q: got %s want %s", s, got, want.String())
		}
	}
}

func FuzzAppendMillis(f *testing.F) {
	for _, ms := range []int64{0, -1, 951_782_400_000, 1_770_120_000_123, -62_135_596_800_000} {
		f.Add(ms)
	}
	f.Fuzz(func(t *testing.T, ms int64) {
		at := time.UnixMilli(ms).UTC()
		if at.Year() < 0 || at.Year() > 9999 {
			return
		}
		want := `"` + at.Format("2006-01-02T15:04:05.000Z") + `"`
		if got := string(appendMillis(nil, "", ms)); got != want {
			t.Errorf("%d: got %s want %s", ms, got, want)
		}
	})
}

func BenchmarkAppendInstance(b *testing.B) {
	view := viewOf(&domain.Instance{
		Name: "Sales WhatsApp", Phone: "5511999999999", ProfileName: "Sales Team", Status: domain.StatusConnected,
		Integration: domain.IntegrationWeb, WebhookURL: "https://myapp.com/webhooks/whatsapp", WebhookEvents: domain.AllEvents,
		CreatedAt: time.Now(), UpdatedAt: time.Now(), ConnectedAt: time.Now(), LastSeenAt: time.Now(),
	})
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		buf = appendInstance(buf[:0], view, false)
	}
}
