package httpapi

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"github.com/pombal-api/pombal/internal/domain"
)

// A request type is a struct whose fields say where they come from:
//
//	ID     string               `param:"instanceId"`
//	Match  string               `header:"If-Match"`
//	Base   string               `in:"base"` // how the client reaches the API
//	Query  api.ListThingsParams `in:"query"` // a struct with form tags
//	Body   api.UpdateThing      `in:"body"`  // or in:"optional-body"
//
// bindPlan is that, read once per route.
type bindPlan struct {
	params, headers []boundField
	base, query     int // field index, -1 for none
	queryFields     []boundField
	body            int
	bodyOptional    bool
}

// boundField is one text value of a request and the struct field that takes it.
type boundField struct {
	name  string
	index int
}

// planOf reads the tags of a request type. A wrong tag is a programming error found at start-up.
func planOf(t reflect.Type) bindPlan {
	plan := bindPlan{base: -1, query: -1, body: -1}
	for i := range t.NumField() {
		f := t.Field(i)
		switch {
		case f.Tag.Get("param") != "":
			plan.params = append(plan.params, boundField{f.Tag.Get("param"), i})
		case f.Tag.Get("header") != "":
			plan.headers = append(plan.headers, boundField{f.Tag.Get("header"), i})
		case f.Tag.Get("in") == "base":
			plan.base = i
		case f.Tag.Get("in") == "query":
			plan.query, plan.queryFields = i, queryFieldsOf(f.Type)
		case strings.HasSuffix(f.Tag.Get("in"), "body"):
			plan.body, plan.bodyOptional = i, f.Tag.Get("in") == "optional-body"
		}
	}
	return plan
}

func queryFieldsOf(t reflect.Type) []boundField {
	var fields []boundField
	for i := range t.NumField() {
		if name, _, _ := strings.Cut(t.Field(i).Tag.Get("form"), ","); name != "" && name != "-" {
			fields = append(fields, boundField{name, i})
		}
	}
	return fields
}

// bind fills req, a pointer to a struct, and validates it. It returns the raw body.
func (s *Server) bind(c echo.Context, plan *bindPlan, req any) ([]byte, error) {
	v := reflect.ValueOf(req).Elem()
	for _, f := range plan.params {
		v.Field(f.index).SetString(c.Param(f.name))
	}
	for _, f := range plan.headers {
		v.Field(f.index).SetString(c.Request().Header.Get(f.name))
	}
	if plan.base >= 0 {
		v.Field(plan.base).SetString(cmp.Or(s.cfg.PublicURL, BaseURL(c.Request())))
	}
	if err := s.bindQuery(c.Request(), plan, v); err != nil {
		return nil, err
	}
	if plan.body < 0 {
		return nil, nil
	}
	body, err := readBody(c, plan.bodyOptional)
	if err != nil {
		return nil, err
	}
	dst := v.Field(plan.body).Addr().Interface()
	setDefaults(dst)
	if len(body) > 0 || !plan.bodyOptional {
		if err := decodeBody(body, dst); err != nil {
			return nil, err
		}
	}
	if n, ok := dst.(interface{ Normalize() }); ok {
		n.Normalize()
	}
	return body, s.check(dst)
}

// bindQuery reads the query strictly: no unknown, repeated or empty parameters, because a mistyped
// filter must not silently return everything.
func (s *Server) bindQuery(r *http.Request, plan *bindPlan, v reflect.Value) error {
	if plan.query < 0 {
		return refuseUnknown(r, nil)
	}
	params := v.Field(plan.query)
	setDefaults(params.Addr().Interface())
	if r.URL.RawQuery == "" {
		return nil
	}
	values, err := parseQuery(r)
	if err != nil {
		return err
	}
	details := unknownParams(values, plan.queryFields)
	if values.Has("cursor") && values.Has("offset") { // also offset=0, which validation takes for absent
		details = append(details, domain.Detail{Field: "offset", Code: "not_allowed", Message: "Leave offset out when you send a cursor."})
	}
	for _, f := range plan.queryFields {
		if got, ok := values[f.name]; ok {
			if d := setParam(params.Field(f.index), f.name, got); d != nil {
				details = append(details, *d)
			}
		}
	}
	if len(details) > 0 {
		return domain.Invalid(details...)
	}
	return s.check(params.Addr().Interface())
}

// refuseUnknown is bindQuery for routes without parameters.
func refuseUnknown(r *http.Request, fields []boundField) error {
	if r.URL.RawQuery == "" {
		return nil
	}
	values, err := parseQuery(r)
	if err != nil {
		return err
	}
	if details := unknownParams(values, fields); len(details) > 0 {
		return domain.Invalid(details...)
	}
	return nil
}

func parseQuery(r *http.Request) (url.Values, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, &domain.Error{Code: domain.CodeInvalidParameters, Err: err,
			Message: "The query string is not well formed. Percent-encode special characters and separate parameters with &."}
	}
	return values, nil
}

func unknownParams(values url.Values, fields []boundField) []domain.Detail {
	var details []domain.Detail
	for name := range values {
		if slices.ContainsFunc(fields, func(f boundField) bool { return f.name == name }) {
			continue
		}
		details = append(details, domain.Detail{Field: printable(name), Code: "unknown", Message: legalParams(fields)})
	}
	slices.SortFunc(details, func(a, b domain.Detail) int { return cmp.Compare(a.Field, b.Field) })
	return details
}

func legalParams(fields []boundField) string {
	if len(fields) == 0 {
		return "There is no such parameter. This route takes none."
	}
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	return "There is no such parameter. Legal here: " + strings.Join(names, ", ") + "."
}

// printable makes a caller's own name safe and short enough to repeat in an answer.
func printable(name string) string {
	name = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, strings.ToValidUTF8(name, "\uFFFD"))
	if utf8.RuneCountInString(name) > 50 {
		name = string([]rune(name)[:50]) + "…"
	}
	return name
}

// setParam parses one parameter into its field.
func setParam(field reflect.Value, name string, got []string) *domain.Detail {
	switch {
	case len(got) > 1:
		return &domain.Detail{Field: name, Code: "repeated", Message: "This parameter is there more than once. Send it once."}
	case got[0] == "":
		return &domain.Detail{Field: name, Code: "empty", Message: "This parameter is empty. Give it a value or leave it out."}
	}
	if field.Kind() == reflect.Pointer {
		field.Set(reflect.New(field.Type().Elem()))
		field = field.Elem()
	}
	switch field.Kind() {
	case reflect.String:
		field.SetString(got[0])
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(got[0], 10, 64)
		if err != nil {
			return &domain.Detail{Field: name, Code: "wrong_type", Message: "Send a whole number within the documented range."}
		}
		field.SetInt(n)
	default:
		//nolint:forbidigo // a request type that no request can fill is found by its first test
		panic(fmt.Sprintf("httpapi: query parameter %s has the unsupported kind %s", name, field.Kind()))
	}
	return nil
}

func setDefaults(v any) {
	if d, ok := v.(interface{ SetDefaults() }); ok {
		d.SetDefaults()
	}
}
