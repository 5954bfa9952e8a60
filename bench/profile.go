package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/pombal-api/pombal/bench/internal/child"
)

// profileTime is how long each server is asked while it is profiled.
const profileTime = 10 * time.Second

// profile writes profiles instead of measuring: of the list call, of connected instances, and of deliveries.
func profile(ctx context.Context, s *stage, o *options) error {
	dir, err := filepath.Abs(o.profileDir)
	if err != nil {
		return err
	}
	if err = os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // profiles hold no secrets
		return err
	}
	if o.suites[suiteList] {
		err = profileList(ctx, s, dir)
	}
	if err == nil && o.suites[suiteSessions] {
		err = (&sessionSuite{stage: s, profiles: dir}).run(ctx)
	}
	if err == nil && o.suites[suiteDeliveries] {
		err = (&deliverySuite{stage: s, profiles: dir}).run(ctx)
	}
	return err
}

// profileList writes CPU profiles of the service and of the floor, each under the same load.
func profileList(ctx context.Context, s *stage, dir string) error {
	parts := map[string]script{
		variantFloor:  {Floor: s.floorConfig()},
		variantPombal: {Node: node{DatabaseURL: s.databaseURL, Secret: s.secret, Plans: plans()}},
	}
	if s.sqliteData != nil {
		parts[variantSQLite] = script{Node: node{DataDir: s.dataDir, Secret: s.secret, Plans: plans()}}
	}
	for name, part := range parts {
		part.Profile = filepath.Join(dir, name+".prof")
		role := roleNode
		if name == variantFloor {
			role = roleFloor
		}
		server, err := s.cast(ctx, name, role, part)
		if err != nil {
			return err
		}
		if err := profileOne(ctx, s, server); err != nil {
			return err
		}
		s.log.InfoContext(ctx, "look at it with: go tool pprof -http=: "+part.Profile)
	}
	return nil
}

// profileOne asks the server, and ends it, which writes its profile.
func profileOne(ctx context.Context, s *stage, server *child.Server) error {
	l := &listSuite{stage: s}
	bodies, err := l.compare(ctx, []*child.Server{server})
	if err != nil {
		return err
	}
	result, err := l.ask(ctx, l.variant(server, bodies), goalConns, profileTime)
	if err != nil {
		return err
	}
	s.log.InfoContext(ctx, fmt.Sprintf("%s: %.0f req/s, %.0f µs of CPU each", server.Name, result.PerSecond(), serverCPU(result)))
	return server.Close()
}
