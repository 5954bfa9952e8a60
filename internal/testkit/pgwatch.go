package testkit

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// watchVar makes a test binary a watcher instead: it then waits until the users of
// a cluster are gone, stops the server and exits. Cleanups of the tests cannot do
// that, since none runs when a test binary is killed or times out.
const watchVar = "POMBAL_TESTKIT_WATCH"

// watchOrder is what a watcher is told, as JSON in watchVar.
type watchOrder struct {
	Bin string
	Dir string // of the cluster
	// Users is a file on which each user of the cluster holds a shared lock.
	// Without it the only user is the process that holds our standard input.
	Users string
	// Linger is how long the cluster outlives its last user.
	Linger time.Duration
	// Lock is held by the watcher while it lives, so that starters know of it.
	Lock string
}

// linger is how long a shared cluster outlives its last user: longer than the pause
// between two test binaries of one run, which compiling may make long.
const linger = 15 * time.Second

func init() {
	order, ok := os.LookupEnv(watchVar)
	if !ok {
		return
	}
	if err := watch(order); err != nil {
		fmt.Fprintln(os.Stderr, "watching the test database:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func watch(raw string) error {
	var order watchOrder
	if err := json.Unmarshal([]byte(raw), &order); err != nil {
		return err
	}
	c, err := newCluster(order.Bin, order.Dir, nil)
	if err != nil {
		return err
	}
	wait := waitForStdin
	if order.Users != "" {
		wait = order.waitForUsers
	}
	release, err := wait()
	if err != nil {
		return err
	}
	defer release()
	ctx, cancel := context.WithTimeout(context.Background(), clusterTimeout)
	defer cancel()
	return c.remove(ctx)
}

// waitForStdin waits until the process that started the watcher closes the pipe or dies.
func waitForStdin() (release func(), err error) {
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return func() {}, err
}

// waitForUsers waits until nobody has held the users' lock for a while, and keeps
// newcomers out until release.
func (o watchOrder) waitForUsers() (release func(), err error) {
	alive, err := lockFile(o.Lock, syscall.LOCK_EX|syscall.LOCK_NB)
	if err != nil {
		return nil, err
	}
	fmt.Println("ready")
	const tick = 250 * time.Millisecond
	for idle := time.Duration(0); ; time.Sleep(tick) {
		users, err := lockFile(o.Users, syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case errors.Is(err, syscall.EWOULDBLOCK):
			idle = 0
		case err != nil:
			return nil, err
		case idle < o.Linger:
			idle += tick
			_ = users.Close()
		default:
			// Whoever gets the users' lock next must see that no watcher is there.
			return func() { _ = alive.Close(); _ = users.Close() }, nil
		}
	}
}

// lockFile opens and locks a file. Closing the file, or the death of the process,
// gives the lock back; programs that the process starts do not inherit it.
func lockFile(path string, how int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // a file of ours
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), how)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, syscall.EINTR) {
			_ = f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
	}
}

// startWatcher starts this very binary as a watcher and returns when it watches.
// It is a session of its own, so that an interrupt at the terminal spares it.
func startWatcher(order watchOrder, log io.Writer) (*exec.Cmd, io.Closer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	raw, err := json.Marshal(order)
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.Command(self) //nolint:gosec,noctx // this binary; it must outlive the test's context
	cmd.Env = append(os.Environ(), watchVar+"="+string(raw))
	cmd.Dir = "/"
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		_ = stdin.Close()
		return nil, nil, fmt.Errorf("the watcher said %q: %w", line, errors.Join(err, cmd.Wait()))
	}
	return cmd, stdin, nil
}
