// Command bench measures the API against what its parts can do at best: the list call against the floor
// (package floor) in the same minutes on the same database, pages of large accounts against pages of small ones,
// connected instances against bare clients of the library that connects them, and the delivery of events against a
// bare loop of SQL and POST. docs/performance.md explains the method and holds the numbers.
//
//	make bench ARGS="-help"
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/pombal-api/pombal/bench/internal/load"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run is the benchmark, or one of its processes when the first argument names a role.
func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) > 0 {
		switch args[0] {
		case roleLoad:
			return load.Serve(os.Stdin, os.Stdout)
		case roleFloor, roleStatic, roleNode, roleWhatsApp, roleSessions, roleSink, roleDeliver:
			return play(ctx, args[0], args[1:])
		}
	}
	o, err := parseOptions(args, os.Stderr)
	if err != nil {
		return err
	}
	return measure(ctx, o, out)
}

// measure sets everything up, runs the suites and reports.
func measure(ctx context.Context, o *options, out io.Writer) (err error) {
	s, err := newStage(ctx, o)
	defer func() { err = errors.Join(err, s.Close()) }()
	if err != nil {
		return err
	}
	if o.profileDir != "" {
		return profile(ctx, s, o)
	}
	r := newReport(s, o)
	// What has been measured is reported even when the rest fails.
	errRun := r.run(ctx, s, o)
	return errors.Join(errRun, r.write(out), r.save(o.json))
}
