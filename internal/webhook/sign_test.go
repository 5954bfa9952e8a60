package webhook_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dop251/goja"
	standard "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/webhook"
)

// signed is a request as a receiver gets it.
type signed struct {
	ID        string `json:"id"`
	Timestamp string `json:"timestamp"`
	Signature string `json:"signature"`
	Legacy    string `json:"legacy"`
	Secret    string `json:"secret"`
	Body      []byte `json:"body"`
}

func sign(s webhook.Secrets, e *domain.Event, at time.Time) signed {
	h := http.Header{}
	body := domain.AppendEnvelope(nil, e)
	webhook.Sign(h, s, e.ID.Prefixed(domain.PrefixEvent), at, body)
	return signed{
		//nolint:staticcheck // they are sent in the documented spelling
		ID: h[webhook.HeaderID][0], Timestamp: h[webhook.HeaderTimestamp][0], Signature: h[webhook.HeaderSignature][0],
		//nolint:staticcheck // so is this one
		Legacy: h[webhook.HeaderLegacy][0], Secret: string(s.Current), Body: body,
	}
}

// standardHeader is the request's header as net/http gives it to a receiver.
func (s *signed) standardHeader() http.Header {
	return http.Header{"Webhook-Id": {s.ID}, "Webhook-Timestamp": {s.Timestamp}, "Webhook-Signature": {s.Signature}}
}

func standardVerifier(t testing.TB, secret string) *standard.Webhook {
	t.Helper()
	wh, err := standard.NewWebhook("whsec_" + base64.StdEncoding.EncodeToString([]byte(secret)))
	if err != nil {
		t.Fatal(err)
	}
	return wh
}

// javascript runs the documented verifier.
type javascript struct {
	vm     *goja.Runtime
	verify goja.Callable
}

