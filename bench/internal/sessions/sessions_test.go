package sessions

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pombal-api/pombal/bench/internal/child"
)

func TestPeak(t *testing.T) {
	t.Parallel()
	start := time.Unix(1_000, 900_000_000) // the windows are not those of the clock
	for _, c := range []struct {
		millis []int
		want   int
	}{
		{nil, 0},
		{[]int{0}, 1},
		{[]int{0, 400, 999}, 3},
		{[]int{0, 400, 1_000}, 2},
		{[]int{0, 900, 1_500, 1_600, 1_700, 3_000}, 4},
	} {
		var at []time.Time
		for _, ms := range c.millis {
			at = append(at, start.Add(time.Duration(ms)*time.Millisecond))
		}
		if got := peak(at, time.Second); got != c.want {
			t.Errorf("%v: %d within a second, not %d", c.millis, got, c.want)
		}
	}
}

func TestRoll(t *testing.T) {
	t.Parallel()
	r := newRoll()
	r.set("a", true)
	r.clear()
	r.set("b", true)
	r.set("b", true)
	r.set("b", false)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if n := r.await(over, 1); n != 0 {
		t.Errorf("%d are connected", n)
	}
	waited := make(chan int)
	go func() { waited <- r.await(t.Context(), 2) }()
	r.set("a", true)
	r.set("c", true)
	if n := <-waited; n != 2 {
		t.Errorf("%d are connected, not 2", n)
	}
}

func TestFigures(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("it reads /proc")
	}
	server := httptest.NewServer(keepControl(newRoll(), Figures{RSS: 1}))
	defer server.Close()
	remote := child.NewRemote(strings.TrimPrefix(server.URL, "http://"))
	var base, now Figures
	if err := remote.Get(t.Context(), "/base", &base); err != nil || base.RSS != 1 {
		t.Errorf("the base is %+v: %v", base, err)
	}
	if err := remote.Get(t.Context(), "/figures?collect=1", &now); err != nil {
		t.Fatal(err)
	}
	if now.RSS < 1<<20 || now.Anonymous >= now.RSS || now.Heap < 1<<10 || now.Stacks == 0 || now.Goroutines < 2 || now.CPU <= 0 {
		t.Errorf("%+v", now)
	}
	var heap []byte
	if err := remote.Get(t.Context(), "/profile?of=heap", &heap); err != nil || len(heap) == 0 {
		t.Errorf("a heap profile of %d bytes: %v", len(heap), err)
	}
	if err := remote.Get(t.Context(), "/profile?of=nothing", &heap); err == nil || !strings.Contains(err.Error(), "no such profile") {
		t.Errorf("a profile of nothing: %v", err)
	}
}

func TestHost(t *testing.T) {
	t.Parallel()
	d := &door{}
	d.at = []time.Time{time.Now(), time.Now()}
	w := httptest.NewRecorder()
	child.Answer(w, DoorInfo{Addr: "a:1", Dials: d.dials()})
	var got DoorInfo
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got.Dials.Total != 2 || got.Dials.PeakPerSecond != 2 || w.Code != http.StatusOK {
		t.Errorf("%+v: %v", got, err)
	}
	d.forget()
	if left := d.dials(); left != (Dials{}) {
		t.Errorf("%+v after forgetting", left)
	}
}
