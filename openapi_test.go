package pombal_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	pombal "github.com/pombal-api/pombal"
)

func load(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(pombal.OpenAPI)
	if err != nil {
		t.Fatalf("openapi.yaml does not load: %v", err)
	}
	return doc
}

func TestDocument_IsValid(t *testing.T) {
	t.Parallel()
	if err := load(t).Validate(t.Context(), openapi3.EnableSchemaFormatValidation()); err != nil {
		t.Fatalf("openapi.yaml is not valid: %v", err)
	}
}

// The loader checks some examples; this visits all of them: of parameters,
// headers, bodies and schemas, and the defaults.
func TestDocument_EveryExampleFitsItsSchema(t *testing.T) {
	t.Parallel()
	doc := load(t)
	seen := 0
	check := func(where string, schema *openapi3.SchemaRef, values ...any) {
		for _, value := range values {
			if value == nil {
				continue
			}
			seen++
			if err := fits(schema, value); err != nil {
				t.Errorf("%s: %v", where, err)
			}
		}
	}
	for name, schema := range doc.Components.Schemas {
		visitSchema("schema "+name, schema, func(where string, s *openapi3.SchemaRef) {
			check(where, s, append(slices.Clone(s.Value.Examples), s.Value.Example, s.Value.Default)...)
		})
	}
	for name, header := range doc.Components.Headers {
		check("header "+name, header.Value.Schema, header.Value.Example)
	}
	for where, parameter := range parameters(doc) {
		check(where, parameter.Schema, append(values(parameter.Examples), parameter.Example, parameter.Schema.Value.Default)...)
	}
	for where, media := range bodies(doc) {
		if media.Schema != nil {
			check(where, media.Schema, append(values(media.Examples), media.Example)...)
		}
	}
	if seen < 200 {
		t.Errorf("only %d examples were seen; the walk misses some", seen)
	}
}

// fits checks a value as JSON would carry it.
func fits(schema *openapi3.SchemaRef, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, &value); err != nil {
		return err
	}
	return schema.Value.VisitJSON(value, openapi3.EnableJSONSchema2020(), openapi3.EnableFormatValidation(), openapi3.MultiErrors())
}

// A check that lets everything pass would make the test above worthless.
func TestDocument_ExamplesAreReallyChecked(t *testing.T) {
	t.Parallel()
	schemas := load(t).Components.Schemas
	tests := []struct {
		schema string
		value  any
	}{
		{"InstanceId", "inst_abc123"},
		{"InstanceId", "inst_81kdwfzy80e17b5410xamp3tcx"}, // more than 128 bits
		{"Acknowledgement", map[string]any{"success": false, "message": "no"}},
		{"Acknowledgement", map[string]any{"success": true, "message": "yes", "more": 1}},
		{"Acknowledgement", map[string]any{"success": true}},
		{"CreateInstance", map[string]any{"name": "line\nbreak"}},
		{"CreateInstance", map[string]any{"name": "a", "webhookEvents": []any{"message.sent", "message.sent"}}},
		{"UpdateInstance", map[string]any{"name": nil}},
		{"InstanceHealth", map[string]any{"uptime": 1.5, "latency": nil, "messageDeliveryRate": nil}},
		{"InstanceHealth", map[string]any{"uptime": 1, "latency": nil, "messageDeliveryRate": 1.1}},
	}
	for _, tt := range tests {
		if err := fits(schemas[tt.schema], tt.value); err == nil {
			t.Errorf("%v passes for %s", tt.value, tt.schema)
		}
	}
}

// An object that allows unknown fields hides mistakes, in answers as in requests.
func TestDocument_ObjectsAreClosed(t *testing.T) {
	t.Parallel()
	for name, schema := range load(t).Components.Schemas {
		visitSchema(name, schema, func(where string, s *openapi3.SchemaRef) {
			if !s.Value.Type.Is(openapi3.TypeObject) {
				return
			}
			// What an event tells depends on its type, and grows.
			if allowed := s.Value.AdditionalProperties.Has; where != "Event.data" && (allowed == nil || *allowed) {
				t.Errorf("%s allows unknown fields", where)
			}
			for field := range s.Value.Properties {
				if p := s.Value.Properties[field]; p.Ref == "" && p.Value.Description == "" {
					t.Errorf("%s.%s has no description", where, field)
				}
			}
		})
	}
}

