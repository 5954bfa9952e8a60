package testkit

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// BoundaryCase is a query that lies just inside or just outside what is documented.
type BoundaryCase struct {
	// Name says what is special, "limit above the maximum".
	Name string
	// Query is what to send; required parameters have their example.
	Query url.Values
	// Valid tells what to expect: true is any answer but 400, false is 400.
	Valid bool
	// Derived tells that the case comes from a rule for all parameters (repeated or
	// unknown names are refused) and not from the schema of one.
	Derived bool
}

// BoundaryCases derives the cases of an operation's query parameters: below the minimum,
// above the maximum, none of the values, of another type, empty, repeated and
// unknown, which must be refused; and the minimum, the maximum and each listed value.
func (c *Contract) BoundaryCases(op Operation) []BoundaryCase {
	base := url.Values{}
	for _, p := range op.params {
		if p.Value.In == openapi3.ParameterInQuery && p.Value.Required {
			base.Set(p.Value.Name, example(p.Value))
		}
	}
	var cases []BoundaryCase
	add := func(name string, valid, derived bool, param string, values ...string) {
		query := url.Values{}
		for key := range base {
			query[key] = base[key]
		}
		query[param] = values
		cases = append(cases, BoundaryCase{Name: name, Query: query, Valid: valid, Derived: derived})
	}
	for _, p := range op.params {
		if p.Value.In != openapi3.ParameterInQuery {
			continue
		}
		name := p.Value.Name
		for _, v := range queryValues(p.Value) {
			add(name+" "+v.what, v.valid, false, name, v.text)
		}
		add(name+" repeated", false, true, name, example(p.Value), example(p.Value))
	}
	if len(op.QueryParams) > 0 {
		add("unknown parameter", false, true, "noSuchParameter", "1")
	}
	return cases
}

type queryValue struct {
	what, text string
	valid      bool
}

// queryValues lists the interesting values of a parameter.
func queryValues(p *openapi3.Parameter) []queryValue {
	schema := p.Schema.Value
	values := []queryValue{}
	if !p.AllowEmptyValue {
		values = append(values, queryValue{"empty", "", false})
	}
	switch {
	case len(schema.Enum) > 0:
		values = append(values, enumValues(schema)...)
	case schema.Type.Is(openapi3.TypeInteger):
		values = append(values, integerValues(schema)...)
	case schema.Type.Is(openapi3.TypeBoolean):
		values = append(values, queryValue{"no boolean", "maybe", false},
			queryValue{"true", "true", true}, queryValue{"false", "false", true})
	case schema.Type.Is(openapi3.TypeString):
		values = append(values, textValues(schema)...)
	}
	return values
}

func enumValues(schema *openapi3.Schema) []queryValue {
	values := []queryValue{
		{"none of the values", "no-such-value", false},
		{"in upper case", strings.ToUpper(fmt.Sprint(schema.Enum[0])), false},
	}
	for _, v := range schema.Enum {
		values = append(values, queryValue{fmt.Sprint(v), fmt.Sprint(v), true})
	}
	return values
}

func integerValues(schema *openapi3.Schema) []queryValue {
	values := []queryValue{
		{"no number", "abc", false}, {"a fraction", "1.5", false}, {"an exponent", "1e1", false},
		{"in hexadecimal", "0x10", false}, {"beyond 64 bits", "9223372036854775808", false},
	}
	if schema.Min != nil {
		least := int64(*schema.Min)
		values = append(values, queryValue{"below the minimum", strconv.FormatInt(least-1, 10), false},
			queryValue{"at the minimum", strconv.FormatInt(least, 10), true})
	}
	if schema.Max != nil {
		most := int64(*schema.Max)
		values = append(values, queryValue{"above the maximum", strconv.FormatInt(most+1, 10), false},
			queryValue{"at the maximum", strconv.FormatInt(most, 10), true})
	}
	return values
}

// textValues has no valid values for texts with a pattern or a format: one that fits the
// pattern may still be wrong, as a cursor that nobody has issued.
func textValues(schema *openapi3.Schema) []queryValue {
	var values []queryValue
	free := schema.Pattern == "" && schema.Format == ""
	if schema.MinLength > 0 && free {
		values = append(values, queryValue{"as short as allowed", strings.Repeat("a", int(schema.MinLength)), true})
	}
	if schema.MaxLength != nil {
		most := int(*schema.MaxLength)
		values = append(values, queryValue{"too long", strings.Repeat("a", most+1), false})
		if free {
			values = append(values, queryValue{"as long as allowed", strings.Repeat("a", most), true})
		}
	}
	if schema.Pattern != "" {
		if pattern, err := regexp.Compile(schema.Pattern); err == nil && !pattern.MatchString("!\x01") {
			values = append(values, queryValue{"against the pattern", "!\x01", false})
		}
	}
	return values
}

// BodyCase is a JSON body that lies just inside or just outside what is documented.
type BodyCase struct {
	// Name says what is special, "settings.autoRead of another type".
	Name string
	// Body is the JSON to send.
	Body []byte
	// Valid tells what to expect: true is any answer but 400, false is 400.
	Valid bool
}

// BodyCases derives the cases of an operation's JSON body from its largest example:
// each field absent, null, of other types, too short, too long, out of bounds, and
// an unknown field in each object. The schema itself says which of them are
// valid; of those only the bounds and the listed values are kept.
func (c *Contract) BodyCases(op Operation) []BodyCase {
	c.tb.Helper()
	schema := op.bodySchema()
	if schema == nil {
		return nil
	}
	g := caseMaker{base: c.largestExample(op), check: func(body any) error { return c.schemas.check(schema, plainJSON(body)) }}
	if err := g.check(g.base); err != nil {
		c.tb.Fatalf("the example of %s is not valid: %v", op.ID, err)
	}
	for _, whole := range []any{nil, "text", 5, true, []any{}} {
		g.try(fmt.Sprintf("the body is %v", whole), whole, false)
	}
	g.object("", schema.Value)
	for i, example := range c.examples(op) {
		g.try(fmt.Sprintf("example %d", i+1), example, true)
	}
	return g.cases
}

