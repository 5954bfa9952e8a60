package testkit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
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
	op, params, ok := c.find(req.Method, req.URL.EscapedPath())
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
	input := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{
			Request: req, PathParams: params,
			Route: &routers.Route{Spec: c.doc, Path: op.Path, Method: op.Method, Operation: op.op},
		},
		Status: status, Header: header,
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true, SchemaValidationOptions: schemaOptions()},
	}
	return openapi3filter.ValidateResponse(context.WithoutCancel(req.Context()), input.SetBodyBytes(body))
}

//nolint:gochecknoinits // the library keeps its decoders in a table of its own
func init() {
	// What has no end cannot be decoded; that it is text is all there is to check.
	openapi3filter.RegisterBodyDecoder("text/event-stream", openapi3filter.PlainBodyDecoder)
}

// timestamp is the only spelling of a time in our answers.
var timestamp = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`)

// schemaOptions makes formats count, and times count only with three decimals in UTC.
func schemaOptions() []openapi3.SchemaValidationOption {
	return []openapi3.SchemaValidationOption{
		openapi3.EnableFormatValidation(),
		openapi3.SetSchemaErrorMessageCustomizer(reason),
		openapi3.WithStringFormatValidator("date-time", openapi3.NewCallbackValidator(func(value string) error {
			if !timestamp.MatchString(value) {
				return fmt.Errorf("%q is not of the form 2006-01-02T15:04:05.000Z", value)
			}
			_, err := time.Parse(time.RFC3339, value)
			return err
		})),
		openapi3.WithStringFormatValidator("uuid", openapi3.NewRegexpFormatValidator(openapi3.FormatOfStringForUUIDOfRFC9562)),
	}
}

// reason leaves the schema and the value out of an error: the answer is printed anyway.
func reason(err *openapi3.SchemaError) string {
	return "/" + strings.Join(err.JSONPointer(), "/") + ": " + err.Reason
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

// checkHeaders refuses a header that the document knows from elsewhere but not here.
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
	return nil
}

// find returns the operation of a request. A path without parameters wins over one with, also for the methods that
// it does not have (OpenAPI 3.1, 4.8.8.2: such a path is matched first).
func (c *Contract) find(method, path string) (op Operation, params map[string]string, ok bool) {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	concrete := slices.ContainsFunc(c.operations, func(o Operation) bool { return o.Path == path })
	for _, candidate := range c.operations {
		if candidate.Method != method || concrete && candidate.Path != path {
			continue
		}
		got, matches := matchPath(candidate.Path, path)
		if matches && (!ok || len(got) < len(params)) {
			op, params, ok = candidate, got, true
		}
	}
	return op, params, ok
}

// matchPath compares a path with a documented one, segment by segment.
func matchPath(pattern, path string) (params map[string]string, ok bool) {
	want, got := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(want) != len(got) {
		return nil, false
	}
	params = map[string]string{}
	for i, segment := range want {
		name, isParam := strings.CutPrefix(segment, "{")
		switch {
		case isParam && got[i] != "":
			params[strings.TrimSuffix(name, "}")] = got[i]
		case segment != got[i]:
			return nil, false
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
