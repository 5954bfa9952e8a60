package httpapi

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-playground/validator/v10"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/pkg/api"
)

// newValidator returns a validator that names fields as the contract does and knows our own rules.
func newValidator() (*validator.Validate, error) {
	v := validator.New(validator.WithRequiredStructEnabled())
	v.RegisterTagNameFunc(func(f reflect.StructField) string {
		for _, key := range []string{"json", "form"} {
			if name, _, _ := strings.Cut(f.Tag.Get(key), ","); name != "" && name != "-" {
				return name
			}
		}
		return ""
	})
	// A clearable field is validated as its value; absent and null have none.
	v.RegisterCustomTypeFunc(func(field reflect.Value) any {
		if p, ok := reflect.TypeAssert[api.Patch[string]](field); ok {
			return p.Ptr()
		}
		return nil
	}, api.Patch[string]{})
	return v, errors.Join(
		v.RegisterValidation("id", func(fl validator.FieldLevel) bool { return looksLikeID(fl.Field().String(), fl.Param()) }),
		v.RegisterValidation("names", func(fl validator.FieldLevel) bool {
			return !slices.Contains(strings.Split(fl.Field().String(), ","), "")
		}),
		v.RegisterValidation("nocontrol", func(fl validator.FieldLevel) bool { return isPlainText(fl.Field().String()) }),
		v.RegisterValidation("phone", func(fl validator.FieldLevel) bool { return isPhoneNumber(fl.Field().String()) }),
		v.RegisterValidation("secret", func(fl validator.FieldLevel) bool { return isVisibleASCII(fl.Field().String()) }),
		v.RegisterValidation("origin", func(fl validator.FieldLevel) bool { return domain.IsOrigin(fl.Field().String()) }))
}

// sampleID is an id of any kind, without its prefix.
const sampleID = "01kdwfzy80e17b5410xamp3tcx"

// looksLikeID accepts what has the prefix and the length of an id of the kind. What names nothing beyond that does not
// exist, which only the database can say.
func looksLikeID(text, prefix string) bool {
	rest, ok := strings.CutPrefix(text, prefix+"_")
	return ok && utf8.RuneCountInString(rest) == len(sampleID)
}

// isPlainText accepts any language and emoji, and refuses what databases and terminals choke on:
// control characters and invalid UTF-8.
func isPlainText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

func isVisibleASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < '!' || r > '~' })
}

// isPhoneNumber accepts international numbers as the contract writes them: digits only, the country's code
// first (E.164).
func isPhoneNumber(s string) bool {
	return len(s) >= 7 && len(s) <= 15 && s[0] != '0' && strings.Trim(s, "0123456789") == ""
}

// check validates a parameter or body struct.
func (s *Server) check(v any) error {
	err := s.validate.Struct(v)
	if err == nil {
		return nil
	}
	failures, ok := errors.AsType[validator.ValidationErrors](err)
	if !ok {
		return err
	}
	details := make([]domain.Detail, 0, len(failures))
	code := codeOfRule(failures[0].Tag())
	for _, f := range failures {
		if codeOfRule(f.Tag()) != code {
			code = domain.CodeInvalidParameters
		}
		details = append(details, detailOf(f))
	}
	e := domain.Invalid(details...)
	e.Code = code
	return e
}

// codeOfRule returns the code of a body in which only this kind of rule is broken.
func codeOfRule(tag string) domain.Code {
	switch tag {
	case "http_url":
		return domain.CodeInvalidWebhookURL
	case "phone", "required_if":
		return domain.CodeInvalidPhoneNumber
	}
	return domain.CodeInvalidParameters
}

// detailOf turns a broken rule into a sentence.
func detailOf(f validator.FieldError) domain.Detail {
	_, field, _ := strings.Cut(f.Namespace(), ".")
	field = strings.NewReplacer("[", ".", "]", "").Replace(field) // as fieldName spells it: scopes.0
	d := domain.Detail{Field: field, Code: "invalid", Message: "This value is not valid."}
	isText := f.Kind() == reflect.String
	switch f.Tag() {
	case "required", "required_if":
		d.Code, d.Message = "required", "Send this field; it must not be empty."
	case "min", "gte":
		d.Code, d.Message = "out_of_range", "Send "+f.Param()+" or more."
		if isText {
			d.Code, d.Message = "too_short", "Send at least "+f.Param()+" character(s)."
		} else if f.Kind() == reflect.Slice {
			d.Code, d.Message = "too_short", "Send at least "+f.Param()+" item(s)."
		}
	case "max", "lte":
		d.Code, d.Message = "out_of_range", "Send "+f.Param()+" or less."
		if isText {
			d.Code, d.Message = "too_long", "Send at most "+f.Param()+" characters."
		} else if f.Kind() == reflect.Slice {
			d.Code, d.Message = "too_long", "Send at most "+f.Param()+" items."
		}
	case "oneof":
		d.Code, d.Message = "not_allowed", "Send one of: "+strings.ReplaceAll(f.Param(), " ", ", ")+"."
	case "origin":
		d.Code, d.Message = "invalid", "Send an origin as browsers do, such as https://app.example.com."
	case "phone":
		d.Code, d.Message = "invalid_phone", "Send 7 to 15 digits with the country's code first, such as 5511999999999."
	case "id":
		d.Code, d.Message = "invalid", "Send an id as the API spells it, such as "+f.Param()+"_"+sampleID+"."
	case "names":
		d.Code, d.Message = "invalid", "A name in this list is empty. Separate the names with single commas, without one at either end."
	case "secret":
		d.Code, d.Message = "invalid_text", "Send visible ASCII characters only, without spaces."
	case "excluded_with":
		d.Code, d.Message = "not_allowed", "Leave this out when you send "+strings.ToLower(f.Param())+"."
	case "http_url":
		d.Code, d.Message = "invalid_url", "Send a public http or https address."
	case "unique":
		d.Code, d.Message = "duplicate", "Send each item once."
	case "nocontrol":
		d.Code, d.Message = "invalid_text", "Send valid UTF-8 text without control characters."
	}
	return d
}
