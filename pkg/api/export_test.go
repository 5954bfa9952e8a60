package api

import (
	"context"
	"time"
)

// SetSleep replaces how c waits between tries.
func SetSleep(c *Client, sleep func(context.Context, time.Duration) error) { c.sleep = sleep }

// Backoff is the wait before the retry after the given try.
func Backoff(try int) time.Duration { return backoff(try) }
