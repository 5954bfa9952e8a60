package store

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pombal-api/pombal/internal/domain"
)

// maxText bounds, in bytes, what goes into an index: PostgreSQL refuses entries over 2,704 bytes. The
// API's own limits are tighter.
const maxText = 1024

const unstorable = "it contains characters that cannot be stored. Send valid UTF-8 without NUL characters."

// texts collects the text fields of a request that no database takes, so that they are refused as the
// caller's mistake, and equally on both engines: PostgreSQL has no NUL, SQLite would keep anything.
type texts []domain.Detail

// check adds a complaint about a field's text if it cannot be stored.
func (t *texts) check(field, text string) {
	switch {
	case !isText(text):
		*t = append(*t, domain.Detail{Field: field, Code: "invalid_characters", Message: unstorable})
	case len(text) > maxText:
		*t = append(*t, domain.Detail{Field: field, Code: "too_long",
			Message: "it is too long. Send at most " + strconv.Itoa(maxText) + " bytes."})
	}
}

// checkLong is check for text that is in no index and may have any length.
func (t *texts) checkLong(field, text string) {
	if !isText(text) {
		*t = append(*t, domain.Detail{Field: field, Code: "invalid_characters", Message: unstorable})
	}
}

// isText reports whether both engines store s as it is.
func isText(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

// err returns the complaints as one error, nil if there are none.
func (t texts) err() error {
	if len(t) == 0 {
		return nil
	}
	return domain.Invalid(t...)
}

// isUnstorable reports whether PostgreSQL refused a value that slipped through: an encoding it cannot
// convert, a character it does not have, a text that is too long for an index.
func isUnstorable(err error) bool {
	switch pgCode(err) {
	case "22021", "22P05", "54000", "22001":
		return true
	}
	return false
}
