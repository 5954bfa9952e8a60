package machine_test

import (
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/pombal-api/pombal/bench/internal/machine"
)

func TestCPUOfThisProcessGrowsWithWork(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("there is no /proc")
	}
	read := func() (process, tree time.Duration, total machine.Usage) {
		process, errProcess := machine.ProcessCPU(os.Getpid())
		tree, errTree := machine.TreeCPU(os.Getpid())
		total, errTotal := machine.TotalCPU()
		if errProcess != nil || errTree != nil || errTotal != nil {
			t.Fatal(errProcess, errTree, errTotal)
		}
		return process, tree, total
	}
	process, tree, total := read()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		p, f, all := read()
		if p > process && f > tree && all.Busy > total.Busy {
			return
		}
	}
	t.Error("reading /proc for ten seconds took no time")
}

func TestAnAbsentProcessIsAnError(t *testing.T) {
	t.Parallel()
	if _, err := machine.ProcessCPU(-1); err == nil {
		t.Error("process -1 has used some CPU")
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	if d := machine.Describe(); d.Cores < 1 || d.Go == "" {
		t.Errorf("%+v", d)
	}
}
