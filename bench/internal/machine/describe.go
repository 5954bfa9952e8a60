package machine

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// Description is what a reader must know of the machine to compare numbers.
type Description struct {
	Cores     int     `json:"cores"`
	Processor string  `json:"processor"`
	MemoryGiB float64 `json:"memoryGiB"`
	System    string  `json:"system"`
	Go        string  `json:"go"`
}

// Describe reads the description; what cannot be read is left empty.
func Describe() Description {
	return Description{
		Cores:     runtime.NumCPU(),
		Processor: field("/proc/cpuinfo", "model name"),
		MemoryGiB: float64(MemoryBytes()) / (1 << 30),
		System:    runtime.GOOS + "/" + runtime.GOARCH,
		Go:        runtime.Version(),
	}
}

// MemoryBytes returns the size of the memory, 0 when unknown.
func MemoryBytes() int64 {
	kilobytes, _, _ := strings.Cut(field("/proc/meminfo", "MemTotal"), " ")
	n, err := strconv.ParseInt(kilobytes, 10, 64)
	if err != nil {
		return 0
	}
	return n << 10
}

// field returns the value of the first line "name : value".
func field(path, name string) string {
	raw, err := os.ReadFile(path) //nolint:gosec // a file in /proc
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(raw)) {
		key, value, ok := strings.Cut(line, ":")
		if ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// String is one line for a report.
func (d Description) String() string {
	return fmt.Sprintf("%d cores (%s), %.0f GiB, %s, %s", d.Cores, d.Processor, d.MemoryGiB, d.System, d.Go)
}
