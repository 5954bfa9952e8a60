package session

import "sync"

// mailbox holds what a keeper has to do, in order. Posting never blocks.
type mailbox struct {
	ready chan struct{}

	mu    sync.Mutex
	tasks []func()
}

func newMailbox() *mailbox { return &mailbox{ready: make(chan struct{}, 1)} }

func (b *mailbox) post(task func()) {
	b.mu.Lock()
	b.tasks = append(b.tasks, task)
	b.mu.Unlock()
	signal(b.ready)
}

// take returns what has been posted.
func (b *mailbox) take() []func() {
	b.mu.Lock()
	defer b.mu.Unlock()
	tasks := b.tasks
	b.tasks = nil
	return tasks
}
