package api_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/pombal-api/pombal/pkg/api"
)

func TestMessages(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		stream string
		data   []string
		id     string
	}{
		{"nothing", "", nil, "0"},
		{"one", "id: 1\nevent: a\ndata: x\n\n", []string{"x"}, "1"},
		{"two", "id: 1\ndata: x\n\nid: 2\ndata: y\n\n", []string{"x", "y"}, "2"},
		{"the last one is cut off", "id: 1\ndata: x\n\nid: 2\ndata: y\n", []string{"x"}, "1"},
		{"cut off within a line", "id: 1\ndata: x\n\nid: 2\nda", []string{"x"}, "1"},
		{"comments", ": connected\n\n:\n:alive\nid: 1\n: in between\ndata: x\n\n: alive\n\n", []string{"x"}, "1"},
		{"CR LF", "id: 1\r\ndata: x\r\n\r\nid: 2\r\ndata: y\r\n\r\n", []string{"x", "y"}, "2"},
		{"CR", "id: 1\rdata: x\r\rid: 2\rdata: y\r\r", []string{"x", "y"}, "2"},
		{"all kinds of lines", "id: 1\r\ndata: x\n\rid: 2\ndata: y\r\n\n", []string{"x", "y"}, "2"},
		{"no space behind the colon", "id:1\ndata:x\n\n", []string{"x"}, "1"},
		{"one space is cut, not two", "data:  x \n\n", []string{" x "}, "0"},
		{"many lines", "data: a\ndata\ndata: b\n\n", []string{"a\n\nb"}, "0"},
		{"empty data", "data:\n\n", []string{""}, "0"},
		{"an id alone moves on", "id: 7\n\n", nil, "7"},
		{"an id holds for what follows", "id: 7\n\ndata: x\n\n", []string{"x"}, "7"},
		{"an id that no header can carry", "id: a\x00b\ndata: x\n\n", []string{"x"}, "0"},
		{"unknown fields", "retry: 5\nfoo: bar\nbaz\ndata: x\n\n", []string{"x"}, "0"},
		{"a byte order mark", "\ufeffdata: x\n\n", []string{"x"}, "0"},
		{"colons in the data", "data: {\"a\":\"b: c\"}\n\n", []string{`{"a":"b: c"}`}, "0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, r := range []io.Reader{strings.NewReader(tt.stream), iotest.OneByteReader(strings.NewReader(tt.stream)), iotest.DataErrReader(strings.NewReader(tt.stream))} {
				data, id, err := api.Messages(r, "0")
				if diff := cmp.Diff(tt.data, data); diff != "" || id != tt.id || !errors.Is(err, api.ErrStreamEnded) {
					t.Errorf("%T: id %q, want %q, error %v (-want +got):\n%s", r, id, tt.id, err, diff)
				}
			}
		})
	}
}

// A message is handed out as soon as its last byte is there, whatever ends its lines.
func TestMessages_WaitForNothing(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"\n", "\r\n", "\r"} {
		stream := "data: x" + end + end[:1]
		r := io.MultiReader(strings.NewReader(stream), iotest.ErrReader(errors.New("asked for more")))
		if data, _, _ := api.Messages(r, ""); len(data) != 1 && end != "\r\n" {
			t.Errorf("%q: no message", end)
		}
	}
}

func TestMessages_Errors(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 1<<20)
	tests := map[string]struct {
		r    io.Reader
		want error
	}{
		"one endless line":  {strings.NewReader("data: " + strings.Repeat(long, 17)), api.ErrNoStream},
		"endless many":      {strings.NewReader(strings.Repeat("data: "+long+"\n", 17)), api.ErrNoStream},
		"broken connection": {io.MultiReader(strings.NewReader("data: x\n\ndata: y\n"), iotest.ErrReader(io.ErrUnexpectedEOF)), io.ErrUnexpectedEOF},
	}
	for name, tt := range tests {
		if _, _, err := api.Messages(tt.r, ""); !errors.Is(err, tt.want) {
			t.Errorf("%s: error %v, want %v", name, err, tt.want)
		}
	}
}
