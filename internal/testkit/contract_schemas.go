package testkit

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// schemas holds values against the schemas of a document, as JSON Schema 2020-12, which OpenAPI 3.1 is made of. Each
// schema is compiled once, when it is first needed: that costs far more than to look at one answer.
type schemas struct {
	places map[*openapi3.SchemaRef]string

	mu       sync.Mutex
	compiler *jsonschema.Compiler
	compiled map[*openapi3.SchemaRef]*jsonschema.Schema
}

// schemasURL names the document that all schemas are put into, for their references to each other.
const schemasURL = "urn:contract"

// newSchemas takes the schemas of all answers, their headers, and the bodies of all requests.
func newSchemas(doc *openapi3.T, operations []Operation) (*schemas, error) {
	s := &schemas{
		places: map[*openapi3.SchemaRef]string{}, compiler: newCompiler(),
		compiled: map[*openapi3.SchemaRef]*jsonschema.Schema{},
	}
	var list []*openapi3.SchemaRef
	add := func(ref *openapi3.SchemaRef) {
		if _, known := s.places[ref]; ref != nil && !known {
			s.places[ref] = schemasURL + "#/schemas/" + strconv.Itoa(len(list))
			list = append(list, ref)
		}
	}
	for _, op := range operations {
		add(op.bodySchema())
		for _, response := range op.op.Responses.Map() {
			for _, media := range response.Value.Content {
				add(media.Schema)
			}
			for _, header := range response.Value.Headers {
				add(header.Value.Schema)
			}
		}
	}
	shared := map[string]any{}
	if doc.Components != nil {
		shared["schemas"] = doc.Components.Schemas
	}
	root := plainJSON(map[string]any{"components": shared, "schemas": list})
	return s, s.compiler.AddResource(schemasURL, root)
}

// check says what is wrong with a value that was decoded from JSON. Only a json.Number can be looked at for its size.
func (s *schemas) check(ref *openapi3.SchemaRef, value any) error {
	schema, err := s.compile(ref)
	if err != nil {
		return fmt.Errorf("openapi.yaml has a schema that cannot be read: %w", err)
	}
	return schema.Validate(value)
}

func (s *schemas) compile(ref *openapi3.SchemaRef) (*jsonschema.Schema, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if schema := s.compiled[ref]; schema != nil {
		return schema, nil
	}
	schema, err := s.compiler.Compile(s.places[ref])
	s.compiled[ref] = schema
	return schema, err
}

// timestamp is the only spelling of a time in our answers.
var timestamp = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`)

// newCompiler makes formats count: times with three decimals in UTC only, UUIDs of the versions that there are, and
// integers that fit, none of which the library asks for.
func newCompiler() *jsonschema.Compiler {
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	c.RegisterFormat(formatOf("date-time", func(text string) error {
		if !timestamp.MatchString(text) {
			return fmt.Errorf("%q is not of the form 2006-01-02T15:04:05.000Z", text)
		}
		_, err := time.Parse(time.RFC3339, text)
		return err
	}))
	c.RegisterFormat(formatOf("uuid", openapi3.NewRegexpFormatValidator(openapi3.FormatOfStringForUUIDOfRFC9562).Validate))
	c.RegisterFormat(formatOf("int64", func(n json.Number) error {
		_, err := n.Int64()
		return err
	}))
	return c
}

// formatOf is a format of the values of one type.
func formatOf[T any](name string, check func(T) error) *jsonschema.Format {
	return &jsonschema.Format{Name: name, Validate: func(value any) error {
		if typed, ok := value.(T); ok {
			return check(typed)
		}
		return nil
	}}
}
