// Package deliveries has the processes of the benchmark's suite of webhooks: the receiver of events (Sink), and a
// process that publishes events and delivers them (Deliver), by Pombal's store and worker or, as the floor, by a bare
// loop of hand-written SQL. Both are told by HTTP what to do and say what came of it.
package deliveries

import (
	"context"
)

// Script is what a process that delivers is told.
type Script struct {
	Floor   bool   `json:"floor"`   // the bare loop instead of Pombal's store and worker
	URL     string `json:"url"`     // of the PostgreSQL database; "" for SQLite in Dir
	Dir     string `json:"dir"`     //
	Sink    string `json:"sink"`    // host:port of the receiver
	Targets int    `json:"targets"` // accounts with one webhook each
	Hanging int    `json:"hanging"` // how many of them, the last ones, have a receiver that never answers
}

// pipe takes events and delivers them.
type pipe interface {
	// run delivers until ctx ends.
	run(ctx context.Context) error
	// publish adds an event for a target. It returns when the event is as durable as it ever will be, with the
	// webhook-id under which it is going to arrive.
	publish(ctx context.Context, target int, data []byte) (id string, err error)
	// idle reports whether nothing is left to deliver or to record.
	idle() bool
	close() error
}

func open(ctx context.Context, s Script) (pipe, error) {
	if s.Floor {
		return openFloor(ctx, s)
	}
	return openPombal(ctx, s)
}

// path is where the receiver of a target listens.
func (s Script) path(target int) string {
	if target >= s.Targets-s.Hanging {
		return pathHang
	}
	return pathOK
}
