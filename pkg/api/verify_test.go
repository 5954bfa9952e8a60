package api_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/pombal-api/pombal/pkg/api"
)

const (
	aSecret     = "whs_ThisIsOnlyAnExampleAndSignsNothing123456789"
	otherSecret = "whs_AnotherExampleThatSignsNothingEither1234567"
	aBody       = `{"id":"evt_01kghnzcg0e58bm3hfbsmxbqx4","event":"instance.connected","timestamp":"2026-02-03T12:00:00.000Z",` +
		`"accountId":"acct_01kdyyysm0fq4tct8s89acxw0s","instanceId":"inst_01kdwfzy80e17b5410xamp3tcx","sequence":7,"data":{"name":"São <&>  🕊"}}`
)

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// standard is the headers of Standard Webhooks as a server writes them.
func standard(id string, at time.Time, body string, keys ...[]byte) http.Header {
	h := http.Header{}
	h.Set("webhook-id", id)
	h.Set("webhook-timestamp", strconv.FormatInt(at.Unix(), 10))
	var signatures []string
	for _, key := range keys {
		signatures = append(signatures, "v1,"+base64.StdEncoding.EncodeToString(mac(key, id+"."+h.Get("webhook-timestamp")+"."+body)))
	}
	h.Set("webhook-signature", strings.Join(signatures, " "))
	return h
}

// legacy is the header that covers the body alone.
func legacy(body, key string) http.Header {
	h := http.Header{}
	h.Set("X-EnviaAI-Signature", "sha256="+hex.EncodeToString(mac([]byte(key), body)))
	return h
}

// with returns h with another value, or without one.
func with(h http.Header, name, value string) http.Header {
	h.Set(name, value)
	if value == "" {
		h.Del(name)
	}
	return h
}