// What every operation must say, so that a reader can use it without asking.
func TestDocument_OperationsAreComplete(t *testing.T) {
	t.Parallel()
	tags := map[string]bool{}
	doc := load(t)
	for _, tag := range doc.Tags {
		tags[tag.Name] = true
	}
	ids := map[string]string{}
	for where, op := range operations(doc) {
		if other, taken := ids[op.OperationID]; taken || op.OperationID == "" {
			t.Errorf("%s: the id %q is empty or that of %s", where, op.OperationID, other)
		}
		ids[op.OperationID] = where
		for _, problem := range op.incomplete(tags) {
			t.Errorf("%s %s", where, problem)
		}
	}
}

// incomplete returns what the operation fails to say.
func (op operation) incomplete(tags map[string]bool) []string {
	var problems []string
	complain := func(bad bool, format string, args ...any) {
		if bad {
			problems = append(problems, fmt.Sprintf(format, args...))
		}
	}
	complain(op.Summary == "" || len(op.Description) < 60, "has no summary, or a description that teaches nothing")
	complain(len(op.Tags) != 1 || !tags[op.Tags[0]], "has not exactly one known tag: %v", op.Tags)
	complain(op.Security == nil, "says nothing about credentials")
	for _, status := range op.expectedStatuses() {
		complain(op.Responses.Value(status) == nil, "does not document the answer %s", status)
	}
	for status, res := range op.Responses.Map() {
		complain(res.Value.Headers["X-Request-Id"] == nil, "%s does not document X-Request-Id", status)
		_, waits := res.Value.Headers["Retry-After"]
		complain((status == "429" || status == "503") && !waits, "%s does not document Retry-After", status)
		for kind, media := range res.Value.Content {
			complain(media.Example == nil && len(media.Examples) == 0, "%s has no example of %s", status, kind)
		}
	}
	if op.RequestBody != nil {
		media := op.RequestBody.Value.Content["application/json"]
		complain(media == nil || (media.Example == nil && len(media.Examples) == 0), "has no example of its body")
	}
	return problems
}

// expectedStatuses returns the errors that the operation must document, by what
// it takes.
func (op operation) expectedStatuses() []string {
	if op.Security == nil || len(*op.Security) == 0 {
		return nil
	}
	expected := []string{"400", "401", "429", "500", "503"}
	if strings.HasPrefix(op.path, "/v1/") {
		expected = append(expected, "403")
	}
	if op.RequestBody != nil {
		expected = append(expected, "413", "415")
	}
	byHeader := map[string][]string{
		"X-Account-Id":    {"404"},
		"Idempotency-Key": {"409", "422"},
		"If-Match":        {"412"},
		"If-None-Match":   {"304"},
	}
	for _, p := range op.parameters() {
		if p.In == openapi3.ParameterInPath {
			expected = append(expected, "404")
		}
		expected = append(expected, byHeader[p.Name]...)
	}
	return expected
}

// The scopes that operations need are scopes that keys can have.
func TestDocument_ScopesExist(t *testing.T) {
	t.Parallel()
	doc := load(t)
	for where, op := range operations(doc) {
		for _, requirement := range *op.Security {
			for scheme, scopes := range requirement {
				if doc.Components.SecuritySchemes[scheme] == nil {
					t.Errorf("%s uses the unknown scheme %s", where, scheme)
				}
				for _, scope := range scopes {
					if err := fits(doc.Components.Schemas["Scope"], scope); err != nil {
						t.Errorf("%s: %v", where, err)
					}
				}
			}
		}
	}
}

