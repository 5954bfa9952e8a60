package httpapi

import (
	"bytes"
	"errors"
	"io"
	"reflect"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/pombal-api/pombal/internal/domain"
)

// refuseNulls refuses null where the contract does not allow it. Decoding would take it for an absent
// field, so that a caller who means "clear this" would be told that all is well.
func refuseNulls(body []byte, dst any) error {
	dec := jsontext.NewDecoder(bytes.NewReader(body))
	for {
		token, err := dec.ReadToken()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return bodyError(err, dst)
		case token.Kind() == 'n' && !nullable(reflect.TypeOf(dst), dec.StackPointer()):
			return domain.Invalid(domain.Detail{Field: fieldName(dec.StackPointer()), Code: "wrong_type",
				Message: "This cannot be null. Give it a value or leave it out."})
		}
	}
}

// nullable reports whether the field at p may be null: it is tagged nullable, or can be cleared.
func nullable(t reflect.Type, p jsontext.Pointer) bool {
	for token := range p.Parent().Tokens() {
		t = memberType(indirect(t), token)
	}
	field, ok := memberField(indirect(t), p.LastToken())
	if !ok {
		return false
	}
	_, clears := reflect.Zero(field.Type).Interface().(interface{ IsNull() bool })
	return clears || field.Tag.Get("nullable") == "true"
}
