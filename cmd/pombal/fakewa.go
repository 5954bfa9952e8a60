package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pombal-api/pombal/internal/fakewa"
)

type fakewaCmd struct {
	Addr        string `default:"127.0.0.1:8090" help:"Address for WhatsApp clients, in plain TCP; port 0 picks a free one."`
	ControlAddr string `default:"127.0.0.1:8091" help:"Address of the control API, which knows no authentication."`
	SeedFile    string `default:"./.pombal/fakewa.seed" help:"File that decides the server's keys; made when it is missing."`
	StateFile   string `help:"File that remembers phones, linked devices and contacts over a restart; none by default." placeholder:"FILE"`
	JSON        bool   `help:"Print one line of JSON when ready, and nothing else."`
	Verbose     bool   `short:"v" help:"Log each stanza, without contents."`
}

// fakewaReady is the line that --json prints.
type fakewaReady struct {
	Addr       string `json:"addr"`
	ControlURL string `json:"controlUrl"`
	RootKey    string `json:"rootKey"` // hexadecimal
}

// Run serves the fake WhatsApp until the process is told to stop.
func (c *fakewaCmd) Run(ctx context.Context, s streams) error {
	seed, err := readSeed(c.SeedFile)
	if err != nil {
		return err
	}
	level := slog.LevelWarn
	if c.Verbose {
		level = slog.LevelDebug
	}
	srv, err := fakewa.New(fakewa.Config{
		Seed: seed, StateFile: c.StateFile,
		Log: slog.New(slog.NewTextHandler(s.err, &slog.HandlerOptions{Level: level})),
	})
	if err != nil {
		return err
	}
	listen := new(net.ListenConfig)
	clients, err := listen.Listen(ctx, "tcp", c.Addr)
	if err != nil {
		return err
	}
	operators, err := listen.Listen(ctx, "tcp", c.ControlAddr)
	if err != nil {
		return errors.Join(err, clients.Close())
	}
	root := fakewa.RootKey(seed)
	ready := fakewaReady{Addr: clients.Addr().String(), ControlURL: "http://" + operators.Addr().String(), RootKey: hex.EncodeToString(root[:])}
	if err := c.announce(s, ready); err != nil {
		return errors.Join(err, clients.Close(), operators.Close())
	}
	return serveFakewa(ctx, srv, clients, operators)
}

// serveFakewa serves both addresses until ctx ends or one of them fails.
func serveFakewa(ctx context.Context, srv *fakewa.Server, clients, operators net.Listener) error {
	control := &http.Server{Handler: srv.Control(), ReadHeaderTimeout: 10 * time.Second}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return srv.Serve(clients) })
	group.Go(func() error {
		if err := control.Serve(operators); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		return errors.Join(control.Close(), srv.Close())
	})
	return group.Wait()
}

func (c *fakewaCmd) announce(s streams, r fakewaReady) error {
	if c.JSON {
		return json.NewEncoder(s.out).Encode(r)
	}
	_, err := fmt.Fprintf(s.out, `The fake WhatsApp is ready for clients at %s; its control API is at %s. Ctrl-C stops it.

  curl %[2]s/accounts -d '{"phone":"5511999990001","pushName":"Ana"}'
  curl %[2]s/accounts/5511999990001/scan -d '{"text":"<the text of the QR code>"}'
  curl %[2]s/contacts -d '{"phone":"5511988880001","name":"Bia"}'
  curl %[2]s/contacts/5511988880001/messages -d '{"to":"5511999990001","text":"Hi!"}'
  curl %[2]s/state
`, r.Addr, r.ControlURL)
	return err
}

// seedBytes is how long a new seed is.
const seedBytes = 32

// readSeed reads the seed from its file, and makes one the first time.
func readSeed(path string) ([]byte, error) {
	seed, err := os.ReadFile(path) //nolint:gosec // the user says which file
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return seed, err
	}
	seed = make([]byte, seedBytes)
	_, _ = rand.Read(seed) // never fails
	seed = []byte(hex.EncodeToString(seed))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	return seed, os.WriteFile(path, seed, 0o600)
}