// The error examples belong to the status that they stand under.
func TestDocument_ErrorExamplesHaveKnownCodes(t *testing.T) {
	t.Parallel()
	statuses := map[string]string{
		"invalid_parameters": "400", "invalid_webhook_url": "400", "invalid_phone_number": "400",
		"missing_api_key": "401", "invalid_api_key": "401", "expired_api_key": "401",
		"insufficient_permissions": "403",
		"instance_not_found":       "404", "api_key_not_found": "404", "account_not_found": "404",
		"webhook_not_found": "404", "delivery_not_found": "404", "event_not_found": "404",
		"webhook_limit_reached": "409", "webhook_of_instance": "409", "webhook_disabled": "409",
		"idempotency_in_progress": "409", "instance_limit_reached": "409", "external_id_in_use": "409",
		"already_connected": "409", "instance_not_connected": "409", "official_api_instance": "409",
		"precondition_failed": "412", "payload_too_large": "413", "unsupported_media_type": "415",
		"idempotency_key_reused": "422", "rate_limit_exceeded": "429", "internal_error": "500", "unavailable": "503",
	}
	shown := map[string]bool{}
	for where, op := range operations(load(t)) {
		for status, res := range op.Responses.Map() {
			for _, media := range res.Value.Content {
				for _, code := range codes(append(values(media.Examples), media.Example)) {
					shown[code] = true
					if statuses[code] != status {
						t.Errorf("%s: %s stands under %s, want %q", where, code, status, statuses[code])
					}
				}
			}
		}
	}
	for code := range statuses {
		if !shown[code] {
			t.Errorf("no operation shows %s", code)
		}
	}
}

// codes returns the error codes of those values that are error envelopes.
func codes(examples []any) []string {
	var found []string
	for _, example := range examples {
		envelope, _ := example.(map[string]any)
		body, _ := envelope["error"].(map[string]any)
		if code, ok := body["code"].(string); ok {
			found = append(found, code)
		}
	}
	return found
}

// Hints for one language belong in that language's overlay.
func TestDocument_HasNoHintsForGo(t *testing.T) {
	t.Parallel()
	if hint := regexp.MustCompile(`(?m)^\s*x-[a-z-]+:`).Find(pombal.OpenAPI); hint != nil {
		t.Errorf("openapi.yaml has the extension %q", hint)
	}
}

// operation is an operation with its place.
type operation struct {
	*openapi3.Operation
	path string
	item *openapi3.PathItem
}

// parameters returns those of the operation and of its path.
func (op operation) parameters() []*openapi3.Parameter {
	var all []*openapi3.Parameter
	for _, ref := range slices.Concat(op.item.Parameters, op.Parameters) {
		all = append(all, ref.Value)
	}
	return all
}

// operations returns all operations by method and path.
func operations(doc *openapi3.T) map[string]operation {
	all := map[string]operation{}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			all[method+" "+path] = operation{op, path, item}
		}
	}
	return all
}

// parameters returns all parameters by the operations that take them.
func parameters(doc *openapi3.T) map[string]*openapi3.Parameter {
	all := map[string]*openapi3.Parameter{}
	for where, op := range operations(doc) {
		for _, p := range op.parameters() {
			all[where+" "+p.Name] = p
		}
	}
	return all
}

// bodies returns the bodies of all requests and answers by where they are.
func bodies(doc *openapi3.T) map[string]*openapi3.MediaType {
	all := map[string]*openapi3.MediaType{}
	for where, op := range operations(doc) {
		if op.RequestBody != nil {
			maps.Copy(all, prefixed(where+" request ", op.RequestBody.Value.Content))
		}
		for status, res := range op.Responses.Map() {
			maps.Copy(all, prefixed(where+" "+status+" ", res.Value.Content))
		}
	}
	return all
}

func prefixed(prefix string, content openapi3.Content) map[string]*openapi3.MediaType {
	all := map[string]*openapi3.MediaType{}
	for kind, media := range content {
		all[prefix+kind] = media
	}
	return all
}

func values(examples openapi3.Examples) []any {
	all := make([]any, 0, len(examples))
	for _, example := range examples {
		all = append(all, example.Value.Value)
	}
	return all
}

// visitSchema visits a schema and those inside it, except by reference.
func visitSchema(where string, ref *openapi3.SchemaRef, visit func(string, *openapi3.SchemaRef)) {
	visit(where, ref)
	for name, property := range ref.Value.Properties {
		if property.Ref == "" {
			visitSchema(where+"."+name, property, visit)
		}
	}
	if items := ref.Value.Items; items != nil && items.Ref == "" {
		visitSchema(where+"[]", items, visit)
	}
}
