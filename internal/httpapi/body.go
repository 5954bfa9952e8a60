package httpapi

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"reflect"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/labstack/echo/v4"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/pkg/api"
)

// maxBody is how many bytes a JSON body may have.
const maxBody = 1 << 20

// readBody reads the whole body of a request that must be JSON. An optional body may be empty, and
// then needs no content type.
func readBody(c echo.Context, optional bool) ([]byte, error) {
	r := c.Request()
	body, err := io.ReadAll(http.MaxBytesReader(c.Response(), r.Body, maxBody))
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, &domain.Error{Code: domain.CodePayloadTooLarge, Err: tooLarge,
			Message: "The body is larger than 1 MiB. Send less in one request."}
	}
	if err != nil {
		return nil, &domain.Error{Code: domain.CodeInvalidParameters, Err: err,
			Message: "The body ended before its announced length. Send the whole body."}
	}
	if optional && len(body) == 0 {
		return nil, nil
	}
	if err := requireJSON(r.Header); err != nil {
		return nil, err
	}
	return body, nil
}

// requireJSON refuses bodies that are not announced as JSON in UTF-8.
func requireJSON(h http.Header) error {
	media, params, err := mime.ParseMediaType(h.Get(echo.HeaderContentType))
	charset := params["charset"]
	if err != nil || media != echo.MIMEApplicationJSON || charset != "" && !strings.EqualFold(charset, "utf-8") ||
		h.Get(echo.HeaderContentEncoding) != "" {
		return domain.NewError(domain.CodeUnsupportedMediaType,
			"Send the body as JSON, uncompressed, with the header Content-Type: application/json.")
	}
	return nil
}

// decodeBody reads exactly one JSON value into dst: no unknown or duplicate members, no trailing
// data, valid UTF-8, members in their exact spelling.
func decodeBody(body []byte, dst any) error {
	if len(body) == 0 {
		return invalidBody("required", "Send a JSON object as the body.")
	}
	if err := json.Unmarshal(body, dst, json.RejectUnknownMembers(true)); err != nil {
		return bodyError(err, dst)
	}
	return refuseNulls(body, dst)
}

// invalidBody is an error about the body as a whole.
func invalidBody(code, message string) error {
	return domain.Invalid(domain.Detail{Field: "body", Code: code, Message: message})
}

// bodyError says which member broke which rule.
func bodyError(err error, dst any) error {
	if e, ok := errors.AsType[*json.SemanticError](err); ok {
		return semanticError(e, dst)
	}
	e, ok := errors.AsType[*jsontext.SyntacticError](err)
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		return domain.Invalid(domain.Detail{Field: fieldName(pointerOf(e)), Code: "duplicate",
			Message: "This member is there twice. Send it once."})
	case ok && strings.Contains(e.Err.Error(), "depth"):
		return invalidBody("too_deep", "The JSON is nested too deeply.")
	case ok && strings.Contains(e.Err.Error(), "UTF-8"):
		return invalidBody("invalid_utf8", "The JSON is not valid UTF-8.")
	}
	return &domain.Error{Code: domain.CodeInvalidParameters, Err: err,
		Message: "The body is not one valid JSON value. Check it with a JSON validator.",
		Details: []domain.Detail{{Field: "body", Code: "invalid_json", Message: "Send exactly one JSON object."}}}
}

func pointerOf(e *jsontext.SyntacticError) jsontext.Pointer {
	if e == nil {
		return ""
	}
	return e.JSONPointer
}

// semanticError is about JSON that is well formed but does not fit the type.
func semanticError(e *json.SemanticError, dst any) error {
	field := fieldName(e.JSONPointer)
	if errors.Is(e.Err, json.ErrUnknownName) {
		return domain.Invalid(domain.Detail{Field: field, Code: "unknown",
			Message: "There is no such member. Legal here: " + strings.Join(memberNames(dst, e.JSONPointer), ", ") + "."})
	}
	want := expected(e.GoType)
	if nullable(reflect.TypeOf(dst), e.JSONPointer) {
		want += " or null"
	}
	return domain.Invalid(domain.Detail{Field: field, Code: "wrong_type", Message: "Expected " + want + "."})
}

// fieldName spells a JSON pointer as the contract spells fields: /settings/autoRead is settings.autoRead.
func fieldName(p jsontext.Pointer) string {
	var parts []string
	for token := range p.Tokens() {
		parts = append(parts, strings.ToValidUTF8(token, "\uFFFD"))
	}
	if len(parts) == 0 {
		return "body"
	}
	name := strings.Join(parts, ".")
	if len(name) > 100 { // a caller may send any name; the answer stays small
		name = name[:100] + "…"
	}
	return strings.ToValidUTF8(name, "")
}

// memberNames lists the members of the object that holds the one at p.
func memberNames(dst any, p jsontext.Pointer) []string {
	t := reflect.TypeOf(dst)
	for token := range p.Parent().Tokens() {
		t = memberType(indirect(t), token)
	}
	var names []string
	if t = indirect(t); t != nil && t.Kind() == reflect.Struct {
		for f := range t.Fields() {
			if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "-" {
				names = append(names, name)
			}
		}
	}
	return names
}

func memberType(t reflect.Type, name string) reflect.Type {
	field, _ := memberField(t, name)
	return field.Type
}

// memberField finds the field that reads a member of a JSON object.
func memberField(t reflect.Type, name string) (reflect.StructField, bool) {
	if t != nil && t.Kind() == reflect.Struct {
		for f := range t.Fields() {
			if tag, _, _ := strings.Cut(f.Tag.Get("json"), ","); tag == name {
				return f, true
			}
		}
	}
	return reflect.StructField{}, false
}

func indirect(t reflect.Type) reflect.Type {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// expected names the JSON type that a Go type reads.
func expected(t reflect.Type) string {
	if t = indirect(t); t == nil {
		return "another type"
	}
	if t == reflect.TypeFor[api.Patch[string]]() {
		return "a string"
	}
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int32, reflect.Int64:
		return "a whole number"
	case reflect.Slice:
		return "an array"
	case reflect.Struct, reflect.Map:
		if t.Name() == "Time" {
			return "a time such as 2026-02-03T12:00:00.000Z"
		}
		return "an object"
	}
	return "another type"
}
