package testkit

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

// Contract holds HTTP answers against an OpenAPI document and remembers what it saw.
// Load it once for a package, bind it to each test with For, and let every client of
// the tests use its Transport.
type Contract struct {
	tb         testing.TB
	doc        *openapi3.T
	operations []Operation
	headers    map[string]bool // canonical names of all headers that the document knows
	schemas    *schemas
	seen       *sightings
}

// sightings is what the tests of a package have seen, together.
type sightings struct {
	mu       sync.Mutex
	statuses map[sighting]int
	codes    map[string]bool
}

type sighting struct {
	operation string
	status    int
}

// LoadContract reads and checks an OpenAPI document, its examples included. From then
// on every object in it admits only the fields that it names, so that an undocumented
// field is an error. The result must be bound to a test with For before use.
func LoadContract(spec []byte) (*Contract, error) {
	doc, err := openapi3.NewLoader().LoadFromData(spec)
	if err != nil {
		return nil, fmt.Errorf("read the OpenAPI document: %w", err)
	}
	if err = doc.Validate(context.Background(), openapi3.EnableExamplesValidation()); err != nil {
		return nil, fmt.Errorf("the OpenAPI document is not valid: %w", err)
	}
	if err = doc.WalkSchemas(closeObject); err != nil {
		return nil, err
	}
	c := &Contract{doc: doc, headers: map[string]bool{}}
	c.seen = &sightings{statuses: map[sighting]int{}, codes: map[string]bool{}}
	err = c.collect()
	if err == nil {
		c.schemas, err = newSchemas(doc, c.operations)
	}
	return c, err
}

// NewContract is LoadContract bound to a test, which fails if the document is bad.
func NewContract(tb testing.TB, spec []byte) *Contract {
	tb.Helper()
	c, err := LoadContract(spec)
	if err != nil {
		tb.Fatal(err)
	}
	return c.For(tb)
}

// For returns the contract reporting to another test. What the tests see is recorded
// together.
func (c *Contract) For(tb testing.TB) *Contract {
	bound := *c
	bound.tb = tb
	return &bound
}

// closeObject forbids the fields that an object does not name.
func closeObject(_ string, ref *openapi3.SchemaRef) error {
	schema := ref.Value
	open := schema.AdditionalProperties.Has == nil && schema.AdditionalProperties.Schema == nil
	if open && len(schema.Properties) > 0 && len(schema.AllOf) == 0 {
		schema.AdditionalProperties = openapi3.BoolSchema{Has: new(bool)}
	}
	return nil
}

// Operation is one operation of the document.
type Operation struct {
	// ID is the operationId.
	ID string
	// Method is in upper case.
	Method string
	// Path is as documented, "/v1/instances/{instanceId}".
	Path string
	// Schemes names the security schemes that are accepted; empty means none is needed.
	Schemes []string
	// Scopes lists the scopes that a credential needs, all of them.
	Scopes []string
	// PathParams and QueryParams name the parameters in the document's order.
	PathParams, QueryParams []string
	// HasBody tells whether a request body is documented.
	HasBody bool
	// TenantObject is what the last path parameter identifies: "Instance" for
	// {instanceId} with the schema InstanceId. It is empty without such a parameter.
	TenantObject string
	// IDs lists every place of the request where the id of a tenant's object may stand.
	IDs []IDPosition
	// Statuses lists the documented HTTP statuses, ascending.
	Statuses []int

	params openapi3.Parameters
	op     *openapi3.Operation
}

// IDPosition is a place in a request for the id of a tenant's object.
type IDPosition struct {
	// In is "path", "query", "header" or "body".
	In string
	// Name is that of the parameter or body field.
	Name string
	// Object is what it identifies: "Instance", "Account", …
	Object string
}

// Operations lists the operations of the document by path and method.
func (c *Contract) Operations() []Operation { return slices.Clone(c.operations) }

// Operation returns the operation with this id; the test fails if there is none.
func (c *Contract) Operation(id string) Operation {
	c.tb.Helper()
	for _, op := range c.operations {
		if op.ID == id {
			return op
		}
	}
	c.tb.Fatalf("openapi.yaml has no operation %s", id)
	return Operation{}
}

// URL returns the path of the operation with its parameters filled in, from values or
// else from the document's examples.
func (o Operation) URL(values map[string]string) string {
	path := o.Path
	for _, p := range o.params {
		if p.Value.In != openapi3.ParameterInPath {
			continue
		}
		value, ok := values[p.Value.Name]
		if !ok {
			value = example(p.Value)
		}
		path = strings.ReplaceAll(path, "{"+p.Value.Name+"}", url.PathEscape(value))
	}
	return path
}

// example returns a valid value of a parameter as text, or "" if it documents none.
func example(p *openapi3.Parameter) string {
	if p.Example != nil {
		return fmt.Sprint(p.Example)
	}
	for _, name := range slices.Sorted(mapKeys(p.Examples)) {
		return fmt.Sprint(p.Examples[name].Value.Value)
	}
	return ""
}

// Seen returns how often the operation answered with the status.
func (c *Contract) Seen(operationID string, status int) int {
	c.seen.mu.Lock()
	defer c.seen.mu.Unlock()
	return c.seen.statuses[sighting{operationID, status}]
}

// SeenCodes lists the codes of all errors seen (error.code in the body), sorted.
func (c *Contract) SeenCodes() []string {
	c.seen.mu.Lock()
	defer c.seen.mu.Unlock()
	return slices.Sorted(mapKeys(c.seen.codes))
}

// Uncovered2xx lists the documented successes that no test has seen, as "listInstances 200".
func (c *Contract) Uncovered2xx() []string {
	return c.uncovered(func(status int) bool { return status >= 200 && status < 300 })
}

// UncoveredErrors lists the documented failures that no test has seen, as
// "getInstance 404". A 500 is documented and must never happen, so it is not listed.
func (c *Contract) UncoveredErrors() []string {
	return c.uncovered(func(status int) bool { return status >= 400 && status != 500 })
}

func (c *Contract) uncovered(wanted func(status int) bool) []string {
	var missing []string
	for _, op := range c.operations {
		for _, status := range op.Statuses {
			if wanted(status) && c.Seen(op.ID, status) == 0 {
				missing = append(missing, fmt.Sprintf("%s %d", op.ID, status))
			}
		}
	}
	return missing
}
