package seal_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/pombal-api/pombal/internal/seal"
)

func TestParseSecretAcceptsWhatOpensslMakes(t *testing.T) {
	t.Parallel()
	for range 1000 {
		raw := make([]byte, 32)
		_, _ = rand.Read(raw)
		for name, text := range map[string]string{
			"base64":            base64.StdEncoding.EncodeToString(raw),
			"base64 with space": " " + base64.StdEncoding.EncodeToString(raw) + "\n",
			"base64 unpadded":   base64.RawStdEncoding.EncodeToString(raw),
			"base64url":         base64.URLEncoding.EncodeToString(raw),
		} {
			got, err := seal.ParseSecret(text)
			if err != nil || !bytes.Equal(got, raw) {
				t.Fatalf("%s: ParseSecret(%q) = %x, %v; want %x", name, text, got, err, raw)
			}
		}
		if _, err := seal.ParseSecret(hex.EncodeToString(raw)); err != nil {
			t.Fatalf("hex: %v", err)
		}
	}
}

func TestParseSecretRefusesWeakOnes(t *testing.T) {
	t.Parallel()
	encode := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	counting := make([]byte, 40)
	for i := range counting {
		counting[i] = byte(200 - 3*i)
	}
	for name, text := range map[string]string{
		"empty":           "",
		"spaces":          "  \n",
		"short":           "hunter2",
		"31 bytes":        encode(strings.Repeat("x", 30) + "y"),
		"not base64":      "this is not base64 but is quite long, longer than any secret",
		"zeros":           encode(strings.Repeat("\x00", 32)),
		"equal bytes":     encode(strings.Repeat("\xa7", 64)),
		"repeated block":  encode(strings.Repeat("a9!Kz", 9)),
		"counting down":   encode(string(counting)),
		"few bytes":       encode("abcabbacbcaabcbcabcbabcabcbabcabcb"),
		"default":         encode("changeme-before-you-go-to-production!"),
		"default as text": "changemechangemechangemechangemechangemechangemeXY0=",
		"alphabet":        encode("abcdefghijklmnopqrstuvwxyzABCDEFGHIJ!"),
		"hex digits":      "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
	} {
		err := seal.CheckSecret(text)
		if err == nil {
			t.Errorf("%s: %q was accepted", name, text)
			continue
		}
		if !strings.Contains(err.Error(), "openssl rand -base64 32") {
			t.Errorf("%s: the error does not say how to make a secret: %v", name, err)
		}
		if text = strings.TrimSpace(text); text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("%s: the error repeats the secret: %v", name, err)
		}
	}
}
