package app

import (
	"bufio"
	"context"
	"io"
	"sync"
	"time"
)

// A line of log per request, written one by one, costs as much as the request itself does otherwise.
// logBufferSize and logFlushEvery bound how much and how old the lines are that a crash can lose.
const (
	logBufferSize = 64 << 10
	logFlushEvery = 100 * time.Millisecond
)

// logBuffer is a writer that many goroutines share and that reaches its destination in batches.
type logBuffer struct {
	mu sync.Mutex
	w  *bufio.Writer
}

func newLogBuffer(w io.Writer) *logBuffer {
	return &logBuffer{w: bufio.NewWriterSize(w, logBufferSize)}
}

// Write buffers one line.
func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.w.Write(p)
}

// Flush writes out what is buffered.
func (b *logBuffer) Flush() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.w.Flush()
}

// Run flushes regularly until ctx ends, and once more then.
func (b *logBuffer) Run(ctx context.Context) error {
	tick := time.NewTicker(logFlushEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return b.Flush()
		case <-tick.C:
			if err := b.Flush(); err != nil {
				return err
			}
		}
	}
}
