package webhook

import (
	"errors"
	"net/url"
	"strings"
)

// maxCredential is how many bytes of a user name, or a password, SOCKS5 can carry.
const maxCredential = 255

// CheckProxy returns nil for the URL of a proxy that an instance may connect through, else a sentence that says
// what is wrong with it, without quoting it: it may hold a password. Like Check, it looks at the text only; the
// proxy's address is judged by Control. Without a port, it is the scheme's own.
func (p *URLPolicy) CheckProxy(raw string) error {
	if len(raw) > maxURL {
		return errors.New("It is longer than 2,048 characters.")
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Opaque != "" || !isASCII(raw):
		return errors.New("It is not a well-formed URL, such as socks5://user:password@proxy.example.com:1080. " +
			"In a user name or password, signs such as @ : / # and % must be percent-encoded.")
	case !isProxyScheme(u.Scheme):
		return errors.New("It does not begin with http://, https://, socks5:// or socks5h://.")
	case !isPort(u.Port()):
		return errors.New("Its port is not one from 1 to 65535.")
	case u.Path != "" && u.Path != "/":
		return errors.New("It holds a path: a proxy has only a host and a port.")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(raw, "#"):
		return errors.New("It holds a query (?…) or a fragment (#…): a proxy has only a host and a port.")
	}
	if err = checkCredentials(u.User); err != nil {
		return err
	}
	return p.checkHost(u.Hostname())
}

func isProxyScheme(scheme string) bool {
	switch scheme {
	case "http", "https", "socks5", "socks5h":
		return true
	}
	return false
}

func checkCredentials(user *url.Userinfo) error {
	if user == nil {
		return nil
	}
	password, _ := user.Password()
	switch name := user.Username(); {
	case name == "":
		return errors.New("Its user name is empty.")
	case len(name) > maxCredential || len(password) > maxCredential:
		return errors.New("Its user name or password is longer than 255 characters.")
	}
	return nil
}
