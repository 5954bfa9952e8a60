package domain

import (
	"net/url"
	"strings"
)

// IsOrigin reports whether s is a browser origin as the Origin header spells it (RFC 6454): scheme,
// host and, unless it is the default, port; lower case, nothing behind.
func IsOrigin(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return false
	}
	return s == u.Scheme+"://"+u.Host && s == strings.ToLower(s) && !strings.ContainsAny(u.Host, "*")
}
