package api

import (
	"context"
	"io"
	"time"
)

// SetSleep replaces how c waits between tries.
func SetSleep(c *Client, sleep func(context.Context, time.Duration) error) { c.sleep = sleep }

// Backoff is the wait before the retry after the given try.
func Backoff(try int) time.Duration { return backoff(try) }

// Messages takes a stream of Server-Sent Events apart: the data of each message, the
// id that it ends with, and why it ended.
func Messages(r io.Reader, lastID string) (data []string, id string, err error) {
	m := newMessageReader(r, lastID)
	for {
		message, err := m.next()
		if err != nil {
			return data, m.id, err
		}
		data = append(data, string(message))
	}
}

// The ways in which connections end.
var (
	ErrStreamEnded = errStreamEnded
	ErrNoStream    = errNoStream
	ErrSilent      = errSilent
)