func newJavascript(t testing.TB) *javascript {
	t.Helper()
	source, err := os.ReadFile("testdata/verify.js")
	if err != nil {
		t.Fatal(err)
	}
	vm := goja.New()
	for name, value := range map[string]any{
		"hmac": func(key, text, encoding string) string {
			h := hmac.New(sha256.New, []byte(key))
			h.Write([]byte(text))
			if encoding == "hex" {
				return hex.EncodeToString(h.Sum(nil))
			}
			return base64.StdEncoding.EncodeToString(h.Sum(nil))
		},
		"equal": func(a, b string) bool { return hmac.Equal([]byte(a), []byte(b)) },
	} {
		if err = vm.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	const node = `
const Buffer = {from: s => s};
const crypto = {
  createHmac: (_, key) => ({update: text => ({digest: encoding => hmac(key, text, encoding)})}),
  timingSafeEqual: (a, b) => {
    if (a.length !== b.length) throw new RangeError('Input buffers must have the same byte length');
    return equal(a, b);
  },
};
const attempt = f => { try { return f(); } catch { return false; } };
const check = (secret, legacy, raw, id, timestamp, signatures) =>
  attempt(() => verifyLegacy(crypto, secret, legacy, JSON.parse(raw))) +
  2 * attempt(() => verifyStandard(crypto, secret, id, timestamp, signatures, raw));
check`
	value, err := vm.RunString(string(source) + node)
	if err != nil {
		t.Fatal(err)
	}
	verify, ok := goja.AssertFunction(value)
	if !ok {
		t.Fatal("no function")
	}
	return &javascript{vm, verify}
}

// check says which of the two verifiers accept a request.
func (j *javascript) check(t testing.TB, s *signed) (legacy, standard bool) {
	t.Helper()
	v := j.vm.ToValue
	result, err := j.verify(goja.Undefined(), v(s.Secret), v(s.Legacy), v(string(s.Body)), v(s.ID), v(s.Timestamp), v(s.Signature))
	if err != nil {
		t.Fatal(err)
	}
	bits := result.ToInteger()
	return bits&1 != 0, bits&2 != 0
}

func (j *javascript) accepts(t testing.TB, s *signed) bool {
	t.Helper()
	legacy, standard := j.check(t, s)
	return legacy && standard
}

// The documented verifier and the library of Standard Webhooks accept what is sent, whatever is in it, and
// nothing else.
func TestSign_IsAcceptedByReceivers(t *testing.T) {
	t.Parallel()
	n := 5_000
	if os.Getenv("POMBAL_SOAK") != "" {
		n = 1_000_000
	}
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	js := newJavascript(t)
	for i := range n {
		secret := fmt.Sprintf("whs_%x", random.Uint64())
		s := sign(webhook.Secrets{Current: []byte(secret)}, randomEvent(t, random), time.Now()) // they accept 5 minutes; a million take longer
		library := standardVerifier(t, secret)
		if err := library.Verify(s.Body, s.standardHeader()); err != nil || !js.accepts(t, &s) || len(s.Legacy) != 71 {
			t.Fatalf("seed %d, event %d is not accepted (%v): %s", seed, i, err, s.Body)
		}
		flipped := s
		flipped.Body = bytes.Clone(s.Body)
		flipped.Body[random.IntN(len(s.Body))] ^= byte(1 << random.IntN(8))
		legacy, standard := js.check(t, &flipped)
		if legacy { // it sees what was parsed only: a digit that no number has room for is none
			same, err := domain.CanonicalJSON(flipped.Body)
			legacy = err != nil || !bytes.Equal(same, s.Body)
		}
		if err := library.Verify(flipped.Body, s.standardHeader()); err == nil || legacy || standard {
			t.Fatalf("seed %d, event %d is accepted though a bit was flipped: %s", seed, i, flipped.Body)
		}
	}
}

func TestSign_IsAcceptedByNode(t *testing.T) {
	t.Parallel()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("there is no Node on this machine")
	}
	const n = 2_000
	random := rand.New(rand.NewPCG(rand.Uint64(), 0))
	var input bytes.Buffer
	for range n {
		line, failed := json.Marshal(sign(webhook.Secrets{Current: []byte(testSecret)}, randomEvent(t, random), time.Now()))
		if failed != nil {
			t.Fatal(failed)
		}
		input.Write(append(line, '\n'))
	}
	cmd := exec.CommandContext(t.Context(), node, "testdata/node.js")
	cmd.Stdin = &input
	out, err := cmd.CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != strconv.Itoa(n) {
		t.Fatalf("%v: %s", err, out)
	}
}

// While a secret is replaced, both are good for Standard Webhooks; the contract's header knows the new one only,
// for it holds one signature.
func TestSign_DuringARotation(t *testing.T) {
	t.Parallel()
	s := sign(webhook.Secrets{Current: []byte("the new secret of it"), Previous: []byte("the old secret of it")}, newEvent(`{}`), time.Now())
	for _, secret := range []string{"the new secret of it", "the old secret of it"} {
		if err := standardVerifier(t, secret).Verify(s.Body, s.standardHeader()); err != nil {
			t.Errorf("with %s: %v", secret, err)
		}
	}
	if err := standardVerifier(t, "some other secret").Verify(s.Body, s.standardHeader()); err == nil {
		t.Error("any secret is good")
	}
	js := newJavascript(t)
	if !js.accepts(t, &s) || len(s.Legacy) != 71 {
		t.Errorf("the new secret does not verify %s", s.Legacy)
	}
	s.Secret = "the old secret of it"
	if legacy, _ := js.check(t, &s); legacy {
		t.Error("the old secret verifies the contract's signature")
	}
}