// largestExample returns the request example with the most fields.
func (c *Contract) largestExample(op Operation) map[string]any {
	c.tb.Helper()
	largest := map[string]any{}
	for _, example := range c.examples(op) {
		if len(example) > len(largest) {
			largest = example
		}
	}
	return largest
}

// examples returns the request examples in the order of their names.
func (c *Contract) examples(op Operation) (objects []map[string]any) {
	media := op.op.RequestBody.Value.Content["application/json"]
	candidates := []any{media.Example}
	for _, name := range slices.Sorted(mapKeys(media.Examples)) {
		candidates = append(candidates, media.Examples[name].Value.Value)
	}
	for _, candidate := range candidates {
		if object, ok := candidate.(map[string]any); ok {
			objects = append(objects, object)
		}
	}
	return objects
}

// caseMaker varies one field of a valid body at a time.
type caseMaker struct {
	base  map[string]any
	check func(body any) error // against the schema
	cases []BodyCase
}

// object varies the fields of the object at a dotted path, and of the objects in it.
func (g *caseMaker) object(path string, schema *openapi3.Schema) {
	g.set("unknown field in "+cmp.Or(path, "the body"), join(path, "noSuchField"), 1, false)
	for _, name := range schema.Required {
		g.try(join(path, name)+" absent", g.without(join(path, name)), false)
	}
	for _, name := range slices.Sorted(mapKeys(schema.Properties)) {
		field := join(path, name)
		ref := schema.Properties[name]
		for _, other := range []any{nil, 5, 1.5, true, []any{}, []any{nil}, map[string]any{}} {
			g.set(fmt.Sprintf("%s is %v", field, other), field, other, false)
		}
		if idObject(ref) == "" && (ref.Value.Items == nil || idObject(ref.Value.Items) == "") {
			g.values(field, ref.Value)
		}
		if len(ref.Value.Properties) > 0 {
			g.object(field, ref.Value)
		}
	}
}

// values varies a field that is no id: which ids exist is not for the schema to say.
func (g *caseMaker) values(field string, schema *openapi3.Schema) {
	switch {
	case len(schema.Enum) > 0:
		g.set(field+" none of the values", field, "no-such-value", false)
		for _, v := range schema.Enum {
			g.set(fmt.Sprintf("%s %v", field, v), field, v, true)
		}
	case schema.Type.Permits(openapi3.TypeInteger):
		for _, v := range integerValues(schema) {
			if n, err := strconv.ParseInt(v.text, 10, 64); err == nil {
				g.set(field+" "+v.what, field, n, true)
			}
		}
	case schema.Type.Permits(openapi3.TypeString):
		for _, v := range append(textValues(schema), queryValue{"empty", "", false}, queryValue{"with NUL", "a\x00b", false}) {
			g.set(field+" "+v.what, field, v.text, v.valid)
		}
		if schema.MaxLength != nil && schema.Pattern != "" && schema.Format == "" {
			g.set(field+" as long as allowed", field, strings.Repeat("a", int(*schema.MaxLength)), true)
		}
	case schema.Type.Permits(openapi3.TypeArray):
		g.list(field, schema)
	}
}

func (g *caseMaker) list(field string, schema *openapi3.Schema) {
	g.set(field+" of texts that do not exist", field, []any{"no-such-value"}, false)
	values := schema.Items.Value.Enum
	if len(values) == 0 {
		return
	}
	g.set(field+" repeated", field, []any{values[0], values[0]}, false)
	g.set(field+" in upper case", field, []any{strings.ToUpper(fmt.Sprint(values[0]))}, false)
	g.set(field+" with each value", field, values, true)
}

// set adds the case of a body with another value in one field.
func (g *caseMaker) set(name, field string, value any, keepValid bool) {
	body := plainJSON(g.base)
	object, last := parent(body, field)
	object[last] = value
	g.try(name, body, keepValid)
}

func (g *caseMaker) without(field string) map[string]any {
	body := plainJSON(g.base)
	object, last := parent(body, field)
	delete(object, last)
	return body
}

// try adds the case if the schema refuses the body, or accepts it and keepValid is set.
func (g *caseMaker) try(name string, body any, keepValid bool) {
	raw, err := json.Marshal(body)
	if err != nil {
		panic("testkit: a value from the document is no JSON: " + err.Error())
	}
	invalid := g.check(body)
	if invalid != nil || keepValid {
		g.cases = append(g.cases, BodyCase{Name: name, Body: raw, Valid: invalid == nil})
	}
}

// plainJSON returns a deep copy of a value with the types that JSON gives.
func plainJSON[T any](value T) T {
	var plain T
	raw, err := json.Marshal(value)
	if err == nil {
		err = json.Unmarshal(raw, &plain)
	}
	if err != nil {
		panic("testkit: a value from the document is no JSON: " + err.Error())
	}
	return plain
}

// parent returns the object that holds the field of a dotted path, made if it is absent.
func parent(body map[string]any, path string) (object map[string]any, field string) {
	steps := strings.Split(path, ".")
	object = body
	for _, step := range steps[:len(steps)-1] {
		child, ok := object[step].(map[string]any)
		if !ok {
			child = map[string]any{}
			object[step] = child
		}
		object = child
	}
	return object, steps[len(steps)-1]
}

func join(path, name string) string { return strings.TrimPrefix(path+"."+name, ".") }
