package load

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

var (
	statusOK      = []byte("HTTP/1.1 200 ")
	endOfHead     = []byte("\r\n\r\n")
	contentLength = []byte("\r\nContent-Length: ") // as every server in Go spells it
)

// maxHead bounds what an answer's head may be.
const maxHead = 16 << 10

// answer follows one answer as its bytes come in.
type answer struct {
	head []byte // what has come of the head, while that is incomplete
	left int    // bytes of the body still to come
	body int    // length of the body
}

// feed takes what has come, and reports whether the answer is complete.
func (a *answer) feed(b []byte) (done bool, err error) {
	if a.left == 0 { // in the head
		if len(a.head) > 0 {
			a.head = append(a.head, b...)
			b = a.head
		}
		end := bytes.Index(b, endOfHead)
		if end < 0 {
			return false, a.keep(b)
		}
		if a.body, err = bodyLength(b[:end+2]); err != nil {
			return false, err
		}
		a.left, a.head = a.body, a.head[:0]
		b = b[end+len(endOfHead):]
	}
	return a.skip(len(b))
}

// skip takes n bytes of the body that nobody looks at.
func (a *answer) skip(n int) (done bool, err error) {
	a.left -= n
	if a.left < 0 {
		return false, fmt.Errorf("%d bytes came after the end of the answer", -a.left)
	}
	return a.left == 0, nil
}

// keep stores an incomplete head until more comes.
func (a *answer) keep(b []byte) error {
	if len(b) > maxHead {
		return errors.New("the answer's head has no end")
	}
	if len(a.head) == 0 {
		a.head = append(a.head, b...)
	}
	return nil
}

// bodyLength reads a head.
func bodyLength(head []byte) (int, error) {
	if !bytes.HasPrefix(head, statusOK) {
		return 0, fmt.Errorf("the server answered %q", head[:min(len(head), 300)])
	}
	at := bytes.Index(head, contentLength)
	if at < 0 {
		return 0, errors.New("the answer has no Content-Length")
	}
	digits, _, _ := bytes.Cut(head[at+len(contentLength):], []byte("\r\n"))
	n, err := strconv.Atoi(string(digits))
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("the answer's Content-Length is %q", digits)
	}
	return n, nil
}
