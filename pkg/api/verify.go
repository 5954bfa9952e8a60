package api

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// MaxWebhookBody is the largest body that ReadWebhook reads, in bytes.
	MaxWebhookBody = 1 << 20

	// webhookTolerance is how far the time of a webhook may be from ours.
	webhookTolerance = 5 * time.Minute

	// minSecret is the shortest secret there is. A shorter one, above all an empty
	// one, is a mistake that would let anybody sign.
	minSecret = 16

	standardPrefix = "whsec_"
	legacyPrefix   = "sha256="
)

// What is wrong with a webhook that VerifyWebhook refuses. Answer all but the
// last with 400 or 401, and do nothing that the body says.
var (
	// ErrWebhookUnsigned says that there is no signature, or only a part of one.
	ErrWebhookUnsigned = errors.New("api: the webhook is not signed")
	// ErrWebhookSignature says that no given secret has signed this body.
	ErrWebhookSignature = errors.New("api: the signature of the webhook fits none of the secrets")
	// ErrWebhookTime says that the webhook was signed too long ago, so that it may be
	// an old one that somebody sends again, or too far in the future.
	ErrWebhookTime = errors.New("api: the webhook was not signed within five minutes of now")
	// ErrWebhookTooLarge says that the body is larger than MaxWebhookBody.
	ErrWebhookTooLarge = fmt.Errorf("api: the webhook is larger than %d bytes", MaxWebhookBody)
	// ErrWebhookSecret says that a given secret cannot be one: the receiver is
	// configured wrongly.
	ErrWebhookSecret = errors.New("api: the webhook secret is not one")
)

// VerifyWebhook returns nil when payload, the body of a request exactly as it came, was sent
// by the owner of one of the secrets. Give the secret as it was shown when the
// webhook was created, or in its whsec_ form; during a rotation give the new and
// the old one.
//
// It checks the three headers of Standard Webhooks (webhook-id, webhook-timestamp,
// webhook-signature), whose time must be within five minutes of now. Only when
// there is none of them, it checks X-EnviaAI-Signature, which covers the body
// alone: whoever has once seen such a request can send it again at any time. In
// either case drop events whose id you have already dealt with.
func VerifyWebhook(payload []byte, header http.Header, secrets ...string) error {
	keys, err := webhookKeys(secrets)
	if err != nil {
		return err
	}
	id, at, signatures := header.Get("Webhook-Id"), header.Get("Webhook-Timestamp"), header.Get("Webhook-Signature")
	if id == "" && at == "" && signatures == "" {
		return verifyLegacy(payload, header.Get("X-EnviaAI-Signature"), keys)
	}
	if id == "" || at == "" || signatures == "" {
		return fmt.Errorf("%w: of webhook-id, webhook-timestamp and webhook-signature at least one is missing", ErrWebhookUnsigned)
	}
	return verifyStandard(payload, id, at, signatures, keys)
}

// ReadWebhook reads the request of a webhook, verifies it and returns its event.
// It reads no more than MaxWebhookBody bytes.
func ReadWebhook(r *http.Request, secrets ...string) (*Event, error) {
	payload, err := io.ReadAll(io.LimitReader(r.Body, MaxWebhookBody+1))
	if err != nil {
		return nil, fmt.Errorf("api: the webhook broke off: %w", err)
	}
	if len(payload) > MaxWebhookBody {
		return nil, ErrWebhookTooLarge
	}
	if err = VerifyWebhook(payload, r.Header, secrets...); err != nil {
		return nil, err
	}
	event := new(Event)
	if err = json.Unmarshal(payload, event); err != nil {
		return nil, fmt.Errorf("api: the webhook is signed, but no event: %w", err)
	}
	return event, nil
}

// verifyStandard checks the headers of Standard Webhooks.
func verifyStandard(payload []byte, id, at, signatures string, keys [][]byte) error {
	signed := bytes.Join([][]byte{[]byte(id), []byte(at), payload}, []byte("."))
	known := false
	for signature := range strings.FieldsSeq(signatures) {
		version, text, _ := strings.Cut(signature, ",")
		if version != "v1" {
			continue // of a kind that is not ours
		}
		known = true
		mac, err := base64.StdEncoding.Strict().DecodeString(text)
		if err != nil || !signedBy(keys, signed, mac) {
			continue
		}
		seconds, err := strconv.ParseInt(at, 10, 64)
		if err != nil {
			return fmt.Errorf("%w: webhook-timestamp is no number of seconds", ErrWebhookTime)
		}
		if now := time.Now().Unix(); seconds < now-int64(webhookTolerance/time.Second) || seconds > now+int64(webhookTolerance/time.Second) {
			return fmt.Errorf("%w: it says %s; is the clock right?", ErrWebhookTime, time.Unix(seconds, 0).UTC().Format(time.RFC3339))
		}
		return nil
	}
	if !known {
		return fmt.Errorf("%w: webhook-signature has no signature of the version v1", ErrWebhookUnsigned)
	}
	return ErrWebhookSignature
}

// verifyLegacy checks the signature that covers the body alone.
func verifyLegacy(payload []byte, signature string, keys [][]byte) error {
	if signature == "" {
		return fmt.Errorf("%w: there is neither webhook-signature nor X-EnviaAI-Signature", ErrWebhookUnsigned)
	}
	text, ok := strings.CutPrefix(signature, legacyPrefix)
	mac, err := hex.DecodeString(text)
	if !ok || err != nil {
		return fmt.Errorf("%w: X-EnviaAI-Signature does not look like sha256=<hex>", ErrWebhookUnsigned)
	}
	if !signedBy(keys, payload, mac) {
		return ErrWebhookSignature
	}
	return nil
}

// signedBy reports whether mac is what one of the keys makes of text. It takes as
// long for a wrong one however much of it is right.
func signedBy(keys [][]byte, text, mac []byte) bool {
	for _, key := range keys {
		h := hmac.New(sha256.New, key)
		h.Write(text)
		if hmac.Equal(h.Sum(nil), mac) {
			return true
		}
	}
	return false
}

// webhookKeys returns what the secrets may have signed with: the bytes of the
// text itself, and what is behind the prefix of Standard Webhooks. A text of the
// customer's own may begin like that, too, so that both count.
func webhookKeys(secrets []string) ([][]byte, error) {
	if len(secrets) == 0 {
		return nil, fmt.Errorf("%w: none was given", ErrWebhookSecret)
	}
	keys := make([][]byte, 0, len(secrets))
	for _, secret := range secrets {
		if len(secret) < minSecret {
			return nil, fmt.Errorf("%w: it is shorter than %d characters; is it set?", ErrWebhookSecret, minSecret)
		}
		if !printable(secret) || strings.Contains(secret, " ") {
			return nil, fmt.Errorf("%w: it has spaces, line breaks or other characters that no secret has; check how it was copied", ErrWebhookSecret)
		}
		keys = append(keys, []byte(secret))
		if text, ok := strings.CutPrefix(secret, standardPrefix); ok {
			if key, err := base64.StdEncoding.DecodeString(text); err == nil {
				keys = append(keys, key)
			}
		}
	}
	return keys, nil
}
