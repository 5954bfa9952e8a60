package auth

import (
	"strings"

	"github.com/pombal-api/pombal/internal/domain"
)

// maxCredential is the length of the longest credential that is looked at, in bytes. Tokens are minted
// within it.
const maxCredential = 4096

// BearerFromHeader returns the credential in the values of a request's Authorization headers. None is
// missing_api_key; anything but one "Bearer <key or token>" is invalid_api_key with a sentence that
// says what is wrong. The scheme may be written in any case (RFC 9110).
func BearerFromHeader(values []string) (string, error) {
	switch len(values) {
	case 0:
		return "", missingKey()
	case 1:
	default:
		return "", badHeader("Send one Authorization header; this request has several.")
	}
	scheme, credential, found := strings.Cut(values[0], " ")
	credential = strings.TrimLeft(credential, " ")
	switch {
	case strings.TrimSpace(values[0]) == "":
		return "", badHeader("The Authorization header is empty. Send: Authorization: Bearer <key>.")
	case !strings.EqualFold(scheme, "Bearer"):
		return "", badHeader("The Authorization header must use the scheme Bearer. Send: Authorization: Bearer <key>.")
	case !found || credential == "":
		return "", badHeader("The Authorization header holds no key after Bearer. Send: Authorization: Bearer <key>.")
	case len(credential) > maxCredential:
		return "", badHeader("The Authorization header is longer than any key or token. Send: Authorization: Bearer <key>.")
	case strings.ContainsAny(credential, " \t,"):
		return "", badHeader("The Authorization header must hold one key and nothing else. Send: Authorization: Bearer <key>.")
	}
	return credential, nil
}

// Credential is [BearerFromHeader].
func (a *Authenticator) Credential(authorization []string) (string, error) {
	return BearerFromHeader(authorization)
}

func badHeader(message string) error { return domain.NewError(domain.CodeInvalidAPIKey, message) }
