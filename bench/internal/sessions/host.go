package sessions

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/pombal-api/pombal/bench/internal/child"
	"github.com/pombal-api/pombal/internal/fakewa"
)

// Host is the process of the fake WhatsApp, until ctx ends. It announces the address of its control API, which
// tells the one for clients.
func Host(ctx context.Context) error {
	srv, err := fakewa.New(fakewa.Config{Seed: []byte(seed)})
	if err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	door := &door{Listener: l}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(door) }() // ends by Close
	mux := http.NewServeMux()
	mux.Handle("/", srv.Control())
	mux.HandleFunc("GET /door", func(w http.ResponseWriter, _ *http.Request) {
		child.Answer(w, DoorInfo{Addr: l.Addr().String(), Dials: door.dials()})
	})
	mux.HandleFunc("DELETE /door", func(w http.ResponseWriter, _ *http.Request) {
		door.forget()
		child.Answer(w, nil)
	})
	err = child.Serve(ctx, mux)
	return errors.Join(err, srv.Close(), <-served)
}

// DoorInfo is what the fake WhatsApp knows of those who dial it.
type DoorInfo struct {
	Addr  string `json:"addr"`
	Dials Dials  `json:"dials"` // since they were last forgotten
}

// Dials says how many connections were opened, and how many at most within any one second.
type Dials struct {
	Total         int `json:"total"`
	PeakPerSecond int `json:"peakPerSecond"`
}

// door is a listener that notes when it was dialled.
type door struct {
	net.Listener

	mu sync.Mutex
	at []time.Time
}

// Accept returns the next connection.
func (d *door) Accept() (net.Conn, error) {
	conn, err := d.Listener.Accept()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = append(d.at, time.Now())
	return conn, err
}

func (d *door) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = nil
}

func (d *door) dials() Dials {
	d.mu.Lock()
	defer d.mu.Unlock()
	return Dials{Total: len(d.at), PeakPerSecond: peak(d.at, time.Second)}
}

// peak returns how many of the moments, in order, lie within a window at most.
func peak(at []time.Time, window time.Duration) int {
	most, first := 0, 0
	for last := range at {
		for at[last].Sub(at[first]) >= window {
			first++
		}
		most = max(most, last-first+1)
	}
	return most
}
