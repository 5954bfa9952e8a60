package seal

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
)

// MinSecret is the least number of bytes of an operator's secret.
const MinSecret = 32

const howToMake = "Make one with: openssl rand -base64 32"

// ParseSecret reads a secret as the operator wrote it: base64 in any of its common spellings, which
// the output of "openssl rand -base64 32" (and of "-hex 32") is. The error says what is wrong and how to
// make a good secret; it never repeats the secret.
func ParseSecret(text string) ([]byte, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, errors.New("the secret is empty. " + howToMake)
	}
	secret, ok := decodeBase64(text)
	if !ok {
		return nil, errors.New("the secret is not base64. " + howToMake)
	}
	if hasKnownWord([]byte(text)) {
		return nil, errors.New("the secret is a well-known example. " + howToMake)
	}
	if err := checkBytes(secret); err != nil {
		return nil, err
	}
	return secret, nil
}

// CheckSecret returns the error of [ParseSecret].
func CheckSecret(text string) error {
	_, err := ParseSecret(text)
	return err
}

// checkBytes refuses what people type, not every secret that is not random.
func checkBytes(secret []byte) error {
	switch {
	case len(secret) < MinSecret:
		return errors.New("the secret is shorter than 32 bytes. " + howToMake)
	case isPattern(secret):
		return errors.New("the secret is a repeated pattern, not random bytes. " + howToMake)
	case isText(secret) && hasKnownWord(secret):
		return errors.New("the secret is a well-known example. " + howToMake)
	}
	return nil
}

// decodeBase64 accepts the standard and the URL alphabet, with and without padding.
func decodeBase64(text string) ([]byte, bool) {
	text = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(text, "="))
	secret, err := base64.RawStdEncoding.DecodeString(text)
	return secret, err == nil
}

// isPattern reports whether secret repeats a block of at most 16 bytes, counts up or down, or uses
// very few different bytes. Of 32 random bytes about 30 differ, and never as few as 11.
func isPattern(secret []byte) bool {
	for period := 1; period <= 16; period++ {
		if bytes.Equal(secret[period:], secret[:len(secret)-period]) {
			return true
		}
	}
	step := secret[1] - secret[0]
	counts, seen := true, [256]bool{}
	different := 0
	for i, b := range secret {
		counts = counts && (i == 0 || b-secret[i-1] == step)
		if !seen[b] {
			seen[b] = true
			different++
		}
	}
	return counts || different < 12
}

// isText reports whether all of secret is printable ASCII.
func isText(secret []byte) bool {
	for _, b := range secret {
		if b < ' ' || b > '~' {
			return false
		}
	}
	return true
}

// hasKnownWord looks for words of documentation and default settings. They are long enough that a
// random secret does not hold one by chance.
func hasKnownWord(text []byte) bool {
	lower := strings.ToLower(string(text))
	for _, word := range []string{
		"changeme", "change-me", "change_me", "password", "passphrase", "insecure", "example", "default",
		"replace", "your-secret", "yoursecret", "my-secret", "mysecret", "topsecret", "supersecret",
		"0123456789", "abcdefghij", "qwertyuiop",
	} {
		if strings.Contains(lower, word) {
			return true
		}
	}
	return false
}
