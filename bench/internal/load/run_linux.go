package load

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/pombal-api/pombal/bench/internal/machine"
)

// patience is how long the answers that are under way at the end of a job may take.
const patience = 10 * time.Second

// connection is one connection with at most one request under way.
type connection struct {
	fd     int
	sent   time.Time
	answer answer
	want   int // length of the body, 0 for any
	idle   bool
}

// runner carries out one job on one thread.
type runner struct {
	job     Job
	epoll   int
	conns   map[int32]*connection
	next    int // request
	buffer  []byte
	events  []syscall.EpollEvent
	sending bool
	record  bool
	micros  []float64 // of the answers in the measured part
}

// run carries out a job.
func run(job Job) (Result, error) {
	if len(job.Requests) == 0 || job.Conns < 1 {
		return Result{}, errors.New("a job needs requests and connections")
	}
	r := &runner{
		job: job, conns: make(map[int32]*connection, job.Conns), buffer: make([]byte, 256<<10),
		events: make([]syscall.EpollEvent, job.Conns), micros: make([]float64, 0, 1<<16),
	}
	defer r.close()
	if err := r.connect(); err != nil {
		return Result{}, err
	}
	return r.measure()
}

func (r *runner) close() {
	for _, c := range r.conns {
		_ = syscall.Close(c.fd)
	}
	if r.epoll > 0 {
		_ = syscall.Close(r.epoll)
	}
}

func (r *runner) connect() error {
	addr, err := netip.ParseAddrPort(r.job.Addr)
	if err != nil {
		return err
	}
	if !addr.Addr().Is4() || !addr.Addr().IsLoopback() {
		return fmt.Errorf("%s is not this machine: the generator has no limits and stays at home", r.job.Addr)
	}
	if r.epoll, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC); err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	for range r.job.Conns {
		fd, err := dial(addr)
		if err != nil {
			return err
		}
		r.conns[int32(fd)] = &connection{fd: fd, idle: true}
		event := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)}
		if err := syscall.EpollCtl(r.epoll, syscall.EPOLL_CTL_ADD, fd, &event); err != nil {
			return os.NewSyscallError("epoll_ctl", err)
		}
	}
	return nil
}

// dial opens a connection for use without Go's own poller.
func dial(addr netip.AddrPort) (int, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	err = os.NewSyscallError("connect", syscall.Connect(fd, &syscall.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}))
	if err == nil {
		err = errors.Join(
			os.NewSyscallError("setsockopt", syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)),
			os.NewSyscallError("fcntl", syscall.SetNonblock(fd, true)))
	}
	if err != nil {
		_ = syscall.Close(fd)
		return 0, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(addr), Err: err}
	}
	return fd, nil
}

// measure asks, first for warmth, then for the record, then waits for the last answers: a connection
// that is closed on a working server would make work that belongs to nobody's slice.
func (r *runner) measure() (Result, error) {
	r.sending = true
	for _, c := range r.conns {
		if err := r.send(c); err != nil {
			return Result{}, err
		}
	}
	if err := r.until(time.Now().Add(r.job.WarmUp), r.never); err != nil {
		return Result{}, err
	}
	before, err := sample(r.job)
	if err != nil {
		return Result{}, err
	}
	r.record = true
	if err = r.until(before.at.Add(r.job.Duration), r.never); err != nil {
		return Result{}, err
	}
	r.record = false
	after, err := sample(r.job)
	if err != nil {
		return Result{}, err
	}
	r.sending = false
	if err := r.until(time.Now().Add(patience), r.allIdle); err != nil {
		return Result{}, err
	}
	if !r.allIdle() {
		return Result{}, fmt.Errorf("the last answers did not come within %v", patience)
	}
	return after.since(before, r.micros), nil
}

func (r *runner) never() bool { return false }

func (r *runner) allIdle() bool {
	for _, c := range r.conns {
		if !c.idle {
			return false
		}
	}
	return true
}

// until serves the connections until the deadline, or until done.
func (r *runner) until(deadline time.Time, done func() bool) error {
	for !done() {
		wait := time.Until(deadline)
		if wait <= 0 {
			return nil
		}
		n, err := syscall.EpollWait(r.epoll, r.events, int(wait.Milliseconds())+1)
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return os.NewSyscallError("epoll_wait", err)
		}
		for i := range max(0, n) {
			if err := r.receive(r.conns[r.events[i].Fd]); err != nil {
				return err
			}
		}
	}
	return nil
}

// receive takes what has come on a connection, and sends its next request after the end of an answer.
func (r *runner) receive(c *connection) error {
	n, err := r.read(c)
	switch {
	case errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR):
		return nil
	case err != nil:
		return os.NewSyscallError("read", err)
	case n == 0:
		return errors.New("the server closed a connection")
	}
	var done bool
	if c.answer.left > 0 {
		done, err = c.answer.skip(n)
	} else {
		done, err = c.answer.feed(r.buffer[:n])
	}
	if err != nil || !done {
		return err
	}
	if c.want != 0 && c.answer.body != c.want {
		return fmt.Errorf("a body has %d bytes instead of %d", c.answer.body, c.want)
	}
	if r.record {
		r.micros = append(r.micros, float64(time.Since(c.sent).Nanoseconds())/1e3)
	}
	return r.send(c)
}

// firstRead is how much is read of an answer while its head is to come: what a server in Go sends at first.
const firstRead = 4 << 10

// read reads a head with what follows it, or lets the kernel throw away what has come of a body: copying it
// would cost more than everything else here.
func (r *runner) read(c *connection) (int, error) {
	if c.answer.left == 0 {
		return syscall.Read(c.fd, r.buffer[:firstRead])
	}
	n, _, err := syscall.Recvfrom(c.fd, r.buffer, syscall.MSG_TRUNC)
	return n, err
}

// send sends the next request. A request is far smaller than a socket's buffer.
func (r *runner) send(c *connection) error {
	c.idle = !r.sending
	if c.idle {
		return nil
	}
	request := &r.job.Requests[r.next]
	r.next = (r.next + 1) % len(r.job.Requests)
	c.want, c.sent = request.Length, time.Now()
	n, err := syscall.Write(c.fd, request.Raw)
	if err == nil && n != len(request.Raw) {
		err = errors.New("a request was sent in part")
	}
	return os.NewSyscallError("write", err)
}

// reading is what the counters said at one moment.
type reading struct {
	at                    time.Time
	server, database, own time.Duration
	total                 machine.Usage
}

func sample(job Job) (reading, error) {
	s := reading{at: time.Now()}
	var errs [4]error
	if job.Server != 0 {
		s.server, errs[0] = machine.ProcessCPU(job.Server)
	}
	if job.Database != 0 {
		s.database, errs[1] = machine.TreeCPU(job.Database)
	}
	s.own, errs[2] = machine.ProcessCPU(os.Getpid())
	s.total, errs[3] = machine.TotalCPU()
	return s, errors.Join(errs[:]...)
}

// since turns two readings into a result.
func (s reading) since(before reading, micros []float64) Result {
	server, database, own := s.server-before.server, s.database-before.database, s.own-before.own
	busy := s.total.Busy - before.total.Busy
	p50, p99 := percentiles(micros)
	return Result{
		Requests: len(micros), Seconds: s.at.Sub(before.at).Seconds(), P50Micros: p50, P99Micros: p99,
		ServerCPU: server.Seconds(), DatabaseCPU: database.Seconds(), OwnCPU: own.Seconds(),
		OthersCPU: max(0, (busy - server - database - own).Seconds()),
		StolenCPU: (s.total.Stolen - before.total.Stolen).Seconds(),
	}
}
