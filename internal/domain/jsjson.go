package domain

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

// The documented check of a webhook's signature is made over JSON.stringify(JSON.parse(body)). So what is signed must
// come out of that as it went in: this file writes JSON as ECMA-262 says that JSON.stringify does.

var errJSON = errors.New("not one JSON value")

// maxJSONDepth bounds the nesting of what strangers send.
const maxJSONDepth = 200

// CanonicalJSON writes a JSON value as JavaScript would after reading it: no spaces, members in JavaScript's order,
// the last of equal names, numbers in their shortest form, only the escapes that are needed. Invalid UTF-8 and lone
// surrogates become U+FFFD.
func CanonicalJSON(raw []byte) ([]byte, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	out, err := appendValue(make([]byte, 0, len(raw)), dec, 0)
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errJSON
	}
	return out, nil
}

// appendValue reads one value and writes it.
func appendValue(dst []byte, dec *json.Decoder, depth int) ([]byte, error) {
	token, err := dec.Token()
	if err != nil {
		return nil, errors.Join(errJSON, err)
	}
	if depth > maxJSONDepth {
		return nil, errJSON
	}
	switch v := token.(type) {
	case json.Delim:
		if v == '[' {
			return appendArray(dst, dec, depth)
		}
		return appendObject(dst, dec, depth)
	case string:
		return AppendJSONString(dst, v), nil
	case json.Number:
		return appendNumber(dst, string(v)), nil
	case bool:
		return strconv.AppendBool(dst, v), nil
	}
	return append(dst, "null"...), nil
}

func appendArray(dst []byte, dec *json.Decoder, depth int) ([]byte, error) {
	dst = append(dst, '[')
	var err error
	for i := 0; dec.More(); i++ {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, err = appendValue(dst, dec, depth+1); err != nil {
			return nil, err
		}
	}
	if _, err = dec.Token(); err != nil {
		return nil, errors.Join(errJSON, err)
	}
	return append(dst, ']'), nil
}

// jsonMember is a member of an object, already written.
type jsonMember struct {
	name  string
	index int64 // of names that JavaScript takes for an index; -1 for others
	value []byte
}

func appendObject(dst []byte, dec *json.Decoder, depth int) ([]byte, error) {
	members, err := readMembers(dec, depth)
	if err != nil {
		return nil, err
	}
	dst = append(dst, '{')
	for i, m := range members {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(AppendJSONString(dst, m.name), ':')
		dst = append(dst, m.value...)
	}
	return append(dst, '}'), nil
}

// readMembers reads the members of an object in the order in which JavaScript lists them: indices first and ascending,
// then the names as they first came.
func readMembers(dec *json.Decoder, depth int) ([]jsonMember, error) {
	var members []jsonMember
	places := map[string]int{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return nil, errors.Join(errJSON, err)
		}
		name, _ := token.(string)
		value, err := appendValue(nil, dec, depth+1)
		if err != nil {
			return nil, err
		}
		place, again := places[name]
		if !again {
			place = len(members)
			places[name] = place
			members = append(members, jsonMember{name: name, index: arrayIndex(name)})
		}
		members[place].value = value
	}
	if _, err := dec.Token(); err != nil {
		return nil, errors.Join(errJSON, err)
	}
	slices.SortStableFunc(members, func(a, b jsonMember) int {
		switch {
		case a.index >= 0 && b.index >= 0:
			return cmp.Compare(a.index, b.index)
		case a.index >= 0:
			return -1
		case b.index >= 0:
			return 1
		}
		return 0
	})
	return members, nil
}

// arrayIndex returns the index that a name is, or -1 (ECMA-262, 6.1.7: a canonical numeric string below 2^32-1).
func arrayIndex(name string) int64 {
	n, err := strconv.ParseUint(name, 10, 32)
	if err != nil || n == math.MaxUint32 || strconv.FormatUint(n, 10) != name {
		return -1
	}
	return int64(n)
}

// appendNumber writes a number as Number.prototype.toString does (ECMA-262, 6.1.6.1.20); what is beyond a double is
// null, as JSON.stringify makes it.
func appendNumber(dst []byte, text string) []byte {
	f, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil && math.IsInf(f, 0):
		return append(dst, "null"...)
	case f == 0:
		return append(dst, '0') // also for -0
	}
	abs := math.Abs(f)
	if abs >= 1e-6 && abs < 1e21 {
		return strconv.AppendFloat(dst, f, 'f', -1, 64)
	}
	dst = strconv.AppendFloat(dst, f, 'e', -1, 64)
	// Go writes at least two digits of an exponent, JavaScript as few as it takes.
	if n := len(dst); n >= 4 && dst[n-2] == '0' && (dst[n-3] == '-' || dst[n-3] == '+') {
		dst[n-2] = dst[n-1]
		dst = dst[:n-1]
	}
	return dst
}

// AppendJSONString writes a string as JSON.stringify does (ECMA-262, 25.5.2.4), with U+FFFD for invalid UTF-8.
func AppendJSONString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			dst = utf8.AppendRune(dst, r)
			i += size
			continue
		}
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c >= ' ':
			dst = append(dst, c)
		case c == '\b':
			dst = append(dst, '\\', 'b')
		case c == '\f':
			dst = append(dst, '\\', 'f')
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		case c == '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
	}
	return append(dst, '"')
}
