package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pombal-api/pombal/bench/internal/child"
	"github.com/pombal-api/pombal/bench/internal/load"
)

// The variants of the list suite, in the order in which a round asks them.
const (
	variantFloor    = "floor"
	variantPombal   = "pombal"
	variantBaseline = "pombal-baseline" // another binary
	variantStatic   = "static"
	variantSQLite   = "pombal-sqlite"
)

// variant is one server of the list suite.
type variant struct {
	server   *child.Server
	database int // process id of the postmaster, 0 for none
	requests []load.Request
}

// slice is one measurement of the list suite.
type slice struct {
	Variant string      `json:"variant"`
	Conns   int         `json:"conns"`
	Round   int         `json:"round"`
	Result  load.Result `json:"result"`
}

// listPath is the call: a page as customers ask for it, all defaults but the documented limit.
const listPath = "/v1/instances?limit=50"

// listSuite measures the list call.
type listSuite struct {
	stage    *stage
	variants []*variant
	slices   []slice
}

// run starts the servers, holds their answers against each other, and measures in rounds.
func (l *listSuite) run(ctx context.Context) error {
	if err := l.start(ctx); err != nil {
		return err
	}
	err := l.measure(ctx)
	for _, v := range l.variants {
		err = errors.Join(err, v.server.Close())
	}
	return err
}

func (l *listSuite) measure(ctx context.Context) error {
	o := l.stage.options
	for _, conns := range o.conns {
		for _, v := range l.variants { // caches, pools, heap sizes
			if _, err := l.ask(ctx, v, conns, time.Second); err != nil {
				return err
			}
		}
		for round := range o.rounds {
			if err := l.round(ctx, conns, round); err != nil {
				return err
			}
		}
		l.stage.log.InfoContext(ctx, "measured the list", "connections", conns)
	}
	return nil
}

// start starts the servers. The static one needs the others' answers.
func (l *listSuite) start(ctx context.Context) error {
	s := l.stage
	floor, err := s.cast(ctx, variantFloor, roleFloor, script{Floor: s.floorConfig()})
	if err != nil {
		return err
	}
	servers := []*child.Server{floor}
	for _, n := range l.nodes() {
		var server *child.Server
		if server, err = s.serve(ctx, n.name, n.binary, n.node); err != nil {
			return err
		}
		servers = append(servers, server)
	}
	bodies, err := l.compare(ctx, servers)
	if err != nil {
		return err
	}
	static, err := s.cast(ctx, variantStatic, roleStatic, script{Bodies: bodies})
	if err != nil {
		return err
	}
	servers = append(servers, static)
	for _, server := range servers {
		l.variants = append(l.variants, l.variant(server, bodies))
	}
	_, err = l.compare(ctx, servers)
	return err
}

// measuredNode is a node of the list suite.
type measuredNode struct {
	name, binary string
	node         node
}

// nodes lists the nodes.
func (l *listSuite) nodes() []measuredNode {
	s := l.stage
	nodes := []measuredNode{{variantPombal, s.binary, node{DatabaseURL: s.databaseURL}}}
	if s.options.baseline != "" {
		nodes = append(nodes, measuredNode{variantBaseline, s.options.baseline, node{DatabaseURL: s.databaseURL}})
	}
	if s.sqliteData != nil {
		nodes = append(nodes, measuredNode{variantSQLite, s.binary, node{DataDir: s.dataDir}})
	}
	return nodes
}

// compare asks every server for every account's page, and returns the pages by Authorization header. Any
// difference is an error: faster by answering something else does not count.
func (l *listSuite) compare(ctx context.Context, servers []*child.Server) (map[string][]byte, error) {
	bodies := map[string][]byte{}
	cursors := 0
	for _, a := range l.stage.listAccounts() {
		q := question{path: listPath, key: a.Key}
		var first []byte
		for _, server := range servers {
			body, err := q.ask(ctx, server.Addr)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", server.Name, err)
			}
			if first == nil {
				first = body
			}
			if !bytes.Equal(first, body) {
				return nil, fmt.Errorf("%s and %s answer differently:\n%s", servers[0].Name, server.Name, difference(first, body))
			}
		}
		bodies["Bearer "+a.Key] = first
		if bytes.Contains(first, []byte(`"nextCursor":"`)) {
			cursors++
		}
	}
	if cursors == 0 {
		return nil, errors.New("no page had a cursor: the accounts are too small for a fair comparison")
	}
	return bodies, nil
}

// difference shows where two answers part.
func difference(a, b []byte) string {
	at := 0
	for at < min(len(a), len(b)) && a[at] == b[at] {
		at++
	}
	show := func(text []byte) []byte { return text[max(0, at-60):min(len(text), at+60)] }
	return fmt.Sprintf("at %d: …%s…\n       …%s…", at, show(a), show(b))
}

func (l *listSuite) variant(server *child.Server, bodies map[string][]byte) *variant {
	v := &variant{server: server}
	if server.Name == variantFloor || server.Name == variantPombal || server.Name == variantBaseline {
		v.database = l.stage.postgres.PID
	}
	for _, a := range l.stage.listAccounts() {
		q := question{path: listPath, key: a.Key}
		v.requests = append(v.requests, load.Request{Raw: q.raw(server.Addr), Length: len(bodies["Bearer "+a.Key])})
	}
	return v
}

// round asks every variant once, in turn forwards and backwards, so that no one profits from its place.
func (l *listSuite) round(ctx context.Context, conns, round int) error {
	order := slices.Clone(l.variants)
	if round%2 == 1 {
		slices.Reverse(order)
	}
	for _, v := range order {
		result, err := l.ask(ctx, v, conns, l.stage.options.slice)
		if err != nil {
			return err
		}
		l.slices = append(l.slices, slice{v.server.Name, conns, round, result})
	}
	return nil
}

// warmUp is how long a server is asked before each slice: the caches belong to its neighbour.
const warmUp = 200 * time.Millisecond

func (l *listSuite) ask(ctx context.Context, v *variant, conns int, d time.Duration) (load.Result, error) {
	result, err := l.stage.generator.Run(ctx, load.Job{
		Addr: v.server.Addr, Conns: conns, WarmUp: warmUp, Duration: d, Requests: v.requests,
		Server: v.server.PID, Database: v.database,
	})
	if err != nil {
		err = fmt.Errorf("%s: %w", v.server.Name, err)
	}
	return result, err
}
