package sessions

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Figures are what a process uses. Sizes are in bytes.
type Figures struct {
	RSS        int64         `json:"rss"`
	Anonymous  int64         `json:"anonymous"` // of RSS: not pages of the program's file
	Heap       int64         `json:"heap"`      // in use
	Stacks     int64         `json:"stacks"`    // in use
	Goroutines int           `json:"goroutines"`
	CPU        time.Duration `json:"cpu"` // since the process began, system calls included
}

// figures returns this process's own; collect returns all free memory to the system before.
func figures(collect bool) (Figures, error) {
	if collect {
		runtime.GC() // what finalizers hold goes with the second one, which FreeOSMemory begins with
		debug.FreeOSMemory()
	}
	f, err := resident()
	if err != nil {
		return f, err
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	f.Heap, f.Stacks, f.Goroutines = int64(m.HeapInuse), int64(m.StackInuse), runtime.NumGoroutine()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return f, err
	}
	f.CPU = time.Duration(used.Utime.Nano() + used.Stime.Nano())
	return f, nil
}

// resident reads how much of the process is in memory.
func resident() (f Figures, err error) {
	raw, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return f, err
	}
	for _, want := range []struct {
		name string
		to   *int64
	}{{"VmRSS:", &f.RSS}, {"RssAnon:", &f.Anonymous}} {
		_, rest, ok := strings.Cut(string(raw), "\n"+want.name)
		kilobytes, _, unit := strings.Cut(strings.TrimSpace(rest), " kB")
		if !ok || !unit {
			return f, fmt.Errorf("/proc/self/status has no %s", want.name)
		}
		n, err := strconv.ParseInt(kilobytes, 10, 64)
		if err != nil {
			return f, fmt.Errorf("%s in /proc/self/status: %w", want.name, err)
		}
		*want.to = n << 10
	}
	return f, nil
}
