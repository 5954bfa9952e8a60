package testkit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Transport returns a round tripper that holds every answer against the document and
// reports each difference to the test. A nil base means http.DefaultTransport.
//
// JSON answers are read as a whole; of other content (pages, YAML, event streams) only
// the status, the headers and the content type are looked at. An answer of a route that
// is not documented may only be an error that says so.
func (c *Contract) Transport(base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		res, err := base.RoundTrip(req)
		if err != nil {
			return nil, err
		}
		c.check(req, res)
		return res, nil
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// check reads a JSON body, leaves a copy of it in the response, and reports what is wrong.
func (c *Contract) check(req *http.Request, res *http.Response) {
	c.tb.Helper()
	var body []byte
	if isJSON(res.Header) {
		var err error
		if body, err = io.ReadAll(res.Body); err != nil {
			// A cut connection is the caller's to notice where it reads.
			res.Body = readCloser{io.MultiReader(bytes.NewReader(body), failingReader{err}), res.Body}
			return
		}
		_ = res.Body.Close()
		res.Body = io.NopCloser(bytes.NewReader(body))
	}
	if err := c.Check(req, res.StatusCode, res.Header, body); err != nil {
		c.tb.Errorf("%s %s answered %d, which openapi.yaml does not allow: %v\n%s",
			req.Method, req.URL.RequestURI(), res.StatusCode, err, clip(body, 2000))
	}
}

// Check holds one answer against the document and records it. The body counts only
// when the content type is JSON.
func (c *Contract) Check(req *http.Request, status int, header http.Header, body []byte) error {
	op, ok := c.find(req.Method, req.URL.EscapedPath())
	if !ok {
		return checkUndocumented(req.Method, status)
	}
	c.record(op.ID, status, body)
	if !slices.Contains(op.Statuses, status) {
		return fmt.Errorf("%s does not document this status, only %v", op.ID, op.Statuses)
	}
	response := op.op.Responses.Status(status).Value
	if err := c.checkHeaders(response, header); err != nil {
		return err
	}
	if req.Method == http.MethodHead {
		return nil
	}
	if len(response.Content) == 0 {
		if length := header.Get("Content-Length"); len(body) > 0 || (length != "" && length != "0" && status != http.StatusNotModified) {
			return errors.New("this status has no body, but one came")
		}
	}
	return c.checkBody(response, header, body)
}

// checkUndocumented judges the answer of a route that the document does not have.
func checkUndocumented(method string, status int) error {
	switch {
	case method == http.MethodOptions: // preflights are the browser's, not the API's
	case status == http.StatusNotFound, status == http.StatusMethodNotAllowed:
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
	default:
		return errors.New("the document has no such operation")
	}
	return nil
}

// checkBody holds the body of an answer against the schema of its content type.
func (c *Contract) checkBody(response *openapi3.Response, header http.Header, body []byte) error {
	if len(response.Content) == 0 {
		return nil
	}
	media := response.Content.Get(header.Get("Content-Type"))
	if media == nil {
		return fmt.Errorf("the content type %q is not documented for this answer", header.Get("Content-Type"))
	}
	if media.Schema == nil || !isJSON(header) {
		return nil
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("decode the body: %w", err)
	}
	return c.schemas.check(media.Schema, value)
}

// checkHeaders refuses a header that the document knows from elsewhere but not here, and one that is missing or does
// not have the value that it should.
func (c *Contract) checkHeaders(response *openapi3.Response, header http.Header) error {
	for name := range header {
		if !c.headers[name] {
			continue
		}
		documented := slices.ContainsFunc(slices.Collect(mapKeys(response.Headers)), func(known string) bool {
			return http.CanonicalHeaderKey(known) == name
		})
		if !documented {
			return fmt.Errorf("the header %s is not documented for this answer", name)
		}
	}
	for name, ref := range response.Headers {
		if err := c.checkHeader(name, ref.Value, header); err != nil {
			return err
		}
	}
	return nil
}

// checkHeader holds one documented header against its schema.
func (c *Contract) checkHeader(name string, documented *openapi3.Header, header http.Header) error {
	values := header.Values(name)
	switch {
	case len(values) == 0 && documented.Required:
		return fmt.Errorf("the header %s is missing", name)
	case len(values) == 0 || documented.Schema == nil:
		return nil
	case len(values) > 1:
		return fmt.Errorf("the header %s comes %d times", name, len(values))
	}
	var value any = values[0]
	if !documented.Schema.Value.Type.Permits(openapi3.TypeString) { // then its text is that of the JSON
		if decoded, err := jsonschema.UnmarshalJSON(strings.NewReader(values[0])); err == nil {
			value = decoded
		}
	}
	if err := c.schemas.check(documented.Schema, value); err != nil {
		return fmt.Errorf("the header %s: %w", name, err)
	}
	return nil
}

// find returns the operation of a request. A path without parameters wins over one with, also for the methods that
// it does not have (OpenAPI 3.1, 4.8.8.2: such a path is matched first).
func (c *Contract) find(method, path string) (op Operation, ok bool) {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	concrete := slices.ContainsFunc(c.operations, func(o Operation) bool { return o.Path == path })
	fewest := 0
	for _, candidate := range c.operations {
		if candidate.Method != method || concrete && candidate.Path != path {
			continue
		}
		params, matches := matchPath(candidate.Path, path)
		if matches && (!ok || params < fewest) {
			op, fewest, ok = candidate, params, true
		}
	}
	return op, ok
}

// matchPath compares a path with a documented one, segment by segment, and counts the parameters.
func matchPath(pattern, path string) (params int, ok bool) {
	want, got := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(want) != len(got) {
		return 0, false
	}
	for i, segment := range want {
		switch {
		case strings.HasPrefix(segment, "{") && got[i] != "":
			params++
		case segment != got[i]:
			return 0, false
		}
	}
	return params, true
}

// record notes what was seen, with the code of an error.
func (c *Contract) record(operationID string, status int, body []byte) {
	c.seen.mu.Lock()
	defer c.seen.mu.Unlock()
	c.seen.statuses[sighting{operationID, status}]++
	var failure struct {
		Error struct {
			Code string `json:"code"`
		} `json:"error"`
	}
	if status >= 400 && json.Unmarshal(body, &failure) == nil && failure.Error.Code != "" {
		c.seen.codes[failure.Error.Code] = true
	}
}

func isJSON(header http.Header) bool {
	media, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	return err == nil && (media == "application/json" || strings.HasSuffix(media, "+json"))
}

func clip(body []byte, limit int) string {
	if len(body) > limit {
		return string(body[:limit]) + "…"
	}
	return string(body)
}

type readCloser struct {
	io.Reader
	io.Closer
}

type failingReader struct{ err error }

// Read implements io.Reader.
func (r failingReader) Read([]byte) (int, error) { return 0, r.err }
