package httpapi

import (
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/labstack/echo/v4"

	"github.com/pombal-api/pombal/internal/domain"
)

const headerETag = "Etag" // canonical form of ETag

// versionTag is the ETag of one instance: its version, which grows with every visible change.
func versionTag(version int64) string { return `"v` + strconv.FormatInt(version, 10) + `"` }

// contentTag is the ETag of a list: a hash of its bytes. Equal pages have equal tags on every node.
func contentTag(body []byte) string {
	var room [40]byte
	b := strconv.AppendUint(append(room[:0], '"'), xxhash.Sum64(body), 36)
	b = strconv.AppendInt(append(b, '-'), int64(len(body)), 36)
	return string(append(b, '"'))
}

// unchanged reports whether If-None-Match names etag; such an answer costs the caller nothing.
func (s *Server) unchanged(c echo.Context, etag string) bool {
	match := c.Request().Header.Get("If-None-Match")
	if match == "" || !isRead(c.Request()) || !matches(match, etag) {
		return false
	}
	s.refund(c)
	return true
}

// matches compares weakly (RFC 9110, 13.1.2): proxies that compress mark tags as weak.
func matches(header, etag string) bool {
	for tag := range strings.SplitSeq(header, ",") {
		tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/")
		if tag == "*" || tag == etag {
			return true
		}
	}
	return false
}

// ifMatch reads If-Match as the version that the caller has seen; 0 for any.
func ifMatch(header string) (int64, error) {
	header = strings.TrimSpace(header)
	if header == "" || header == "*" {
		return 0, nil
	}
	digits, ok := strings.CutPrefix(header, `"v`)
	digits, closed := strings.CutSuffix(digits, `"`)
	version, err := strconv.ParseInt(digits, 10, 64)
	if !ok || !closed || err != nil || version <= 0 {
		// Not a tag we ever gave, so it cannot match what is there now.
		return 0, domain.NewError(domain.CodePreconditionFailed,
			"If-Match does not name the current version. Read the instance again and send the ETag of that answer.")
	}
	return version, nil
}
