package deliveries

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pombal-api/pombal/bench/internal/child"
	"github.com/pombal-api/pombal/bench/internal/machine"
)

// Deliver is a process that publishes events and delivers them, until ctx ends.
//
//	POST /run    does a Job, answers with a Result
func Deliver(ctx context.Context, s Script) (err error) {
	p, err := open(ctx, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	running, stop := context.WithCancelCause(ctx)
	ran := make(chan error, 1)
	go func() { // waited for below
		failed := p.run(running)
		stop(failed)
		ran <- failed
	}()
	d := &deliverer{pipe: p, sink: child.NewRemote(s.Sink), ended: running}
	err = child.Serve(ctx, d.handler())
	stop(nil)
	return errors.Join(err, <-ran)
}

// deliverer does jobs, one at a time.
type deliverer struct {
	pipe  pipe
	sink  *child.Remote
	ended context.Context // ends with the pipe
	n     atomic.Int64    // events so far
}

func (d *deliverer) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /run", func(w http.ResponseWriter, r *http.Request) {
		var j Job
		err := json.NewDecoder(r.Body).Decode(&j)
		var result Result
		if err == nil {
			ctx, stop := context.WithCancelCause(r.Context())
			defer stop(nil)
			//nolint:contextcheck // the end of the process, not of the request
			defer context.AfterFunc(d.ended, func() { stop(context.Cause(d.ended)) })()
			if result, err = d.do(ctx, j); err != nil {
				err = errors.Join(err, context.Cause(ctx))
			}
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		child.Answer(w, result)
	})
	return mux
}

// published is an event, with times in nanoseconds since 1970.
type published struct {
	id            string
	began, stored int64
	counts        bool
}

// patience is how long events may take to arrive after the last was published.
const patience = time.Minute

func (d *deliverer) do(ctx context.Context, j Job) (r Result, err error) {
	if err = d.sink.Post(ctx, "/clear", nil, nil); err != nil {
		return r, err
	}
	used, err := watch(j)
	if err != nil {
		return r, err
	}
	began := time.Now()
	all, err := d.publish(ctx, j)
	if err != nil {
		return r, err
	}
	r.Publishing = time.Since(began).Seconds()
	for _, p := range all {
		if p.counts {
			r.Events++
		}
	}
	waiting, stop := context.WithTimeout(ctx, patience)
	defer stop()
	if err = d.sink.Get(waiting, fmt.Sprintf("/await?n=%d", r.Events), new(int)); err != nil {
		return r, fmt.Errorf("some of %d events were lost: %w", r.Events, err)
	}
	if j.Apart == 0 { // what hangs does not end
		if err = d.settle(waiting); err != nil {
			return r, err
		}
	}
	r.Seconds = time.Since(began).Seconds()
	if err = used(&r); err != nil {
		return r, err
	}
	return r, d.account(waiting, &r, all)
}

// settle waits until everything is recorded.
func (d *deliverer) settle(ctx context.Context) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !d.pipe.idle() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("not everything was recorded in time: %w", ctx.Err())
		}
	}
	return nil
}

// arrived returns every event that counts as the sink knows it. Among those whose number the sink told may have been
// some that do not count.
func (d *deliverer) arrived(ctx context.Context, all []published) (map[string]Arrival, error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var arrivals map[string]Arrival
		if err := d.sink.Get(ctx, "/arrivals", &arrivals); err != nil {
			return nil, err
		}
		missing := 0
		for _, p := range all {
			if p.counts && arrivals[p.id].Count == 0 {
				missing++
			}
		}
		if missing == 0 {
			return arrivals, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("%d of %d events were lost", missing, len(all))
		}
	}
}

