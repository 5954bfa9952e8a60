package api

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// messageReader takes a stream of Server-Sent Events apart, as the HTML standard
// says.
type messageReader struct {
	lines *bufio.Scanner
	begun bool   // the first line was read
	heard string // the id of the message that is being read, or else of the one before
	id    string // the id of the latest complete message
}

// newMessageReader reads messages from r. lastID is the id of the message before
// them, "" for none.
func newMessageReader(r io.Reader, lastID string) *messageReader {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 4<<10), maxAnswer)
	lines.Split(splitLines())
	return &messageReader{lines: lines, heard: lastID, id: lastID}
}

// next returns the data of the next message that has any. A message without data
// may still move m.id, also when next returns an error. What comes before the end
// of the stream without being complete is dropped.
func (m *messageReader) next() ([]byte, error) {
	var data []byte
	for m.lines.Scan() {
		line := m.lines.Bytes()
		if !m.begun {
			m.begun = true
			line = bytes.TrimPrefix(line, []byte("\ufeff"))
		}
		if len(line) == 0 {
			m.id = m.heard
			if len(data) > 0 {
				return data[:len(data)-1], nil
			}
			continue
		}
		name, value, _ := bytes.Cut(line, []byte(":")) // a comment has no name
		value = bytes.TrimPrefix(value, []byte(" "))
		switch {
		case string(name) == "data":
			data = append(append(data, value...), '\n')
		case string(name) == "id" && printable(string(value)): // others cannot be sent back
			m.heard = string(value)
		}
		if len(data) > maxAnswer {
			return nil, errMessageTooLong
		}
	}
	switch err := m.lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, errMessageTooLong
	case err != nil:
		return nil, fmt.Errorf("api: the stream broke off: %w", err)
	}
	return nil, errStreamEnded
}

// errMessageTooLong is not worth a retry: the same message would come again.
var errMessageTooLong = fmt.Errorf("%w: one is larger than %d bytes", errNoStream, maxAnswer)

// splitLines returns a bufio.SplitFunc for lines that end with CR LF, LF or CR. It
// waits for nothing behind a CR, where the end of a message may be. The last line
// counts only when it is complete.
func splitLines() bufio.SplitFunc {
	afterCR := false
	return func(data []byte, _ bool) (advance int, token []byte, err error) {
		skipped := 0
		if afterCR && len(data) > 0 {
			afterCR = false
			if data[0] == '\n' {
				skipped = 1
			}
		}
		i := bytes.IndexAny(data[skipped:], "\r\n")
		if i < 0 {
			return skipped, nil, nil
		}
		end := skipped + i
		afterCR = data[end] == '\r'
		return end + 1, data[skipped:end], nil
	}
}
