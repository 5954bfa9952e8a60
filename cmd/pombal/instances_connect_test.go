package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/fakewa"
	"github.com/pombal-api/pombal/pkg/api"
)

const number = "5511999990001"

func TestConnect(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	phone := b.wa.Phone(t, number)
	in := b.NewInstance(t, "Sales")
	r := b.start(t.Context(), "instances", "connect", "Sales", "--every", "10ms")
	if err := phone.ScanQR(t.Context(), r.lines(t, 1)[0]); err != nil {
		t.Fatal(err)
	}
	if err := r.end(t); err != nil {
		t.Fatal(err)
	}
	if lines := r.lines(t, 2); len(lines) != 2 || !strings.HasPrefix(lines[1], "Sales is connected as "+number) {
		t.Errorf("it prints %q", lines)
	}
	if !strings.Contains(r.log.String(), "scan this code") {
		t.Errorf("it says %q", r.log.String())
	}
	checkTable(t, b.must(t, "instances", "status", in.ID), 8, "connected", number)
	for _, args := range [][]string{{"instances", "connect", in.ID}, {"phone", "scan", "Sales"}, {"phone", "type", "Sales"}} {
		b.refuse(t, args, "connected already")
	}

	if got := b.must(t, "instances", "restart", in.ID); got != "Restarting "+in.ID {
		t.Errorf("it prints %q", got)
	}
	b.Await(t, in.ID, domain.StatusConnected)
	if got := b.must(t, "instances", "disconnect", "Sales", "--reason", "a test"); got != "Disconnected "+in.ID {
		t.Errorf("it prints %q", got)
	}
	b.Await(t, in.ID, domain.StatusDisconnected)
	if devices := phone.Devices(); len(devices) != 0 {
		t.Errorf("the phone still has %+v", devices)
	}
}

func TestConnectByPairingCode(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	phone := b.wa.Phone(t, number)
	b.NewInstance(t, "Sales")
	b.refuse(t, []string{"instances", "connect", "Sales", "--pairing-code"}, "--phone")
	b.refuse(t, []string{"instances", "connect", "Sales", "--phone", number}, "--pairing-code")
	first := b.must(t, "instances", "connect", "Sales", "--pairing-code", "--phone", number, "--no-wait")
	r := b.start(t.Context(), "instances", "connect", "Sales", "--pairing-code", "--phone", number, "--json", "--every", "10ms")
	var shown, outcome pairingState
	if err := json.Unmarshal([]byte(r.lines(t, 1)[0]), &shown); err != nil || shown.PairingCode == nil || *shown.PairingCode != first {
		t.Fatalf("it prints %s after %s (%v)", r.out.String(), first, err)
	}
	if err := phone.TypeCode(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	if err := r.end(t); err != nil {
		t.Fatal(err)
	}
	lines := r.lines(t, 2)
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &outcome); err != nil {
		t.Fatal(err)
	}
	if outcome.Status != api.LiveStatusConnected || outcome.Phone == nil || *outcome.Phone != number || r.log.String() == "" {
		t.Errorf("%s; %s", lines, r.log.String())
	}
}

func TestConnectEnds(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	t.Run("when the pairing fails", func(t *testing.T) {
		if err := b.wa.Faults().Add(fakewa.Fault{Kind: fakewa.SpoilPairing, Times: 1}); err != nil {
			t.Fatal(err)
		}
		b.NewInstance(t, "Spoilt")
		r := b.start(t.Context(), "instances", "connect", "Spoilt", "--every", "10ms", "--json")
		var shown pairingState
		if err := json.Unmarshal([]byte(r.lines(t, 1)[0]), &shown); err != nil {
			t.Fatal(err)
		}
		if err := b.wa.Phone(t, number).ScanQR(t.Context(), *shown.QRText); err == nil {
			t.Fatal("the fault has no effect")
		}
		checkError(t, "a spoilt pairing", r.end(t), "Spoilt is not connected", "did not complete the pairing", "Connect the instance again")
		if lines := r.lines(t, 2); !strings.Contains(lines[len(lines)-1], `"code":"pairing_failed"`) {
			t.Errorf("it prints %q", lines)
		}
	})
	t.Run("when somebody disconnects the instance", func(t *testing.T) {
		in := b.NewInstance(t, "Ended")
		r := b.start(t.Context(), "instances", "connect", in.ID, "--every", "10ms")
		r.lines(t, 1)
		b.must(t, "instances", "disconnect", in.ID)
		checkError(t, "a disconnected instance", r.end(t), "Ended is not connected", "disconnected through the API")
	})
	t.Run("when somebody deletes the instance", func(t *testing.T) {
		in := b.NewInstance(t, "Deleted")
		r := b.start(t.Context(), "instances", "connect", in.ID, "--every", "10ms")
		r.lines(t, 1)
		b.must(t, "instances", "delete", in.ID)
		checkError(t, "a deleted instance", r.end(t), "instance_not_found")
	})
	t.Run("with Ctrl-C", func(t *testing.T) {
		b.NewInstance(t, "Left")
		ctx, cancel := context.WithCancel(t.Context())
		r := b.start(ctx, "instances", "connect", "Left")
		code := r.lines(t, 1)[0]
		cancel()
		if err := r.end(t); !errors.Is(err, context.Canceled) {
			t.Errorf("it ends with %v", err)
		}
		if got := b.must(t, "instances", "connect", "Left", "--no-wait"); got != code {
			t.Errorf("the code was %s, and then %s", code, got)
		}
	})
}