func TestVerifyWebhook(t *testing.T) {
	t.Parallel()
	raw, other := []byte(aSecret), []byte(otherSecret)
	own := "whsec_" + base64.StdEncoding.EncodeToString(raw)
	tests := []struct {
		name    string
		header  func(now time.Time) http.Header
		secrets []string
		want    error
	}{
		{"standard", func(now time.Time) http.Header { return standard("evt_1", now, aBody, raw) }, []string{aSecret}, nil},
		{"standard, secret in its other form", func(now time.Time) http.Header { return standard("evt_1", now, aBody, raw) }, []string{own}, nil},
		{"a text of the customer's that begins like that form", func(now time.Time) http.Header { return standard("evt_1", now, aBody, []byte(own)) }, []string{own}, nil},
		{"rotation, receiver knows the new one", func(now time.Time) http.Header { return standard("evt_1", now, aBody, other, raw) }, []string{otherSecret}, nil},
		{"rotation, receiver knows the old one", func(now time.Time) http.Header { return standard("evt_1", now, aBody, other, raw) }, []string{aSecret}, nil},
		{"rotation is over, receiver knows both", func(now time.Time) http.Header { return standard("evt_1", now, aBody, other) }, []string{aSecret, otherSecret}, nil},
		{"other versions beside ours", func(now time.Time) http.Header {
			h := standard("evt_1", now, aBody, raw)
			return with(h, "webhook-signature", "v1a,AAAA v2 "+h.Get("webhook-signature"))
		}, []string{aSecret}, nil},
		{"five minutes old", func(now time.Time) http.Header { return standard("evt_1", now.Add(-5*time.Minute), aBody, raw) }, []string{aSecret}, nil},
		{"five minutes ahead", func(now time.Time) http.Header { return standard("evt_1", now.Add(5*time.Minute), aBody, raw) }, []string{aSecret}, nil},
		{"legacy", func(time.Time) http.Header { return legacy(aBody, aSecret) }, []string{aSecret}, nil},
		{"legacy, secret in its other form", func(time.Time) http.Header { return legacy(aBody, aSecret) }, []string{own}, nil},
		{"both", func(now time.Time) http.Header {
			return with(standard("evt_1", now, aBody, raw), "X-EnviaAI-Signature", legacy(aBody, aSecret).Get("X-EnviaAI-Signature"))
		}, []string{aSecret}, nil},

		{"too old", func(now time.Time) http.Header { return standard("evt_1", now.Add(-301*time.Second), aBody, raw) }, []string{aSecret}, api.ErrWebhookTime},
		{"too far ahead", func(now time.Time) http.Header { return standard("evt_1", now.Add(301*time.Second), aBody, raw) }, []string{aSecret}, api.ErrWebhookTime},
		{"too old, though the legacy signature fits", func(now time.Time) http.Header {
			return with(standard("evt_1", now.Add(-time.Hour), aBody, raw), "X-EnviaAI-Signature", legacy(aBody, aSecret).Get("X-EnviaAI-Signature"))
		}, []string{aSecret}, api.ErrWebhookTime},
		{"another secret", func(now time.Time) http.Header { return standard("evt_1", now, aBody, raw) }, []string{otherSecret}, api.ErrWebhookSignature},
		{"another secret, though the legacy signature fits", func(now time.Time) http.Header {
			return with(standard("evt_1", now, aBody, other), "X-EnviaAI-Signature", legacy(aBody, aSecret).Get("X-EnviaAI-Signature"))
		}, []string{aSecret}, api.ErrWebhookSignature},
		{"another id", func(now time.Time) http.Header {
			return with(standard("evt_1", now, aBody, raw), "webhook-id", "evt_2")
		}, []string{aSecret}, api.ErrWebhookSignature},
		{"another time", func(now time.Time) http.Header {
			return with(standard("evt_1", now, aBody, raw), "webhook-timestamp", strconv.FormatInt(now.Unix()+1, 10))
		}, []string{aSecret}, api.ErrWebhookSignature},
		{"a time that is none", func(now time.Time) http.Header {
			h := with(standard("evt_1", now, aBody, raw), "webhook-timestamp", "now")
			return with(h, "webhook-signature", "v1,"+base64.StdEncoding.EncodeToString(mac(raw, "evt_1.now."+aBody)))
		}, []string{aSecret}, api.ErrWebhookTime},
		{"no base64", func(now time.Time) http.Header {
			return with(standard("evt_1", now, aBody, raw), "webhook-signature", "v1,!!")
		}, []string{aSecret}, api.ErrWebhookSignature},
		{"only versions that are not ours", func(now time.Time) http.Header {
			return with(standard("evt_1", now, aBody, raw), "webhook-signature", "v1a,AAAA")
		}, []string{aSecret}, api.ErrWebhookUnsigned},
		{"no id", func(now time.Time) http.Header { return with(standard("evt_1", now, aBody, raw), "webhook-id", "") }, []string{aSecret}, api.ErrWebhookUnsigned},
		{"no signature, though the legacy one fits", func(now time.Time) http.Header {
			h := with(standard("evt_1", now, aBody, raw), "webhook-signature", "")
			return with(h, "X-EnviaAI-Signature", legacy(aBody, aSecret).Get("X-EnviaAI-Signature"))
		}, []string{aSecret}, api.ErrWebhookUnsigned},
		{"nothing", func(time.Time) http.Header { return http.Header{} }, []string{aSecret}, api.ErrWebhookUnsigned},
		{"legacy, another secret", func(time.Time) http.Header { return legacy(aBody, aSecret) }, []string{otherSecret}, api.ErrWebhookSignature},
		{"legacy, cut short", func(time.Time) http.Header {
			return with(http.Header{}, "X-EnviaAI-Signature", legacy(aBody, aSecret).Get("X-EnviaAI-Signature")[:39])
		}, []string{aSecret}, api.ErrWebhookSignature},
		{"legacy, not hex", func(time.Time) http.Header { return with(http.Header{}, "X-EnviaAI-Signature", "sha256=xyz") }, []string{aSecret}, api.ErrWebhookUnsigned},
		{"legacy, another hash", func(time.Time) http.Header { return with(http.Header{}, "X-EnviaAI-Signature", "sha1=abcd") }, []string{aSecret}, api.ErrWebhookUnsigned},

		{"no secret", func(time.Time) http.Header { return legacy(aBody, "") }, nil, api.ErrWebhookSecret},
		{"an empty secret", func(time.Time) http.Header { return legacy(aBody, "") }, []string{""}, api.ErrWebhookSecret},
		{"an empty secret beside a good one", func(time.Time) http.Header { return legacy(aBody, "") }, []string{aSecret, ""}, api.ErrWebhookSecret},
		{"an empty secret in its other form", func(time.Time) http.Header { return legacy(aBody, "") }, []string{"whsec_"}, api.ErrWebhookSecret},
		{"a secret with its line break", func(time.Time) http.Header { return legacy(aBody, aSecret) }, []string{aSecret + "\n"}, api.ErrWebhookSecret},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { // the clock stands still
				err := api.VerifyWebhook([]byte(aBody), tt.header(time.Now()), tt.secrets...)
				if !errors.Is(err, tt.want) {
					t.Errorf("error %v, want %v", err, tt.want)
				}
				if err != nil && (strings.Contains(err.Error(), aSecret) || strings.Contains(err.Error(), otherSecret)) {
					t.Errorf("%v tells the secret", err)
				}
			})
		})
	}
}

