package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime/pprof"
	"time"

	"github.com/pombal-api/pombal/bench/internal/child"
	"github.com/pombal-api/pombal/bench/internal/deliveries"
	"github.com/pombal-api/pombal/bench/internal/floor"
	"github.com/pombal-api/pombal/bench/internal/sessions"
	"github.com/pombal-api/pombal/internal/app"
	"github.com/pombal-api/pombal/internal/domain"
)

// Roles are processes of this program: each measured thing has one of its own.
const (
	roleLoad   = "load"   // the load generator
	roleFloor  = "floor"  // the floor
	roleStatic = "static" // the static ceiling
	roleNode   = "node"   // the service itself, in a program that can be profiled

	roleWhatsApp = "whatsapp" // the fake WhatsApp
	roleSessions = "sessions" // what keeps sessions

	roleSink    = "sink"    // the receiver of events
	roleDeliver = "deliver" // what delivers them
)

// script is what a role is told, as JSON in a file. Each role reads its own part.
type script struct {
	Floor   floor.Config      `json:"floor"`
	Bodies  map[string][]byte `json:"bodies"` // by Authorization header
	Node    node              `json:"node"`
	Profile string            `json:"profile"` // file for a CPU profile; "" for none

	Sessions   sessions.Script   `json:"sessions"`
	Deliveries deliveries.Script `json:"deliveries"`
}

// node is the configuration of a service; everything else is at its default.
type node struct {
	DatabaseURL string        `json:"databaseURL"` // "" for SQLite in DataDir
	DataDir     string        `json:"dataDir"`
	Secret      string        `json:"secret"`
	Plans       []domain.Plan `json:"plans"`
}

// play plays a role until ctx ends.
func play(ctx context.Context, role string, args []string) (err error) {
	if len(args) != 1 {
		return errors.New("a role needs its script")
	}
	raw, err := os.ReadFile(args[0]) //nolint:gosec // written by the benchmark for this process
	if err != nil {
		return err
	}
	var s script
	if err = json.Unmarshal(raw, &s); err != nil {
		return fmt.Errorf("read the script: %w", err)
	}
	stop, err := startProfile(s.Profile)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	switch role {
	case roleFloor:
		return playFloor(ctx, s)
	case roleStatic:
		return child.Serve(ctx, floor.Static(s.Bodies))
	case roleWhatsApp:
		return sessions.Host(ctx)
	case roleSessions:
		return sessions.Keep(ctx, s.Sessions)
	case roleSink:
		return deliveries.Sink(ctx)
	case roleDeliver:
		return deliveries.Deliver(ctx, s.Deliveries)
	default:
		return playNode(ctx, s.Node)
	}
}

func playFloor(ctx context.Context, s script) error {
	h, err := floor.New(ctx, s.Floor)
	if err != nil {
		return err
	}
	defer h.Close()
	return child.Serve(ctx, http.Handler(h))
}

// playNode is what pombal serve does.
func playNode(ctx context.Context, n node) error {
	a, err := app.Open(ctx, app.Config{
		Database: app.Database{DatabaseURL: app.Secret(n.DatabaseURL), DataDir: n.DataDir},
		Secrets:  app.Secrets{Secret: app.Secret(n.Secret)},
		Addr:     "127.0.0.1:0", AdminAddr: "127.0.0.1:0", Plans: n.Plans,
		TokenIssuer: "pombal", RequestTimeout: 10 * time.Second, ShutdownGrace: 15 * time.Second,
	}, os.Stderr)
	if err != nil {
		return err
	}
	return a.Run(ctx)
}

func startProfile(path string) (stop func() error, err error) {
	if path == "" {
		return func() error { return nil }, nil
	}
	file, err := os.Create(path) //nolint:gosec // the caller's own file
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return file.Close()
	}, nil
}
