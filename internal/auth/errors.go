package auth

import "github.com/pombal-api/pombal/internal/domain"

// Whoever presents a bad credential learns no more than that: unknown, mistyped, revoked and another
// account's key all get the same answer.

func missingKey() error {
	return domain.NewError(domain.CodeMissingAPIKey,
		"This call needs an API key. Send it in the header: Authorization: Bearer <key>.")
}

func invalidKey() error {
	return domain.NewError(domain.CodeInvalidAPIKey,
		"This API key is not valid. Check that it was copied whole and was not revoked, and send it in the header: Authorization: Bearer <key>.")
}

func invalidToken() error {
	return domain.NewError(domain.CodeInvalidAPIKey,
		"This token is not valid. Mint a new one with POST /v1/tokens and send it unchanged in the header: Authorization: Bearer <token>.")
}

func expiredKey() error {
	return domain.NewError(domain.CodeExpiredAPIKey,
		"This API key has expired. Use the secret of its last rotation, or create a new key.")
}

func expiredToken() error {
	return domain.NewError(domain.CodeExpiredAPIKey,
		"This token has expired. Mint a new one with POST /v1/tokens.")
}

func suspended() error {
	return domain.NewError(domain.CodeInsufficient,
		"This account, or the partner account above it, is suspended. Ask the provider of the account to reactivate it.")
}

func insufficient(message string, details ...domain.Detail) error {
	return &domain.Error{Code: domain.CodeInsufficient, Message: message, Details: details}
}

// isNotFound reports whether the store knows nothing under the name it was asked for, as opposed to
// not being able to tell.
func isNotFound(err error) bool {
	switch domain.CodeOf(err) {
	case domain.CodeNotFound, domain.CodeAPIKeyNotFound, domain.CodeAccountNotFound, domain.CodeInstanceNotFound:
		return true
	default:
		return false
	}
}
