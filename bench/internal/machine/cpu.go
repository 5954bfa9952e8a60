// Package machine reads from Linux's /proc what processes and the whole machine have used of the
// processors, and what kind of machine it is.
package machine

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of the times in /proc: USER_HZ is 100 on every architecture that Go supports.
const tick = 10 * time.Millisecond

// ProcessCPU returns what a process has used, system calls included.
func ProcessCPU(pid int) (time.Duration, error) {
	own, _, err := usage(pid)
	return own, err
}

// TreeCPU returns what a process, its children and those children that have ended have used.
// PostgreSQL is such a family: one process for each connection.
func TreeCPU(pid int) (time.Duration, error) {
	own, reaped, err := usage(pid)
	if err != nil {
		return 0, err
	}
	sum := own + reaped
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return 0, err
	}
	for field := range strings.FieldsSeq(string(children)) {
		child, err := strconv.Atoi(field)
		if err != nil {
			return 0, err
		}
		// One that ended just now is counted with the reaped next time.
		if own, _, err := usage(child); err == nil {
			sum += own
		}
	}
	return sum, nil
}

// Fields of /proc/<pid>/stat that follow the name in brackets, counted from there.
const (
	statUser         = 11
	statSystem       = 12
	statReapedUser   = 13
	statReapedSystem = 14
)

func usage(pid int) (own, reaped time.Duration, err error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	// The name may hold anything, brackets and blanks included.
	fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	if len(fields) <= statReapedSystem {
		return 0, 0, fmt.Errorf("/proc/%d/stat has only %d fields", pid, len(fields))
	}
	own, err = ticks(fields[statUser], fields[statSystem])
	if err != nil {
		return 0, 0, err
	}
	reaped, err = ticks(fields[statReapedUser], fields[statReapedSystem])
	return own, reaped, err
}

func ticks(fields ...string) (time.Duration, error) {
	var sum int64
	for _, field := range fields {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("a time in /proc: %w", err)
		}
		sum += n
	}
	return time.Duration(sum) * tick, nil
}

// Usage is what all processors together have done since the machine started.
type Usage struct {
	Busy   time.Duration // worked, for anybody on this machine
	Stolen time.Duration // wanted to work while the host gave the time to others
}

// TotalCPU reads the first line of /proc/stat.
func TotalCPU() (Usage, error) {
	raw, err := os.ReadFile("/proc/stat")
	if err != nil {
		return Usage{}, err
	}
	line, _, _ := strings.Cut(string(raw), "\n")
	f := strings.Fields(line) // cpu user nice system idle iowait irq softirq steal …
	if len(f) < 9 || f[0] != "cpu" {
		return Usage{}, fmt.Errorf("/proc/stat begins with %q", line)
	}
	busy, err := ticks(f[1], f[2], f[3], f[6], f[7])
	if err != nil {
		return Usage{}, err
	}
	stolen, err := ticks(f[8])
	return Usage{Busy: busy, Stolen: stolen}, err
}
