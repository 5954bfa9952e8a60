// Package load asks an HTTP server as fast as it answers, over a fixed number of connections, and says
// how fast that was.
//
// The generator shares its machine with what it measures, so it must cost little: requests are bytes
// made beforehand, one thread serves all connections, and of an answer it reads the status, the length
// and nothing else. It runs as a process of its own, see [Serve] and [Start].
package load

import "time"

// Request is one request, ready to be sent.
type Request struct {
	// Raw is all that goes over the wire. It asks for a connection that stays open.
	Raw []byte `json:"raw"`
	// Length of the answer's body in bytes; anything else ends the run. 0 for any.
	Length int `json:"length,omitempty"`
}

// Job is one measurement. Every answer must be a 200 with a Content-Length.
type Job struct {
	Addr     string        `json:"addr"` // host:port
	Conns    int           `json:"conns"`
	WarmUp   time.Duration `json:"warmUp"`   // asked but not measured
	Duration time.Duration `json:"duration"` // measured
	Requests []Request     `json:"requests"` // sent in turn over all connections
	Server   int           `json:"server"`   // process id, for its CPU
	Database int           `json:"database"` // process id of the postmaster; 0 for none
}

// Result is what a job measured. Times are in seconds unless a name says otherwise.
type Result struct {
	Requests    int     `json:"requests"`
	Seconds     float64 `json:"seconds"`
	P50Micros   float64 `json:"p50Micros"`
	P99Micros   float64 `json:"p99Micros"`
	ServerCPU   float64 `json:"serverCPU"`
	DatabaseCPU float64 `json:"databaseCPU"`
	OwnCPU      float64 `json:"ownCPU"`    // the generator's
	OthersCPU   float64 `json:"othersCPU"` // of everything else on the machine
	StolenCPU   float64 `json:"stolenCPU"` // taken by the host of a virtual machine
}

// PerSecond returns how many requests were answered in a second.
func (r Result) PerSecond() float64 { return float64(r.Requests) / r.Seconds }

// MicrosPerRequest spreads a CPU time of the result over its requests.
func (r Result) MicrosPerRequest(seconds float64) float64 {
	return seconds * 1e6 / float64(max(1, r.Requests))
}
