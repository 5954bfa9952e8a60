package testkit

import (
	"fmt"
	"iter"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

func mapKeys[K comparable, V any](m map[K]V) iter.Seq[K] { return maps.Keys(m) }

// collect derives the operations and the known headers from the document.
func (c *Contract) collect() error {
	for _, path := range slices.Sorted(mapKeys(c.doc.Paths.Map())) {
		item := c.doc.Paths.Value(path)
		operations := item.Operations()
		for _, method := range slices.Sorted(mapKeys(operations)) {
			op, err := c.newOperation(method, path, item, operations[method])
			if err != nil {
				return err
			}
			c.operations = append(c.operations, op)
		}
	}
	objects := tenantObjects(c.operations)
	for i := range c.operations {
		c.operations[i].findIDs(objects)
	}
	return nil
}

func (c *Contract) newOperation(method, path string, item *openapi3.PathItem, op *openapi3.Operation) (Operation, error) {
	o := Operation{ID: op.OperationID, Method: method, Path: path, HasBody: op.RequestBody != nil, op: op}
	if o.ID == "" {
		return o, fmt.Errorf("%s %s has no operationId", method, path)
	}
	o.params = slices.Concat(item.Parameters, op.Parameters)
	for _, p := range o.params {
		switch p.Value.In {
		case openapi3.ParameterInPath:
			o.PathParams = append(o.PathParams, p.Value.Name)
		case openapi3.ParameterInQuery:
			o.QueryParams = append(o.QueryParams, p.Value.Name)
		}
	}
	o.addSecurity(op.Security)
	for code, response := range op.Responses.Map() {
		status, err := strconv.Atoi(code)
		if err != nil {
			return o, fmt.Errorf("%s answers %q: the harness wants each status by itself", o.ID, code)
		}
		o.Statuses = append(o.Statuses, status)
		for name := range response.Value.Headers {
			c.headers[http.CanonicalHeaderKey(name)] = true
		}
	}
	slices.Sort(o.Statuses)
	return o, nil
}

// addSecurity takes the schemes of all alternatives and the scopes of the first,
// which is the only one that has any.
func (o *Operation) addSecurity(requirements *openapi3.SecurityRequirements) {
	if requirements == nil {
		return
	}
	for _, alternative := range *requirements {
		for _, scheme := range slices.Sorted(mapKeys(alternative)) {
			o.Schemes = append(o.Schemes, scheme)
			o.Scopes = append(o.Scopes, alternative[scheme]...)
		}
	}
}

// idObject returns "Instance" for a reference to the schema InstanceId, else "".
func idObject(ref *openapi3.SchemaRef) string {
	name := ref.Ref[strings.LastIndex(ref.Ref, "/")+1:]
	object, ok := strings.CutSuffix(name, "Id")
	if !ok {
		return ""
	}
	return object
}

// tenantObjects names the objects that some path identifies. That leaves out ids that
// belong to nobody, such as those of requests.
func tenantObjects(operations []Operation) map[string]bool {
	objects := map[string]bool{}
	for _, op := range operations {
		for _, p := range op.params {
			if p.Value.In == openapi3.ParameterInPath && idObject(p.Value.Schema) != "" {
				objects[idObject(p.Value.Schema)] = true
			}
		}
	}
	return objects
}

// findIDs fills in TenantObject and IDs.
func (o *Operation) findIDs(objects map[string]bool) {
	for _, p := range o.params {
		object := idObject(p.Value.Schema)
		if !objects[object] {
			object = objectByName(p.Value.Name, objects)
		}
		if object == "" {
			continue
		}
		o.IDs = append(o.IDs, IDPosition{In: p.Value.In, Name: p.Value.Name, Object: object})
		if p.Value.In == openapi3.ParameterInPath {
			o.TenantObject = object
		}
	}
	body := o.bodySchema()
	if body == nil {
		return
	}
	for _, name := range slices.Sorted(mapKeys(body.Value.Properties)) {
		property := body.Value.Properties[name]
		if property.Value.Items != nil {
			property = property.Value.Items
		}
		if object := idObject(property); objects[object] {
			o.IDs = append(o.IDs, IDPosition{In: "body", Name: name, Object: object})
		}
	}
}

// objectByName recognises parameters whose schema is looser than an id:
// "X-Account-Id" is that of an Account although it may be "*".
func objectByName(name string, objects map[string]bool) string {
	plain := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, "X-"), "-", ""))
	for object := range objects {
		if plain == strings.ToLower(object)+"id" {
			return object
		}
	}
	return ""
}

// bodySchema returns the schema of the JSON request body, or nil.
func (o *Operation) bodySchema() *openapi3.SchemaRef {
	if !o.HasBody {
		return nil
	}
	media := o.op.RequestBody.Value.Content["application/json"]
	if media == nil {
		return nil
	}
	return media.Schema
}
