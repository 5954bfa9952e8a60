package testkit

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// victimVar makes TestVictim use a cluster in the folder that it names, until it is killed.
const victimVar = "POMBAL_TESTKIT_VICTIM"

func TestVictim(t *testing.T) {
	home, ok := os.LookupEnv(victimVar)
	if !ok {
		t.Skip("only the tests below run this, as a process of its own")
	}
	url := ""
	if strings.HasPrefix(filepath.Base(home), "private") {
		url = NewPrivatePostgres(t).URL
	} else {
		bin, err := postgresBin()
		if err != nil {
			t.Fatal(err)
		}
		shared, err := joinShared(t.Context(), bin, home, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		url = shared.url
		defer func() { _ = shared.users.Close() }()
	}
	fmt.Printf("url=%s\n", url)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// startVictim runs TestVictim and returns the address of its database.
func startVictim(t *testing.T, home string) (url string, kill func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestVictim$")
	cmd.Env = append(os.Environ(), victimVar+"="+home, "TMPDIR="+home)
	stdin, errIn := cmd.StdinPipe()
	stdout, errOut := cmd.StdoutPipe()
	if err := errors.Join(errIn, errOut, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	kill = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = stdin.Close()
	}
	t.Cleanup(kill)
	said := bufio.NewScanner(stdout)
	for said.Scan() {
		if url, ok := strings.CutPrefix(said.Text(), "url="); ok {
			return url, kill
		}
	}
	t.Fatalf("the process ended without an address: %v", said.Err())
	return "", nil
}

// waitGone waits until the folder is there no more, which is the watcher's last deed.
func waitGone(t *testing.T, dir string) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); <-tick.C {
		if match, _ := filepath.Glob(dir); len(match) == 0 {
			return
		}
	}
	t.Fatalf("%s is still there", dir)
}

// victimHome returns a folder that the server's user can reach.
func victimHome(t *testing.T, prefix string) string {
	t.Helper()
	if _, err := postgresBin(); err != nil && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	home, err := os.MkdirTemp("", prefix)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		waitGone(t, filepath.Join(home, "cluster")) // its watcher stops the server first
		waitGone(t, filepath.Join(home, "*", "cluster"))
		_ = os.RemoveAll(home)
	})
	if err := os.Chmod(home, 0o711); err != nil {
		t.Fatal(err)
	}
	return home
}

func TestSharedCluster_OutlivesAUserButNotAllOfThem(t *testing.T) {
	t.Parallel()
	home := victimHome(t, "shared-")
	first, killFirst := startVictim(t, home)
	second, killSecond := startVictim(t, home)
	if first != second {
		t.Errorf("two processes have two servers: %s and %s", first, second)
	}
	killFirst()
	if !answers(t.Context(), second) {
		t.Errorf("the server stopped with its starter while another process uses it")
	}
	killSecond()
	waitGone(t, filepath.Join(home, "cluster"))
	if answers(t.Context(), second) {
		t.Errorf("the server outlived its users")
	}
	third, _ := startVictim(t, home)
	if !answers(t.Context(), third) {
		t.Errorf("no server after the end of an earlier one")
	}
}

func TestSharedCluster_StartsAgainAfterAKill(t *testing.T) {
	t.Parallel()
	home := victimHome(t, "shared-")
	startVictim(t, home)
	c := cluster{dir: filepath.Join(home, "cluster")}
	pid, err := c.pid()
	if err != nil {
		t.Fatal(err)
	}
	server, err := os.FindProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	url, kill := startVictim(t, home)
	if !answers(t.Context(), url) {
		t.Errorf("the second process got no new server")
	}
	kill()
}

func TestPrivateCluster_EndsWithItsProcess(t *testing.T) {
	t.Parallel()
	home := victimHome(t, "private-")
	url, kill := startVictim(t, home)
	if !answers(t.Context(), url) {
		t.Fatal("the server does not answer")
	}
	kill()
	waitGone(t, filepath.Join(home, "*", "cluster"))
	if answers(context.WithoutCancel(t.Context()), url) {
		t.Errorf("the server outlived its process")
	}
}
