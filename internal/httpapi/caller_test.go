package httpapi_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/pombal-api/pombal/internal/testkit/apitest"
)

// caller sends requests that the SDK would not, under the contract harness.
type caller struct {
	tb         testing.TB
	http       *http.Client
	url        string
	credential string
}

func newCaller(tb testing.TB, tenant *apitest.Tenant) *caller {
	tb.Helper()
	return &caller{tb: tb, http: tenant.Server.HTTP(tb), url: tenant.Server.URL, credential: tenant.Key}
}

// with returns a caller with another credential.
func (c *caller) with(credential string) *caller {
	other := *c
	other.credential = credential
	return &other
}

// result is an answer, read.
type result struct {
	status int
	header http.Header
	body   []byte
}

// code is the error code of an answer.
func (r result) code() string {
	var e struct {
		Error struct{ Code string }
	}
	_ = json.Unmarshal(r.body, &e) // no JSON, no code
	return e.Error.Code
}

// do sends one request. Headers come in pairs; empty values are left out.
func (c *caller) do(method, path, body string, headers ...string) result {
	c.tb.Helper()
	req, err := http.NewRequestWithContext(c.tb.Context(), method, c.url+path, strings.NewReader(body))
	if err != nil {
		c.tb.Fatal(err)
	}
	if c.credential != "" {
		req.Header.Set("Authorization", "Bearer "+c.credential)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i+1] != "" {
			req.Header.Set(headers[i], headers[i+1])
		}
	}
	res, err := c.http.Do(req)
	if err != nil {
		c.tb.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		c.tb.Fatalf("%s %s: %v", method, path, err)
	}
	return result{status: res.StatusCode, header: res.Header, body: text}
}

// mustSpareUnchanged wants an ETag of a path, and an empty answer to those who have it.
func (c *caller) mustSpareUnchanged(path string) (tag string) {
	c.tb.Helper()
	first := c.do(http.MethodGet, path, "")
	tag = first.header.Get("ETag")
	if first.status != http.StatusOK || tag == "" {
		c.tb.Fatalf("%s: %d, ETag %q", path, first.status, tag)
	}
	if first.header.Get("X-RateLimit-Remaining") == "" {
		c.tb.Errorf("%s: no limit headers", path)
	}
	second := c.do(http.MethodGet, path, "", "If-None-Match", `"x", W/`+tag)
	if second.status != http.StatusNotModified || len(second.body) != 0 {
		c.tb.Errorf("%s: %d with %d bytes for what has not changed", path, second.status, len(second.body))
	}
	if third := c.do(http.MethodGet, path, "", "If-None-Match", `"x"`); third.status != http.StatusOK {
		c.tb.Errorf("%s: %d for another tag", path, third.status)
	}
	return tag
}
