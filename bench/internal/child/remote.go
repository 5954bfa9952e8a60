package child

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// Remote asks a process of a suite. Its connections end with each answer, so that they do not count among
// what the process uses.
type Remote struct {
	addr string
	http http.Client
}

// NewRemote returns a Remote of the process at addr, "host:port".
func NewRemote(addr string) *Remote {
	return &Remote{addr: addr, http: http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
}

// Get reads the JSON of a path into an answer.
func (r *Remote) Get(ctx context.Context, path string, answer any) error {
	return r.do(ctx, http.MethodGet, path, nil, answer)
}

// Post sends a body as JSON and reads the answer unless it is nil.
func (r *Remote) Post(ctx context.Context, path string, body, answer any) error {
	return r.do(ctx, http.MethodPost, path, body, answer)
}

// Delete asks to forget what is at a path.
func (r *Remote) Delete(ctx context.Context, path string) error {
	return r.do(ctx, http.MethodDelete, path, nil, nil)
}

func (r *Remote) do(ctx context.Context, method, path string, body, answer any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+r.addr+path, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	res, err := r.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s: %s", method, path, res.Status, bytes.TrimSpace(got))
	}
	switch to := answer.(type) {
	case nil:
		return nil
	case *[]byte:
		*to = got
		return nil
	}
	return json.Unmarshal(got, answer)
}

// Answer writes JSON, for a Remote to read.
func Answer(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value) // a client that has gone needs no answer
}
