package sessions

import (
	"context"
	"errors"
	"net/http"
	"runtime/pprof"
	"strconv"

	"github.com/pombal-api/pombal/bench/internal/child"
)

// keeper keeps sessions connected.
type keeper interface {
	// run connects all sessions and keeps them connected until ctx ends.
	run(ctx context.Context) error
	close() error
}

// Keep is a process that keeps sessions, until ctx ends. It opens its databases, notes what it uses so far, and
// then connects everything.
func Keep(ctx context.Context, s Script) (err error) {
	r := newRoll()
	open := openPombal
	if s.Floor {
		open = openFloor
	}
	k, err := open(ctx, s, r)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, k.close()) }()
	base, err := figures(true)
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	ran := make(chan error, 1)
	go func() { ran <- k.run(running) }() // waited for below
	err = child.Serve(ctx, keepControl(r, base))
	stop()
	return errors.Join(err, <-ran)
}

// keepControl is how the benchmark asks a process that keeps sessions.
//
//	GET  /base                what the process used before it connected anything
//	GET  /figures             what it uses; ?collect=1 after everything that is free has been returned
//	POST /clear               count only who connects from now on
//	GET  /await?n=1000        answers when so many are connected
//	GET  /profile?of=heap     a profile of the Go runtime
func keepControl(r *roll, base Figures) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /base", func(w http.ResponseWriter, _ *http.Request) { child.Answer(w, base) })
	mux.HandleFunc("GET /figures", func(w http.ResponseWriter, req *http.Request) {
		f, err := figures(req.FormValue("collect") != "")
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		child.Answer(w, f)
	})
	mux.HandleFunc("POST /clear", func(w http.ResponseWriter, _ *http.Request) {
		r.clear()
		child.Answer(w, nil)
	})
	mux.HandleFunc("GET /await", func(w http.ResponseWriter, req *http.Request) {
		n, err := strconv.Atoi(req.FormValue("n"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		child.Answer(w, r.await(req.Context(), n))
	})
	mux.HandleFunc("GET /profile", func(w http.ResponseWriter, req *http.Request) {
		p := pprof.Lookup(req.FormValue("of"))
		if p == nil {
			http.Error(w, "there is no such profile", http.StatusNotFound)
			return
		}
		_ = p.WriteTo(w, 0) // a client that has gone needs no answer
	})
	return mux
}
