package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// startFakewa runs the command until the test ends, or until stop.
func startFakewa(t *testing.T, args ...string) (ready fakewaReady, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, append([]string{"fakewa", "--json", "--addr", "127.0.0.1:0", "--control-addr", "127.0.0.1:0"}, args...), in, io.Discard)
		_ = in.CloseWithError(io.ErrUnexpectedEOF)
		ended <- err
	}()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("fakewa: %v", err)
		}
	}
	t.Cleanup(stop)
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(line, &ready); err != nil {
		t.Fatal(err)
	}
	return ready, stop
}

// fakewaDo sends one request to the control API and returns the answer.
func fakewaDo(t *testing.T, method, url, body string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s %s", method, url, res.Status, raw)
	}
	return string(raw)
}

func TestFakewa(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	seed, state := filepath.Join(dir, "a", "seed"), filepath.Join(dir, "b", "state.json")
	first, stop := startFakewa(t, "--seed-file", seed, "--state-file", state)
	fakewaDo(t, http.MethodPost, first.ControlURL+"/accounts", `{"phone":"5511999990001","pushName":"Ana"}`)
	stop()
	info, err := os.Stat(seed)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the seed is readable: %s", info.Mode())
	}

	second, _ := startFakewa(t, "--seed-file", seed, "--state-file", state)
	if second.RootKey != first.RootKey || len(first.RootKey) != 64 {
		t.Errorf("the root key is %q, before it was %q", second.RootKey, first.RootKey)
	}
	if got := fakewaDo(t, http.MethodGet, second.ControlURL+"/state", ""); !strings.Contains(got, `"pushName":"Ana"`) {
		t.Errorf("after a restart: %s", got)
	}
}
