package evolution

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"
)

const (
	flushSize    = 32 << 10         // bytes of an answer to collect before they are sent
	readPatience = 30 * time.Second // how long a client may take to read as many
)

// list writes an answer that is an array, holding only a part of it. Nothing is sent before the first
// part is full, so that what goes wrong until then still gets its own status.
type list struct {
	r     *routes
	c     echo.Context
	conn  *http.ResponseController
	buf   *bytes.Buffer
	enc   *json.Encoder
	items int
}

func (r *routes) newList(c echo.Context) *list {
	buf, ok := r.buffers.Get().(*bytes.Buffer)
	if !ok {
		buf = new(bytes.Buffer)
		buf.Grow(flushSize + flushSize/8) // the item that fills it reaches beyond
	}
	buf.Reset()
	buf.WriteByte('[')
	l := &list{r: r, c: c, conn: http.NewResponseController(c.Response()), buf: buf, enc: json.NewEncoder(buf)}
	l.enc.SetEscapeHTML(false)
	return l
}

// release gives the buffer back, unless a huge item has blown it up.
func (l *list) release() {
	if l.buf.Cap() <= 4*flushSize {
		l.r.buffers.Put(l.buf)
	}
}

var (
	errEnough = errors.New("the page is full")
	errGone   = fmt.Errorf("the client hung up: %w", context.Canceled)
)

// add appends one item, and sends what has come together when that is enough. It returns errEnough
// after the last of limit items, and errGone when nobody is there to read them. 0 is no limit.
func (l *list) add(item instance, limit int) error {
	if l.c.Request().Context().Err() != nil {
		return errGone
	}
	if l.items > 0 {
		l.buf.WriteByte(',')
	}
	l.items++
	if err := l.enc.Encode(item); err != nil { //nolint:gosec // the token is masked unless the caller may see it
		return err
	}
	l.buf.Truncate(l.buf.Len() - 1) // the encoder ends each value with a line break
	switch {
	case l.items == limit:
		return errEnough
	case l.buf.Len() < flushSize:
		return nil
	}
	return l.flush()
}

// finish ends the array and sends the rest. A HEAD request gets the headers only.
func (l *list) finish() error {
	if l.c.Request().Method == http.MethodHead {
		l.writeHeader()
		return nil
	}
	l.buf.WriteByte(']')
	h := l.c.Response().Header()
	if !l.c.Response().Committed {
		h.Set(echo.HeaderContentLength, strconv.Itoa(l.buf.Len()))
	}
	if err := l.flush(); err != nil {
		return err
	}
	// The connection may serve another request, long after.
	_ = l.conn.SetWriteDeadline(time.Time{})
	return nil
}

func (l *list) flush() error {
	res := l.c.Response()
	if !res.Committed {
		l.writeHeader()
	}
	// A writer that knows no deadlines (a test's recorder) does not block either.
	_ = l.conn.SetWriteDeadline(time.Now().Add(readPatience))
	_, err := res.Write(l.buf.Bytes())
	l.buf.Reset()
	if err != nil {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	return nil
}

func (l *list) writeHeader() {
	h := l.c.Response().Header()
	h.Set(echo.HeaderContentType, echo.MIMEApplicationJSON)
	h.Set(echo.HeaderCacheControl, "no-store") // it may hold tokens
	l.c.Response().WriteHeader(http.StatusOK)
}

// fail returns err for an answer with its own status. When a part of the list is sent already it
// breaks the connection instead, so that no client takes the part for the whole.
func (l *list) fail(err error) error {
	if !l.c.Response().Committed {
		return err
	}
	if !errors.Is(err, errGone) {
		l.r.failed(l.c, err)
	}
	panic(http.ErrAbortHandler) //nolint:forbidigo // the only way to end an answer without completing it
}