// A customer's own secret in the form of Standard Webhooks is what its libraries take it for. The contract's header is
// made with the text itself.
func TestSign_WithASecretInTheStandardForm(t *testing.T) {
	t.Parallel()
	own := "whsec_" + base64.StdEncoding.EncodeToString([]byte("an own secret, 24 bytes."))
	wh, err := standard.NewWebhook(own)
	if err != nil {
		t.Fatal(err)
	}
	h, body := http.Header{}, []byte(`{"type":"test"}`)
	webhook.Sign(h, webhook.Secrets{Current: []byte(own), Previous: []byte("whsec_no base64")}, "evt_1", time.Now(), body)
	received := http.Header{}
	for name, values := range h {
		received.Set(name, values[0])
	}
	if err = wh.Verify(body, received); err != nil {
		t.Error(err)
	}
	text := hmac.New(sha256.New, []byte(own))
	text.Write(body)
	if got, want := received.Get(webhook.HeaderLegacy), "sha256="+hex.EncodeToString(text.Sum(nil)); got != want {
		t.Errorf("the contract's signature is %s, want %s", got, want)
	}
}

// The previous secret signs until its end, and not after.
func TestClient_EndsARotation(t *testing.T) {
	t.Parallel()
	var got http.Header
	server := serve(t, func(_ http.ResponseWriter, r *http.Request) { got = r.Header })
	c := newClient(t, webhook.NewURLPolicy(webhook.Loopback()...))
	for _, tt := range []struct {
		left time.Duration
		want int
	}{{time.Hour, 2}, {-time.Millisecond, 1}} {
		hook := newHook(server.URL)
		hook.PreviousSecret, hook.PreviousSecretExpiresAt = []byte("the old secret of it"), time.Now().Add(tt.left)
		if a, err := c.Try(t.Context(), hook, newEvent(`{}`)); err != nil || a.Failure != "" {
			t.Fatal(a, err)
		}
		if n := len(strings.Fields(got.Get("webhook-signature"))); n != tt.want {
			t.Errorf("%v before the end there are %d signatures", tt.left, n)
		}
	}
}

// randomEvent has data as customers and strangers make it.
func randomEvent(t testing.TB, random *rand.Rand) *domain.Event {
	t.Helper()
	data, err := domain.CanonicalJSON([]byte("{" + randomMembers(random, 3) + "}"))
	if err != nil {
		t.Fatal(err)
	}
	e := &domain.Event{ID: domain.NewID(time.Now()), AccountID: domain.NewID(time.Now()), Sequence: random.Int64N(1 << 53), At: time.UnixMilli(random.Int64N(4e12)), Data: data}
	e.Type = 1 << random.IntN(10)
	if random.IntN(4) > 0 {
		e.InstanceID = domain.NewID(time.Now())
	}
	return e
}

func randomMembers(random *rand.Rand, depth int) string {
	var b strings.Builder
	for i := range random.IntN(5) {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(randomText(random) + ":" + randomValue(random, depth))
	}
	return b.String()
}

func randomValue(random *rand.Rand, depth int) string {
	switch n := random.IntN(10); {
	case n == 0 && depth > 0:
		return "{ " + randomMembers(random, depth-1) + "}"
	case n == 1 && depth > 0:
		return "[" + randomValue(random, depth-1) + " , " + randomValue(random, depth-1) + "]"
	case n == 2:
		return []string{"true", "false", "null"}[random.IntN(3)]
	case n == 3:
		return []string{"-0", "1.0", "1E3", "9007199254740993", "-123456789012345678901234567890", "1e400", "0.1e-7", "5e-324"}[random.IntN(8)]
	case n == 4:
		return strconv.FormatFloat(math.Trunc(random.NormFloat64()*1e6)/64, 'g', -1, 64)
	}
	return randomText(random)
}

// randomText spells what encoders disagree on.
func randomText(random *rand.Rand) string {
	parts := []string{"Olá!", "<b>&</b>", "\u2028", "\u2029", `\u2028`, "\xff\xfe", "\xed\xa0\x80", "\ufffd", `\ud83d\ude00`, `\ud800`, "😀",
		"\U0001F468\u200d", `\"`, `\\`, `\/`, "/", `\n`, `\u0000`, `\u001f`, "\x7f", "2", "10", "01", "__proto__", "b", "a", "sig=", " ", "日本"}
	var b strings.Builder
	b.WriteByte('"')
	for range random.IntN(4) {
		b.WriteString(parts[random.IntN(len(parts))])
	}
	b.WriteByte('"')
	return b.String()
}
