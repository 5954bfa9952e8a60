package webhook

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strconv"
	"time"
)

// The headers of a webhook, as they are spelt on the wire: some receivers look for nothing else. It is not
// Go's own spelling, so that http.Header.Get does not find them before they have travelled.
const (
	HeaderLegacy    = "X-EnviaAI-Signature"
	HeaderID        = "webhook-id"
	HeaderTimestamp = "webhook-timestamp"
	HeaderSignature = "webhook-signature"
)

// Secrets are what a webhook's requests are signed with.
type Secrets struct {
	Current  []byte
	Previous []byte // nil unless a rotation's overlap goes on
}

// Sign sets the headers that prove to a receiver who has sent a body: the contract's signature, over the body
// alone, and those of Standard Webhooks 1.0.0, over the event's id, the time of this attempt and the body.
//
// The contract's header carries one signature always: its documented verifier throws when the length is not
// that of one. So the previous secret signs in the other header only.
func Sign(h http.Header, s Secrets, id string, at time.Time, body []byte) {
	timestamp := strconv.FormatInt(at.Unix(), 10)
	h[HeaderLegacy] = []string{"sha256=" + hex.EncodeToString(mac(s.Current, body))}
	h[HeaderID] = []string{id}
	h[HeaderTimestamp] = []string{timestamp}
	signed := make([]byte, 0, len(id)+len(timestamp)+2+len(body))
	signed = append(signed, id...)
	signed = append(signed, '.')
	signed = append(signed, timestamp...)
	signed = append(signed, '.')
	signed = append(signed, body...)
	signature := "v1," + base64.StdEncoding.EncodeToString(mac(standardKey(s.Current), signed))
	if s.Previous != nil {
		signature += " v1," + base64.StdEncoding.EncodeToString(mac(standardKey(s.Previous), signed))
	}
	h[HeaderSignature] = []string{signature}
}

// standardKey is the key that libraries of Standard Webhooks take from a secret: what is encoded after whsec_ in one of
// their own form, any other as it is.
func standardKey(secret []byte) []byte {
	encoded, ok := bytes.CutPrefix(secret, []byte("whsec_"))
	if !ok {
		return secret
	}
	key, err := base64.StdEncoding.DecodeString(string(encoded))
	if err != nil || len(key) == 0 {
		return secret
	}
	return key
}

func mac(key, text []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(text)
	return h.Sum(nil)
}
