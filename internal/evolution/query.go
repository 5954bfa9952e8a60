package evolution

import (
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pombal-api/pombal/internal/domain"
)

const (
	maxLimit  = 1000      // of a page; without a limit all instances are streamed
	maxOffset = 1<<53 - 1 // the largest number that JavaScript holds exactly
	maxText   = 100       // characters of a filter: no name is longer
)

// query is what a list call asks for.
type query struct {
	filter domain.InstanceFilter
	none   bool  // nothing can match
	limit  int   // 0 for all
	offset int64 // instances to skip
}

// parseQuery reads the parameters of a list call. Filters that are there combine with AND, so a
// filter that no instance can meet (a malformed id, a number with letters, one name and then
// another) matches nothing; it is never dropped, since that would return everything. An empty
// filter is as good as absent, and an unknown parameter is ignored: clients of Evolution API send both.
func parseQuery(raw string, who *domain.Principal) (query, error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return query{}, domain.NewError(domain.CodeInvalidParameters,
			"The query string is not well formed. Write every special character in it as % and two hex digits.")
	}
	for _, name := range []string{"instanceName", "instanceId", "number"} {
		for _, value := range values[name] {
			if utf8.RuneCountInString(value) > maxText {
				return query{}, domain.Invalid(domain.Detail{Field: name, Code: "too_long",
					Message: "Send at most " + strconv.Itoa(maxText) + " characters."})
			}
		}
	}
	q := query{filter: domain.InstanceFilter{IDs: who.Instances}}
	q.match(values["instanceName"], func(name string) bool {
		q.filter.Name = name
		return true
	})
	q.match(values["instanceId"], func(text string) bool {
		id, err := domain.ParseUUID(text)
		q.filter.IDs = []domain.ID{id}
		return err == nil && who.MaySee(id)
	})
	q.match(values["number"], func(text string) bool {
		q.filter.Phone = phone(text)
		return q.filter.Phone != ""
	})
	return q, q.page(values)
}

// match applies one filter; set tells whether anything can match the value.
func (q *query) match(values []string, set func(string) bool) {
	value, agree := single(values)
	if value == "" {
		return
	}
	// Text that no database column holds is not worth a query that would fail.
	if !agree || !utf8.ValidString(value) || strings.ContainsRune(value, 0) || !set(value) {
		q.none = true
	}
}

// single returns the value of a filter, "" when it is absent or empty. A filter may be repeated, but
// all its values must agree.
func single(values []string) (value string, agree bool) {
	for _, v := range values {
		switch {
		case v == "" || v == value:
		case value == "":
			value = v
		default:
			return value, false
		}
	}
	return value, true
}

// jidSuffix is how WhatsApp spells a phone number as an address.
const jidSuffix = "@s.whatsapp.net"

// phone returns the digits of a phone number, "" when it is none. A plus in a query string reads as a
// space unless it is escaped, and few clients do.
func phone(text string) string {
	digits := strings.TrimLeft(strings.TrimSuffix(text, jidSuffix), "+ ")
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return ""
		}
	}
	return digits
}

func (q *query) page(values url.Values) error {
	limit, err := number(values, "limit", 1, maxLimit)
	if err != nil {
		return err
	}
	q.limit = int(limit)
	q.offset, err = number(values, "offset", 0, maxOffset)
	return err
}

// number reads a whole number; 0 when it is absent.
func number(values url.Values, name string, least, most int64) (int64, error) {
	texts := values[name]
	if len(texts) == 0 {
		return 0, nil
	}
	n, err := strconv.ParseInt(texts[0], 10, 64)
	if err != nil || n < least || n > most || texts[0][0] == '+' || len(texts) > 1 {
		return 0, domain.Invalid(domain.Detail{Field: name, Code: "out_of_range",
			Message: "Send one whole number from " + strconv.FormatInt(least, 10) + " to " + strconv.FormatInt(most, 10) + ", or leave it out."})
	}
	return n, nil
}
