package webhook

import (
	"errors"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"code.dny.dev/ssrf"
)

// maxURL is how many bytes a URL may have.
const maxURL = 2048

// URLPolicy decides which URLs customers may give, and which addresses may be called because of them. It is safe
// for concurrent use.
type URLPolicy struct {
	guard   *ssrf.Guardian
	never   []netip.Prefix
	allowed []netip.Prefix
}

// Loopback are the networks that lead to this machine only: for development.
func Loopback() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
}

// NewURLPolicy returns the policy of a public service, which permits the allowed networks though they are not
// public. What tells machines in a cloud their secrets is never permitted.
func NewURLPolicy(allowed ...netip.Prefix) *URLPolicy {
	return &URLPolicy{
		never:   neverCalled(),
		allowed: allowed,
		guard:   ssrf.New(ssrf.WithAnyPort(), ssrf.WithAnyNetwork(), ssrf.WithDeniedV4Prefixes(azureAgent())),
	}
}

// Check returns nil for a URL that may be registered for a webhook, else a sentence that says what is wrong
// with it. It looks at the text only: names are resolved, and their addresses judged by Control, when something
// is sent.
func (p *URLPolicy) Check(raw string) error {
	_, err := p.parse(raw)
	return err
}

// parse takes apart a URL that passes Check.
func (p *URLPolicy) parse(raw string) (*url.URL, error) {
	if len(raw) > maxURL {
		return nil, errors.New("It is longer than 2,048 characters.")
	}
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" || !isASCII(raw) {
		return nil, errors.New("It is not a well-formed URL.")
	}
	switch port := u.Port(); {
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("It does not begin with http:// or https://.")
	case u.User != nil:
		return nil, errors.New("It holds a user name or password.")
	case !isPort(port):
		return nil, errors.New("Its port is not one from 1 to 65535.")
	case isOtherProtocol(port):
		return nil, errors.New("Its port is that of another protocol than HTTP.")
	case u.Fragment != "" || strings.HasSuffix(raw, "#"):
		return nil, errors.New("It holds a fragment (#…), which is never sent.")
	}
	return u, p.checkHost(u.Hostname())
}

func (p *URLPolicy) checkHost(host string) error {
	if host == "" {
		return errors.New("It names no host.")
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return p.checkAddr(ip)
	}
	if !isASCII(host) { // it was percent-encoded
		return errors.New("It is not a well-formed URL.")
	}
	if len(p.allowed) > 0 { // a network that is not public has names that are not public
		return nil
	}
	return checkName(strings.ToLower(strings.TrimSuffix(host, ".")))
}

// localSuffixes end names that never lead to the public Internet (RFC 6761, RFC 6762, RFC 8375, ICANN's
// reservation of "internal").
var localSuffixes = []string{".localhost", ".local", ".internal", ".home.arpa", ".lan", ".localdomain"}

func checkName(name string) error {
	labels := strings.Split(name, ".")
	last := labels[len(labels)-1]
	if len(labels) < 2 || isNumber(last) {
		// One label is a name of the local network; a number at the end is an IPv4 address in one of the
		// spellings (decimal, octal, hexadecimal, short) that some resolvers still take.
		return errors.New("Its host is not a public name.")
	}
	for _, suffix := range localSuffixes {
		if strings.HasSuffix(name, suffix) {
			return errors.New("Its host is not a public name.")
		}
	}
	return nil
}

func isNumber(label string) bool {
	digits := strings.TrimPrefix(label, "0x")
	return digits != "" && strings.Trim(digits, "0123456789") == "" || digits != label && strings.Trim(digits, "0123456789abcdef") == ""
}

// isPort accepts "", the scheme's own port.
func isPort(text string) bool {
	port, err := strconv.ParseUint(text, 10, 16)
	return text == "" || err == nil && port > 0
}

// isOtherProtocol tells the ports at which nothing answers in HTTP that may be told what a stranger likes: mail,
// files, names, chats. Browsers refuse them, too.
func isOtherProtocol(text string) bool {
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return false
	}
	switch port {
	case 7, 9, 11, 13, 19, 20, 21, 22, 23, 25, 37, 53, 69, 79, 110, 111, 113, 119, 123, 135, 137, 139, 143, 161, 179, 389,
		465, 512, 513, 514, 515, 587, 636, 993, 995, 1723, 2049, 5060, 5061, 6379, 6667, 11211:
		return true
	}
	return false
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
