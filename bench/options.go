package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/pombal-api/pombal/bench/internal/machine"
)

// options are the flags.
type options struct {
	suites        map[string]bool
	rows          int
	sqliteRows    int
	conns         []int
	rounds        int
	slice         time.Duration
	growthRounds  int
	growthSlice   time.Duration
	postgres      string
	sharedBuffers string
	binary        string
	baseline      string
	json          string
	profileDir    string
}

// The suites.
const (
	suiteList   = "list"
	suiteGrowth = "growth"
)

// Sizes of the whole data set: small enough for a coffee, and as docs/performance.md has it.
const (
	defaultRows, defaultSQLiteRows = 3_000_000, 300_000
	fullRows, fullSQLiteRows       = 10_000_000, 2_000_000
)

func parseOptions(args []string, errOut io.Writer) (*options, error) {
	o := &options{suites: map[string]bool{}}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(errOut)
	suites := f.String("suites", suiteList+","+suiteGrowth, "what to measure, separated by commas")
	full := f.Bool("full", false, fmt.Sprintf("as the documentation: %d rows in PostgreSQL, %d in SQLite", fullRows, fullSQLiteRows))
	f.IntVar(&o.rows, "rows", defaultRows, "instances in PostgreSQL; accounts of 50, 1,000, 100,000 and 1,000,000 are among them as far as half of this allows")
	f.IntVar(&o.sqliteRows, "sqlite-rows", defaultSQLiteRows, "instances in SQLite; 0 leaves SQLite out")
	conns := f.String("conns", "1,32,128", "connections of the list suite")
	f.IntVar(&o.rounds, "rounds", 9, "rounds of the list suite; each asks every server once")
	f.DurationVar(&o.slice, "slice", time.Second, "how long the list suite asks a server at a time")
	f.IntVar(&o.growthRounds, "growth-rounds", 9, "rounds of the growth suite")
	f.DurationVar(&o.growthSlice, "growth-slice", 300*time.Millisecond, "how long the growth suite asks a question at a time")
	f.StringVar(&o.postgres, "postgres", "", "`URL` of a server on which to make a database, as a superuser; without it a private server is started")
	f.StringVar(&o.sharedBuffers, "shared-buffers", defaultBuffers(), "shared_buffers of the private server")
	f.StringVar(&o.binary, "binary", "", "the pombal binary to measure; without it the one of this tree is built")
	f.StringVar(&o.baseline, "baseline", "", "another pombal binary, to measure in the same rounds of the list suite, such as that of an earlier commit")
	f.StringVar(&o.json, "json", "", "`file` for every single measurement")
	f.StringVar(&o.profileDir, "profile", "", "measure nothing; write CPU profiles of the service and of the floor at 32 connections to this `folder`")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if *full {
		o.rows, o.sqliteRows = fullRows, fullSQLiteRows
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unknown argument %q", f.Arg(0))
	}
	return o, errors.Join(o.setSuites(*suites), o.setConns(*conns), o.check())
}

func (o *options) setSuites(text string) error {
	for name := range strings.SplitSeq(text, ",") {
		if name != suiteList && name != suiteGrowth {
			return fmt.Errorf("-suites: there is no suite %q", name)
		}
		o.suites[name] = true
	}
	return nil
}

func (o *options) setConns(text string) error {
	for field := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(field)
		if err != nil || n < 1 || n > 1000 {
			return fmt.Errorf("-conns: %q is not between 1 and 1000", field)
		}
		o.conns = append(o.conns, n)
	}
	return nil
}

func (o *options) check() error {
	if o.rounds < 1 || o.growthRounds < 1 || o.slice < 10*time.Millisecond || o.growthSlice < 10*time.Millisecond {
		return errors.New("there must be at least one round, and slices of at least 10ms")
	}
	if o.rows < 1 || o.sqliteRows < 0 {
		return errors.New("-rows must be above 0, and -sqlite-rows not below")
	}
	return nil
}

// defaultBuffers is a sixth of the memory, at most 4 GB: as servers are set up, and enough for what the
// list suite touches.
func defaultBuffers() string {
	megabytes := machine.MemoryBytes() >> 20 / 6
	return fmt.Sprintf("%dMB", max(128, min(4096, megabytes)))
}
