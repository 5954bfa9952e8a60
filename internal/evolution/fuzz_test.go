package evolution

import (
	"net/url"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/pombal-api/pombal/internal/domain"
)

// FuzzParseQuery holds what must be true of any query string: no filter is ever dropped, none reaches
// beyond what the caller may see, and nothing is passed on that a database refuses.
func FuzzParseQuery(f *testing.F) {
	for _, seed := range []string{
		"", "instanceName=a", "instanceName=a&instanceName=b", "instanceId=00000000-0000-0000-0000-00000000000a",
		"number=%2B5511@s.whatsapp.net", "limit=5&offset=9", "instanceName=%ff%00", "a;b", "%", "limit=-1",
	} {
		f.Add(seed)
	}
	mine := domain.ID{15: 0x0a}
	who := &domain.Principal{Instances: []domain.ID{mine}}
	f.Fuzz(func(t *testing.T, raw string) {
		q, err := parseQuery(raw, who)
		if err != nil {
			if domain.CodeOf(err) != domain.CodeInvalidParameters {
				t.Errorf("error %v", err)
			}
			return
		}
		if q.none {
			return
		}
		if !slices.Equal(q.filter.IDs, []domain.ID{mine}) {
			t.Errorf("reaches beyond the caller's instances: %v", q.filter.IDs)
		}
		if !utf8.ValidString(q.filter.Name) || q.limit < 0 || q.limit > maxLimit || q.offset < 0 {
			t.Errorf("passes on %+v", q)
		}
		values, _ := url.ParseQuery(raw) // parseQuery has refused what this refuses
		for _, name := range values["instanceName"] {
			if name != "" && name != q.filter.Name {
				t.Errorf("the name %q is dropped", name)
			}
		}
		if slices.ContainsFunc(values["number"], func(n string) bool { return n != "" }) && q.filter.Phone == "" {
			t.Error("the number is dropped")
		}
	})
}
