package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pombal-api/pombal/bench/internal/machine"
)

// options are the flags.
type options struct {
	suites         map[string]bool
	rows           int
	sqliteRows     int
	conns          []int
	rounds         int
	slice          time.Duration
	growthRounds   int
	growthSlice    time.Duration
	sessions       []int
	sessionRounds  int
	sessionIdle    time.Duration
	sessionCalm    time.Duration
	deliveryRounds int
	deliverySlice  time.Duration
	deliveryCalm   time.Duration
	postgres       string
	sharedBuffers  string
	binary         string
	baseline       string
	json           string
	profileDir     string
}

// The suites.
const (
	suiteList       = "list"
	suiteGrowth     = "growth"
	suiteSessions   = "sessions"
	suiteDeliveries = "deliveries"
)

// allSuites returns them in the order in which they run.
func allSuites() []string { return []string{suiteList, suiteGrowth, suiteSessions, suiteDeliveries} }

// Sizes of the whole data set: small enough for a coffee, and as docs/performance.md has it.
const (
	defaultRows, defaultSQLiteRows = 3_000_000, 300_000
	fullRows, fullSQLiteRows       = 10_000_000, 2_000_000
)

func parseOptions(args []string, errOut io.Writer) (*options, error) {
	o := &options{suites: map[string]bool{}}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(errOut)
	suites := f.String("suites", strings.Join(allSuites(), ","), "what to measure, separated by commas")
	full := f.Bool("full", false, fmt.Sprintf("as the documentation: %d rows in PostgreSQL, %d in SQLite", fullRows, fullSQLiteRows))
	f.IntVar(&o.rows, "rows", defaultRows, "instances in PostgreSQL; accounts of 50, 1,000, 100,000 and 1,000,000 are among them as far as half of this allows")
	f.IntVar(&o.sqliteRows, "sqlite-rows", defaultSQLiteRows, "instances in SQLite; 0 leaves SQLite out")
	conns := f.String("conns", "1,32,128", "connections of the list suite")
	f.IntVar(&o.rounds, "rounds", 9, "rounds of the list suite; each asks every server once")
	f.DurationVar(&o.slice, "slice", time.Second, "how long the list suite asks a server at a time")
	f.IntVar(&o.growthRounds, "growth-rounds", 9, "rounds of the growth suite")
	f.DurationVar(&o.growthSlice, "growth-slice", 300*time.Millisecond, "how long the growth suite asks a question at a time")
	sizes := f.String("sessions", "100,500,1000", "how many instances the sessions suite keeps connected")
	f.IntVar(&o.sessionRounds, "session-rounds", 3, "rounds of the sessions suite; each starts every process once, for each number of instances")
	f.DurationVar(&o.sessionIdle, "session-idle", 30*time.Second, "how long the sessions suite watches the most instances doing nothing; keepalives are up to 30s apart")
	f.DurationVar(&o.sessionCalm, "session-calm", time.Second, "how long sessions are left alone before their memory is measured: profiles arrive, states are recorded")
	f.IntVar(&o.deliveryRounds, "delivery-rounds", 5, "rounds of the deliveries suite")
	f.DurationVar(&o.deliverySlice, "delivery-slice", 2*time.Second, "how long the deliveries suite publishes at a time as fast as it can")
	f.DurationVar(&o.deliveryCalm, "delivery-calm", 4*time.Second, "how long it publishes at a time at 100 events a second")
	f.StringVar(&o.postgres, "postgres", "", "`URL` of a server on which to make a database, as a superuser; without it a private server is started")
	f.StringVar(&o.sharedBuffers, "shared-buffers", defaultBuffers(), "shared_buffers of the private server")
	f.StringVar(&o.binary, "binary", "", "the pombal binary to measure; without it the one of this tree is built")
	f.StringVar(&o.baseline, "baseline", "", "another pombal binary, to measure in the same rounds of the list suite, such as that of an earlier commit")
	f.StringVar(&o.json, "json", "", "`file` for every single measurement")
	f.StringVar(&o.profileDir, "profile", "", "measure nothing; write profiles to this `folder`: of the processors for the list suite, at 32 connections, of processors and heap for the sessions suite, and of processors at saturation for the deliveries suite")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if *full {
		o.rows, o.sqliteRows = fullRows, fullSQLiteRows
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unknown argument %q", f.Arg(0))
	}
	var err error
	o.conns, err = numbers("-conns", *conns, 1_000)
	if err == nil {
		o.sessions, err = numbers("-sessions", *sizes, maxSessions)
	}
	return o, errors.Join(o.setSuites(*suites), err, o.check())
}

// maxSessions is how many a node holds by default, of which a process has one.
const maxSessions = 1_500

func (o *options) setSuites(text string) error {
	for name := range strings.SplitSeq(text, ",") {
		if !slices.Contains(allSuites(), name) {
			return fmt.Errorf("-suites: there is no suite %q", name)
		}
		o.suites[name] = true
	}
	return nil
}

// numbers reads the numbers of a flag.
func numbers(flag, text string, most int) (list []int, err error) {
	for field := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(field)
		if err != nil || n < 1 || n > most {
			return nil, fmt.Errorf("%s: %q is not between 1 and %d", flag, field, most)
		}
		list = append(list, n)
	}
	return list, nil
}

// needsData tells whether a suite runs that asks the service for instances.
func (o *options) needsData() bool {
	return o.suites[suiteList] || o.suites[suiteGrowth]
}

func (o *options) check() error {
	if o.rounds < 1 || o.growthRounds < 1 || o.sessionRounds < 1 || o.deliveryRounds < 1 || o.slice < 10*time.Millisecond || o.growthSlice < 10*time.Millisecond || o.deliverySlice < 10*time.Millisecond || o.deliveryCalm < 10*time.Millisecond {
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