// script is a server that answers questions for the code of one instance in turn; the last answer stays.
func script(t *testing.T, connect string, codes []string, status string) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, text string) {
		w.Header().Set("Content-Type", "application/json")
		if strings.Contains(text, `"error"`) {
			w.WriteHeader(http.StatusConflict)
		}
		_, _ = w.Write([]byte(text))
	}
	mux.HandleFunc("GET /v1/instances", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, `{"success":true,"data":[{"id":"inst_1","name":"Sales"}],"pagination":{}}`)
	})
	mux.HandleFunc("POST /v1/instances/inst_1/connect", func(w http.ResponseWriter, _ *http.Request) { answer(w, connect) })
	mux.HandleFunc("GET /v1/instances/inst_1/status", func(w http.ResponseWriter, _ *http.Request) { answer(w, status) })
	mux.HandleFunc("GET /v1/instances/inst_1/qrcode", func(w http.ResponseWriter, _ *http.Request) { // asked by one client
		answer(w, codes[0])
		codes = codes[min(1, len(codes)-1):]
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func TestConnectFollowsTheCode(t *testing.T) {
	t.Parallel()
	const (
		first     = `{"success":true,"status":"qr_pending","qrText":"one"}`
		none      = `{"success":true,"status":"connected"}`
		one       = `{"success":true,"data":{"status":"qr_pending","qrText":"one"}}`
		two       = `{"success":true,"data":{"status":"qr_pending","qrText":"two"}}`
		away      = `{"success":true,"data":{"status":"connecting"}}`
		over      = `{"success":true,"data":{"status":"disconnected"}}`
		already   = `{"success":false,"error":{"code":"already_connected","message":"no"}}`
		connected = `{"success":true,"data":{"status":"connected","phone":"123","profileName":"Ana"}}`
		timeout   = `{"success":true,"data":{"status":"disconnected","statusReason":{"code":"pairing_timeout","message":"Nobody came.","action":"Again."}}}`
		silent    = `{"success":true,"data":{"status":"disconnected"}}`
	)
	for name, c := range map[string]struct {
		connect string
		codes   []string
		status  string
		args    []string
		want    string
		fail    string
	}{
		"a new code":    {first, []string{one, one, two, two, away, already}, connected, nil, "one\ntwo\nSales is connected as 123 (Ana).\n", ""},
		"no code":       {none, []string{already}, connected, nil, "Sales is connected as 123 (Ana).\n", ""},
		"nobody waits":  {none, nil, "", []string{"--no-wait"}, "Sales is connected; no code is needed.\n", ""},
		"for a program": {none, nil, "", []string{"--no-wait", "--json"}, `{"status":"connected"}` + "\n", ""},
		"time is up":    {first, []string{one, over}, timeout, nil, "one\n", "Sales is not connected. Nobody came. Again."},
		"no reason":     {first, []string{over}, silent, nil, "one\n", "connect it again"},
		"in JSON": {
			first, []string{one, two, over}, timeout,
			[]string{"--json"}, `{"status":"qr_pending","qrText":"one"}` + "\n" + `{"status":"qr_pending","qrText":"two"}` + "\n" +
				`{"status":"disconnected","reason":{"code":"pairing_timeout","message":"Nobody came.","action":"Again."}}` + "\n",
			"Nobody came.",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := script(t, c.connect, c.codes, c.status)
			out, _, err := runHere(t.Context(), append([]string{"instances", "connect", "Sales", "--every", "1ms", "--url", s.URL, "--api-key", "k"}, c.args...)...)
			if diff := cmp.Diff(c.want, out); diff != "" {
				t.Error(diff)
			}
			if c.fail != "" {
				checkError(t, name, err, c.fail)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}