// account compares what was published with what has arrived.
func (d *deliverer) account(ctx context.Context, r *Result, all []published) error {
	arrivals, err := d.arrived(ctx, all)
	if err != nil {
		return err
	}
	var publish, delivery, committed []float64
	for _, p := range all {
		if !p.counts {
			continue
		}
		a := arrivals[p.id]
		r.Duplicates += a.Count - 1
		publish = append(publish, float64(p.stored-p.began))
		delivery = append(delivery, float64(a.At-p.began))
		committed = append(committed, float64(max(0, a.At-p.stored)))
	}
	r.Publish, r.Delivery, r.Committed = quantiles(publish), quantiles(delivery), quantiles(committed)
	return nil
}

// publish publishes the events of a job.
func (d *deliverer) publish(ctx context.Context, j Job) ([]published, error) {
	if j.Rate > 0 {
		return d.publishAt(ctx, j)
	}
	lists := make([][]published, Producers)
	failures := make([]error, Producers)
	var producing sync.WaitGroup
	end := time.Now().Add(j.Duration)
	for i := range Producers {
		producing.Go(func() { // waited for below
			for n := 0; failures[i] == nil && (n == 0 || time.Now().Before(end)); n++ {
				var p published
				p, failures[i] = d.one(ctx, j, i+n*Producers)
				lists[i] = append(lists[i], p)
			}
		})
	}
	producing.Wait()
	var all []published
	for _, list := range lists {
		all = append(all, list...)
	}
	return all, errors.Join(failures...)
}

// publishAt publishes at a rate.
func (d *deliverer) publishAt(ctx context.Context, j Job) ([]published, error) {
	n := max(1, int(j.Rate*j.Duration.Seconds()))
	all, failures := make([]published, n), make([]error, n)
	tick := time.NewTicker(time.Duration(float64(time.Second) / j.Rate))
	defer tick.Stop()
	var producing sync.WaitGroup
	for i := range n {
		producing.Go(func() { all[i], failures[i] = d.one(ctx, j, i) }) // waited for below
		select {
		case <-tick.C:
		case <-ctx.Done():
			producing.Wait()
			return nil, ctx.Err()
		}
	}
	producing.Wait()
	return all, errors.Join(failures...)
}

// one publishes the nth event of a job.
func (d *deliverer) one(ctx context.Context, j Job, n int) (p published, err error) {
	target := n % j.Count
	data := fmt.Appendf(make([]byte, 0, eventSize), `{"n":%d,"text":"`, d.n.Add(1))
	for len(data) < eventSize-2 {
		data = append(data, '.')
	}
	data = append(data, `"}`...)
	p.began = time.Now().UnixNano()
	p.id, err = d.pipe.publish(ctx, j.First+target, data)
	p.stored = time.Now().UnixNano()
	p.counts = target < j.Count-j.Apart
	return p, err
}

// watch returns a function that tells what has been used of the processors since.
func watch(j Job) (func(*Result) error, error) {
	began := time.Now()
	before, err := usageOf(j)
	return func(r *Result) error {
		seconds := time.Since(began).Seconds()
		after, failed := usageOf(j)
		own, database, sink := after.own-before.own, after.database-before.database, after.sink-before.sink
		r.OwnCPU, r.DatabaseCPU, r.SinkCPU = own.Seconds(), database.Seconds(), sink.Seconds()
		others := after.total - before.total - own - database - sink - (after.bystand - before.bystand)
		r.Others = max(0, others.Seconds()/seconds)
		return failed
	}, err
}

// usage is what has been used so far.
type usage struct{ own, database, sink, bystand, total time.Duration }

func usageOf(j Job) (u usage, err error) {
	add := func(to *time.Duration, of func(int) (time.Duration, error), pid int) {
		used, failed := of(pid)
		*to += used
		err = errors.Join(err, failed)
	}
	add(&u.own, machine.ProcessCPU, os.Getpid())
	add(&u.sink, machine.ProcessCPU, j.Sink)
	for _, pid := range j.Bystand {
		add(&u.bystand, machine.ProcessCPU, pid)
	}
	if j.Database != 0 {
		add(&u.database, machine.TreeCPU, j.Database)
	}
	total, failed := machine.TotalCPU()
	u.total = total.Busy + total.Stolen
	return u, errors.Join(err, failed)
}