// The example of the Standard Webhooks specification's own libraries.
func TestVerifyWebhook_Vector(t *testing.T) {
	t.Parallel()
	h := http.Header{}
	h.Set("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek")
	h.Set("webhook-timestamp", "1614265330")
	h.Set("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
	err := api.VerifyWebhook([]byte(`{"test": 2432232314}`), h, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if !errors.Is(err, api.ErrWebhookTime) { // the signature comes first, and fits
		t.Errorf("error %v, want %v", err, api.ErrWebhookTime)
	}
}

// Whatever bit of a request is flipped, it is refused.
func TestVerifyWebhook_AnyFlippedBit(t *testing.T) {
	t.Parallel()
	flip := func(text string, bit int) string {
		b := []byte(text)
		b[bit/8] ^= 1 << (bit % 8)
		return string(b)
	}
	now := time.Now()
	for bit := range len(aBody) * 8 {
		body := []byte(flip(aBody, bit))
		if api.VerifyWebhook(body, standard("evt_1", now, aBody, []byte(aSecret)), aSecret) == nil || api.VerifyWebhook(body, legacy(aBody, aSecret), aSecret) == nil {
			t.Fatalf("bit %d of the body can be flipped", bit)
		}
	}
	for _, name := range []string{"webhook-id", "webhook-timestamp", "webhook-signature"} {
		good := standard("evt_1", now, aBody, []byte(aSecret)).Get(name)
		for bit := range len(good) * 8 {
			h := with(standard("evt_1", now, aBody, []byte(aSecret)), name, flip(good, bit))
			if api.VerifyWebhook([]byte(aBody), h, aSecret) == nil {
				t.Errorf("bit %d of %s can be flipped: %q", bit, name, h.Get(name))
			}
		}
	}
}

func TestReadWebhook(t *testing.T) {
	t.Parallel()
	request := func(body io.Reader, h http.Header) *http.Request {
		r := httptest.NewRequest(http.MethodPost, "/hook", body)
		r.Header = h
		return r
	}
	event, err := api.ReadWebhook(request(strings.NewReader(aBody), standard("evt_1", time.Now(), aBody, []byte(aSecret))), aSecret)
	if err != nil {
		t.Fatal(err)
	}
	if event.Event != api.EventTypeInstanceConnected || *event.Sequence != 7 || !bytes.Contains(event.Data, []byte("São <&>")) {
		t.Errorf("got %+v", event)
	}
	huge := strings.Repeat(" ", 1<<20)
	fits, large := huge[len(aBody):]+aBody, huge[len(aBody):]+aBody+" "
	if _, err = api.ReadWebhook(request(strings.NewReader(fits), legacy(fits, aSecret)), aSecret); err != nil {
		t.Errorf("a body of 1 MiB: %v", err)
	}
	for name, tt := range map[string]struct {
		r    *http.Request
		want error
	}{
		"too large": {request(strings.NewReader(large), legacy(large, aSecret)), api.ErrWebhookTooLarge},
		"cut off":   {request(iotest.ErrReader(io.ErrUnexpectedEOF), legacy(aBody, aSecret)), io.ErrUnexpectedEOF},
		"unsigned":  {request(strings.NewReader(aBody), http.Header{}), api.ErrWebhookUnsigned},
	} {
		if _, err = api.ReadWebhook(tt.r, aSecret); !errors.Is(err, tt.want) {
			t.Errorf("%s: error %v, want %v", name, err, tt.want)
		}
	}
	if event, err = api.ReadWebhook(request(strings.NewReader("[]"), legacy("[]", aSecret)), aSecret); err == nil {
		t.Errorf("no event: got %+v", event)
	}
}
