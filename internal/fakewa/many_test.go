package fakewa_test

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"testing"

	"go.mau.fi/whatsmeow/types/events"
)

// TestManyConnections keeps many clients connected at once, cuts them all, and has them all back.
func TestManyConnections(t *testing.T) {
	n := 200
	if os.Getenv("POMBAL_SOAK") != "" {
		n = 1000
	}
	goroutines, before := runtime.NumGoroutine(), heap()
	h := newHost(t)
	clients := make([]*client, n)
	inParallel(n, func(i int) {
		a := h.phone(t, fmt.Sprintf("55119%08d", i+1))
		clients[i] = h.newClient(t, newMemoryDevice())
		clients[i].pair(t, a)
	})
	if err := h.WaitForActive(soon(t), "", n); err != nil {
		t.Fatal(err)
	}
	for _, c := range clients {
		settled(t, h, c)
	}
	t.Logf("%d connections: %d KB each, clients included", n, (heap()-before)/n/1024)
	h.ResetStats()
	if cut := h.Faults().Cut(""); cut != n {
		t.Errorf("%d connections cut, want %d", cut, n)
	}
	for _, c := range clients {
		await[*events.Connected](t, c, nil)
	}
	if err := h.WaitForActive(soon(t), "", n); err != nil {
		t.Fatal(err)
	}
	stats := h.Stats()
	if stats.Logins != n || stats.Dials != n {
		t.Errorf("%d logins and %d dials, want %d", stats.Logins, stats.Dials, n)
	}
	// 1 reader here; at the client 4, and 1 that waits for more history.
	if perConnection := float64(runtime.NumGoroutine()-goroutines) / float64(n); perConnection > 7 {
		t.Errorf("%.1f goroutines per connection", perConnection)
	}
}

// inParallel calls do for 0 to n-1, a few at a time.
func inParallel(n int, do func(i int)) {
	var group sync.WaitGroup
	slots := make(chan struct{}, 8)
	for i := range n {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			do(i)
		})
	}
	group.Wait()
}

// heap returns the bytes in use, stacks included.
func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapInuse + m.StackInuse)
}
