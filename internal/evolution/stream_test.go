package evolution_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

// open starts a list call and returns its body unread.
func open(ctx context.Context, t *testing.T, base string) io.ReadCloser {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/instance/fetchInstances", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("apikey", theKey)
	res, err := client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		t.Errorf("status %d", res.StatusCode)
	}
	return res.Body
}

// heap returns the bytes that are in use once the garbage is gone. The server makes new garbage until
// the buffers of the connection are full, so the least of some looks counts.
func heap() uint64 {
	least := uint64(math.MaxUint64)
	for range 3 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		least = min(least, m.HeapAlloc)
	}
	return least
}

func TestFetchInstances_FlatMemory(t *testing.T) { // not parallel: it measures the heap
	const size, tolerated = 200_000, 4 << 20
	base := newWorld(many(size)).serve(t)
	body := open(t.Context(), t, base)
	defer func() { _ = body.Close() }()
	dec := json.NewDecoder(body)
	if _, err := dec.Token(); err != nil {
		t.Fatal(err)
	}
	before := heap()
	n := 0
	for ; dec.More(); n++ {
		var entry struct {
			InstanceName string `json:"instanceName"`
		}
		if err := dec.Decode(&entry); err != nil || entry.InstanceName == "" {
			t.Fatalf("entry %d: %+v %v", n, entry, err)
		}
		if n%20_000 == 0 {
			if now := heap(); now > before+tolerated {
				t.Fatalf("the heap has grown by %d bytes after %d instances", now-before, n)
			}
		}
	}
	if _, err := dec.Token(); err != nil || n != size {
		t.Errorf("%d instances, want %d; the end: %v", n, size, err)
	}
}

func TestFetchInstances_HangUpEndsTheStream(t *testing.T) {
	t.Parallel()
	a := many(1 << 30)
	at, last := a.at, 0
	a.at = func(i int) domain.Instance {
		last = i
		return at(i)
	}
	released := make(chan int, 1)
	w := newWorld(&finishing{account: a, done: func() { released <- last }})
	base := w.serve(t)

	ctx, hangUp := context.WithCancel(t.Context())
	body := open(ctx, t, base)
	if _, err := io.CopyN(io.Discard, body, 1<<20); err != nil {
		t.Fatal(err)
	}
	hangUp()
	_ = body.Close()
	select {
	case n := <-released:
		if n == a.size-1 {
			t.Error("the stream went on to its end")
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the stream goes on although nobody reads it")
	}
	if f := w.failures(); len(f) != 0 {
		t.Errorf("a hang-up was reported as our failure: %v", f)
	}
}

func TestFetchInstances_ABrokenStreamIsNoList(t *testing.T) {
	t.Parallel()
	a := many(50_000)
	a.err = func(i int) error {
		if i < 10_000 {
			return nil
		}
		return domain.Unavailable(errors.New("connection reset"))
	}
	w := newWorld(a)
	got, err := send(t, w.serve(t)+"/instance/fetchInstances", "apikey: "+theKey)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error %v, want an unexpected end", err)
	}
	if json.Valid([]byte(got.body)) || len(got.body) < 1<<20 {
		t.Errorf("got %d bytes; they must be a part, and not look like the whole", len(got.body))
	}
	if n := len(w.failures()); n != 1 {
		t.Errorf("%d failures reported, want 1", n)
	}
}
