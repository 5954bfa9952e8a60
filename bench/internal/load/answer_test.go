package load

import (
	"strings"
	"testing"
)

func TestAnAnswerMayComeInAnyPieces(t *testing.T) {
	t.Parallel()
	text := "HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 5\r\n\r\nhello"
	for size := 1; size <= len(text); size++ {
		var a answer
		for again := range 2 { // on one connection
			for at := 0; at < len(text); at += size {
				piece := text[at:min(len(text), at+size)]
				done, err := a.feed([]byte(piece))
				if err != nil {
					t.Fatalf("pieces of %d, answer %d, at %d: %v", size, again, at, err)
				}
				if last := at+size >= len(text); done != last {
					t.Fatalf("pieces of %d, answer %d, at %d: done is %v", size, again, at, done)
				}
			}
			if a.body != 5 {
				t.Fatalf("the body has %d bytes", a.body)
			}
		}
	}
}

func TestBadAnswers(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ text, want string }{
		"other status":    {"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 2\r\n\r\n{}", "429"},
		"no length":       {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "no Content-Length"},
		"no number":       {"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", `"x"`},
		"too much":        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}!", "1 bytes came after"},
		"an endless head": {strings.Repeat("x", maxHead+1), "no end"},
	} {
		var a answer
		if _, err := a.feed([]byte(tc.text)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: the error is %v, not one with %q", name, err, tc.want)
		}
	}
}
