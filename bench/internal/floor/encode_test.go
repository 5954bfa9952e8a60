package floor

import (
	"encoding/binary"
	"testing"
	"time"
)

func TestMoment(t *testing.T) {
	t.Parallel()
	for _, want := range []string{
		"1970-01-01T00:00:00.001Z", "2000-02-29T23:59:59.999Z", "2024-12-31T12:34:56.789Z", "2100-03-01T00:00:00.000Z",
	} {
		at, err := time.Parse(time.RFC3339Nano, want)
		if err != nil {
			t.Fatal(err)
		}
		raw := binary.BigEndian.AppendUint64(nil, uint64((at.UnixMilli()-epoch)*1000))
		if got := string(moment(nil, raw)); got != `"`+want+`"` {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if got := string(moment(nil, nil)); got != "null" {
		t.Errorf("no time is %s", got)
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"": `""`, "São Paulo": `"São Paulo"`, `a "b" \`: `"a \"b\" \\"`, "x\ny<": `"x\ny<"`, "\u2028": `"\u2028"`,
		"eight by eight, \u2029 and \x00": `"eight by eight, \u2029 and \u0000"`, "não, \"sim\" às 8": `"não, \"sim\" às 8"`,
	} {
		if got := string(text(nil, []byte(in))); got != want {
			t.Errorf("%q is %s, want %s", in, got, want)
		}
	}
}
