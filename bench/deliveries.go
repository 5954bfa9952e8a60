package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pombal-api/pombal/bench/internal/child"
	"github.com/pombal-api/pombal/bench/internal/deliveries"
)

// deliveryRun is one measurement of the deliveries suite.
type deliveryRun struct {
	Engine  string            `json:"engine"`
	Case    string            `json:"case"`
	Variant string            `json:"variant"` // variantPombal or variantFloor
	Round   int               `json:"round"`
	Result  deliveries.Result `json:"result"`
}

// The cases of the deliveries suite.
const (
	caseSaturated = "saturation, 32 webhooks"
	caseHot       = "saturation, one webhook"
	caseCalm      = "100/s, 40 webhooks"
	caseNoisy     = "100/s, 4 of 40 hang"
)

// Sizes of the cases.
const (
	deliveryMany    = 32    // webhooks at saturation
	deliveryTargets = 40    // webhooks at deliveryRate
	deliveryHang    = 4     // of deliveryTargets
	deliveryRate    = 100.0 // events a second
)

// deliverySuite measures the way of events to webhooks, and a bare loop for comparison.
type deliverySuite struct {
	stage    *stage
	profiles string // folder for profiles; "" for none
	sink     *child.Server
	servers  []*child.Server
	engines  []string
	parts    map[string]*child.Server // by engine and role
	runs     []*deliveryRun
}

// The processes of the suite, one of each on each engine.
const (
	partFloor  = variantFloor
	partPombal = variantPombal
	partNoisy  = "pombal-noisy" // some of its receivers hang, now and before
)

func (d *deliverySuite) run(ctx context.Context) (err error) {
	defer func() {
		for _, server := range slices.Backward(d.servers) {
			err = errors.Join(err, server.Close())
		}
	}()
	if err = d.start(ctx); err != nil {
		return err
	}
	o := d.stage.options
	warm := o.deliverySlice / 4
	if d.profiles != "" {
		warm = profileTime
	}
	for _, engine := range d.engines { // caches, connections, plans
		for _, s := range d.steps() {
			if _, err = d.do(ctx, engine, s, warm); err != nil {
				return err
			}
		}
	}
	if d.profiles != "" {
		return nil
	}
	// Engine by engine: what PostgreSQL still has to write afterwards would delay the syncs of SQLite.
	for _, engine := range d.engines {
		for round := range o.deliveryRounds {
			if err = d.round(ctx, engine, round); err != nil {
				return err
			}
			d.stage.log.InfoContext(ctx, "measured deliveries", "engine", engine, "round", round+1)
		}
	}
	return nil
}

// deliveryStep is one measurement of a round.
type deliveryStep struct {
	part, name string
	job        deliveries.Job
	calm       bool // it takes deliveryCalm
}

// steps lists the measurements of a round.
func (d *deliverySuite) steps() []deliveryStep {
	many := deliveries.Job{Count: deliveryMany}
	hot := deliveries.Job{First: deliveryTargets, Count: 1}
	calm := deliveries.Job{Count: deliveryTargets, Apart: deliveryHang, Rate: deliveryRate}
	steps := []deliveryStep{
		{partFloor, caseSaturated, many, false},
		{partPombal, caseSaturated, many, false},
		{partPombal, caseHot, hot, false},
		{partFloor, caseCalm, calm, true},
		{partPombal, caseCalm, calm, true},
		{partNoisy, caseNoisy, calm, true},
	}
	if d.profiles != "" {
		steps = steps[:2]
	}
	return steps
}

// start starts all processes.
func (d *deliverySuite) start(ctx context.Context) (err error) {
	if d.sink, err = d.cast(ctx, "sink", roleSink, script{}); err != nil {
		return err
	}
	d.engines, d.parts = []string{engineSQLite, enginePostgres}, map[string]*child.Server{}
	for _, engine := range d.engines {
		for _, part := range []string{partFloor, partPombal, partNoisy} {
			if d.profiles != "" && part == partNoisy {
				continue
			}
			if err = d.startPart(ctx, engine, part); err != nil {
				return fmt.Errorf("start %s on %s: %w", part, engine, err)
			}
		}
	}
	return nil
}

func (d *deliverySuite) startPart(ctx context.Context, engine, part string) error {
	s := deliveries.Script{Floor: part == partFloor, Sink: d.sink.Addr, Targets: deliveryTargets + 1}
	if part == partNoisy {
		s.Targets, s.Hanging = deliveryTargets, deliveryHang
	}
	var err error
	if s.URL, s.Dir, err = d.stage.room(ctx, engine, "deliveries_"+strings.ReplaceAll(part, "-", "_")); err != nil {
		return err
	}
	name := engine + "-" + part
	told := script{Deliveries: s}
	if d.profiles != "" {
		told.Profile = filepath.Join(d.profiles, "deliveries-"+name+".prof")
	}
	d.parts[name], err = d.cast(ctx, name, roleDeliver, told)
	return err
}

func (d *deliverySuite) cast(ctx context.Context, name, role string, part script) (*child.Server, error) {
	server, err := d.stage.cast(ctx, "deliveries-"+name, role, part)
	if err == nil {
		d.servers = append(d.servers, server)
	}
	return server, err
}

// round takes every measurement once, in turn forwards and backwards.
func (d *deliverySuite) round(ctx context.Context, engine string, round int) error {
	steps := d.steps()
	if round%2 == 1 {
		slices.Reverse(steps)
	}
	for _, s := range steps {
		took := d.stage.options.deliverySlice
		if s.calm {
			took = d.stage.options.deliveryCalm
		}
		result, err := d.do(ctx, engine, s, took)
		if err != nil {
			return err
		}
		variant := variantPombal
		if s.part == partFloor {
			variant = variantFloor
		}
		d.runs = append(d.runs, &deliveryRun{engine, s.name, variant, round, result})
	}
	return nil
}

func (d *deliverySuite) do(ctx context.Context, engine string, s deliveryStep, took time.Duration) (deliveries.Result, error) {
	server := d.parts[engine+"-"+s.part]
	j := s.job
	j.Duration, j.Sink, j.Bystand = took, d.sink.PID, []int{os.Getpid()}
	if engine == enginePostgres {
		j.Database = d.stage.postgres.PID
	}
	for _, other := range d.servers {
		if other != server && other != d.sink {
			j.Bystand = append(j.Bystand, other.PID)
		}
	}
	var result deliveries.Result
	err := child.NewRemote(server.Addr).Post(ctx, "/run", j, &result)
	if err != nil {
		err = fmt.Errorf("%s, %s, %s: %w", engine, s.part, s.name, err)
	}
	return result, err
}
