package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"runtime/debug"

	"github.com/pombal-api/pombal/bench/internal/stats"
)

// reply is a line of the generator's output.
type reply struct {
	Result Result `json:"result"`
	Error  string `json:"error,omitempty"`
}

// Serve reads jobs from in, a JSON document each, and writes a reply to out for each. It ends with in.
func Serve(in io.Reader, out io.Writer) error {
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(-1) // between jobs, not within
	runtime.LockOSThread()
	jobs, replies := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var job Job
		err := jobs.Decode(&job)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read a job: %w", err)
		}
		var answer reply
		if answer.Result, err = run(job); err != nil {
			answer.Error = err.Error()
		}
		if err := replies.Encode(answer); err != nil {
			return fmt.Errorf("write a result: %w", err)
		}
		runtime.GC()
	}
}

// percentiles returns the median and the 99th percentile, zeros for no values.
func percentiles(values []float64) (p50, p99 float64) {
	if len(values) == 0 {
		return 0, 0
	}
	return stats.Quantile(values, 0.5), stats.Quantile(values, 0.99)
}

// Generator is a running generator.
type Generator struct {
	cmd     *exec.Cmd
	in      io.Closer
	jobs    *json.Encoder
	replies *json.Decoder
}

// Start starts cmd, a program that calls Serve with its standard input and output.
func Start(cmd *exec.Cmd) (*Generator, error) {
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the load generator: %w", err)
	}
	return &Generator{cmd: cmd, in: in, jobs: json.NewEncoder(in), replies: json.NewDecoder(out)}, nil
}

// Run carries out one job.
func (g *Generator) Run(ctx context.Context, job Job) (Result, error) {
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	var answer reply
	if err := errors.Join(g.jobs.Encode(job), g.replies.Decode(&answer)); err != nil {
		return Result{}, fmt.Errorf("the load generator is gone: %w", err)
	}
	if answer.Error != "" {
		return Result{}, fmt.Errorf("asking %s: %s", job.Addr, answer.Error)
	}
	return answer.Result, nil
}

// Close ends the generator.
func (g *Generator) Close() error { return errors.Join(g.in.Close(), g.cmd.Wait()) }
