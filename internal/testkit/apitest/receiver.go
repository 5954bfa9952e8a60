package apitest

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Receiver is an endpoint of a customer that gets events. The node must be allowed to call this machine.
type Receiver struct {
	URL string

	mu      sync.Mutex
	got     []Received
	status  int
	changed chan struct{}
}

// Received is one request that a receiver got.
type Received struct {
	Header http.Header
	Body   []byte
}

// NewReceiver starts a receiver that accepts everything until told otherwise. It ends with the test.
func NewReceiver(tb testing.TB) *Receiver {
	tb.Helper()
	r := &Receiver{status: http.StatusOK, changed: make(chan struct{})}
	server := httptest.NewServer(r)
	tb.Cleanup(server.Close)
	r.URL = server.URL
	return r
}

// Answer sets the status of all answers from now on.
func (r *Receiver) Answer(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

// ServeHTTP implements http.Handler.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // a sender that broke off
	}
	r.mu.Lock()
	r.got = append(r.got, Received{req.Header.Clone(), body})
	close(r.changed)
	r.changed = make(chan struct{})
	status := r.status
	r.mu.Unlock()
	w.WriteHeader(status)
}

// Wait returns what has come, once there are at least n requests.
func (r *Receiver) Wait(tb testing.TB, n int) []Received {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	for {
		r.mu.Lock()
		got, changed := slices.Clone(r.got), r.changed
		r.mu.Unlock()
		if len(got) >= n {
			return got
		}
		select {
		case <-changed:
		case <-ctx.Done():
			tb.Fatalf("the receiver got %d requests, want %d", len(got), n)
		}
	}
}

// Verify checks both signatures as a receiver would that knows the secrets, newest first.
func (r Received) Verify(secrets ...string) error {
	if got, want := r.Header.Get("X-EnviaAI-Signature"), "sha256="+hex.EncodeToString(mac(secrets[0], string(r.Body))); got != want {
		return fmt.Errorf("X-EnviaAI-Signature is %q, want %q", got, want)
	}
	signed := r.Header.Get("webhook-id") + "." + r.Header.Get("webhook-timestamp") + "." + string(r.Body)
	given := strings.Fields(r.Header.Get("webhook-signature"))
	for _, secret := range secrets {
		if !slices.Contains(given, "v1,"+base64.StdEncoding.EncodeToString(mac(secret, signed))) {
			return fmt.Errorf("webhook-signature %q lacks that of %.8s…", given, secret)
		}
	}
	if len(given) != len(secrets) {
		return errors.New("webhook-signature has more signatures than there are secrets")
	}
	return nil
}

func mac(secret, text string) []byte {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(text))
	return m.Sum(nil)
}
