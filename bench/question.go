package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/pombal-api/pombal/bench/internal/load"
)

// question is one call of the API.
type question struct {
	path    string
	key     string
	account string // X-Account-Id; "" for none
}

// raw is the request as bytes. A client in life sends a few headers more.
func (q question) raw(addr string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench\r\nAccept: application/json\r\nAuthorization: Bearer %s\r\n",
		q.path, addr, q.key)
	if q.account != "" {
		fmt.Fprintf(&b, "X-Account-Id: %s\r\n", q.account)
	}
	b.WriteString("\r\n")
	return []byte(b.String())
}

// client is for what is asked outside of measurements.
var client = &http.Client{Timeout: time.Minute}

// ask asks once and returns the body.
func (q question) ask(ctx context.Context, addr string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+q.path, nil) //nolint:gosec // a server that the benchmark has started
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+q.key)
	if q.account != "" {
		req.Header.Set("X-Account-Id", q.account)
	}
	res, err := client.Do(req) //nolint:gosec // as above
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s: %s", q.path, res.Status, body)
	}
	return body, nil
}

// answer is what the benchmark reads of a page.
type answer struct {
	Data       []json.RawMessage `json:"data"`
	Pagination struct {
		Total      int     `json:"total"`
		NextCursor *string `json:"nextCursor"`
	} `json:"pagination"`
}

// page asks once and reads the page.
func (q question) page(ctx context.Context, addr string) (answer, error) {
	var a answer
	body, err := q.ask(ctx, addr)
	if err != nil {
		return a, err
	}
	return a, json.Unmarshal(body, &a)
}

// request makes the question ready for the load generator, with the length of the answer as it is now.
func (q question) request(ctx context.Context, addr string) (load.Request, error) {
	body, err := q.ask(ctx, addr)
	return load.Request{Raw: q.raw(addr), Length: len(body)}, err
}
