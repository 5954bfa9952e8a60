package deliveries

import (
	"time"

	"github.com/pombal-api/pombal/bench/internal/stats"
)

// Job says what to publish.
type Job struct {
	First int `json:"first"` // target
	Count int `json:"count"` // of targets, which get an event each in turn
	// Apart is how many of the targets, the last ones, count for nothing: their receivers may hang.
	Apart int `json:"apart"`
	// Rate is how many events a second are published, whatever becomes of them. With 0 there are Producers that
	// each publish the next one as soon as the one before is durable.
	Rate     float64       `json:"rate"`
	Duration time.Duration `json:"duration"` // of publishing

	Database int   `json:"database"` // process id of PostgreSQL's postmaster, 0 for none
	Sink     int   `json:"sink"`     // process id of the sink
	Bystand  []int `json:"bystand"`  // processes that belong to the benchmark, too
}

// Producers publish at saturation.
const Producers = 32

// eventSize is the size of an event's data in bytes.
const eventSize = 300

// Result is what came of a job. Events are those that count.
type Result struct {
	Events     int `json:"events"`     // published, each of which has arrived
	Duplicates int `json:"duplicates"` // arrivals of what had arrived before
	// Seconds is from the first publication until everything was delivered and recorded; for a Rate, until
	// everything had arrived. Publishing is the part in which something was published.
	Seconds    float64 `json:"seconds"`
	Publishing float64 `json:"publishing"`

	Publish Quantiles `json:"publish"` // until an event was durable
	// Delivery is from when an event was about to be published until its receiver had it.
	Delivery Quantiles `json:"delivery"`
	// Committed is the same from when the publisher knew that it was durable, or 0 when it had arrived by then.
	Committed Quantiles `json:"committed"`

	OwnCPU      float64 `json:"ownCpu"`      // seconds
	DatabaseCPU float64 `json:"databaseCpu"` // of PostgreSQL
	SinkCPU     float64 `json:"sinkCpu"`
	Others      float64 `json:"others"` // cores that others used, or the host took away
}

// PerSecond is the throughput of the whole way.
func (r Result) PerSecond() float64 { return float64(r.Events) / r.Seconds }

// Quantiles are in milliseconds.
type Quantiles struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
}

func quantiles(nanos []float64) Quantiles {
	at := func(q float64) float64 { return stats.Quantile(nanos, q) / 1e6 }
	return Quantiles{at(0.50), at(0.95), at(0.99)}
}
