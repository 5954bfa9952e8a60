package auth

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pombal-api/pombal/internal/domain"
)

// published returns the kids of the JWKS, having checked the form of its keys.
func published(t *testing.T, a *Authenticator) []string {
	t.Helper()
	text, err := a.JWKS(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var set struct{ Keys []map[string]string }
	if err := json.Unmarshal(text, &set); err != nil {
		t.Fatal(err)
	}
	var kids []string
	for _, key := range set.Keys {
		kids = append(kids, key["kid"])
		if x, err := base64.RawURLEncoding.DecodeString(key["x"]); err != nil || len(x) != ed25519.PublicKeySize {
			t.Errorf("x = %q", key["x"])
		}
		delete(key, "x")
		want := map[string]string{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": key["kid"]}
		if diff := cmp.Diff(want, key); diff != "" {
			t.Errorf("key (-want +got):\n%s", diff)
		}
	}
	return kids
}

// kidOf returns the kid of a token.
func kidOf(t *testing.T, token string) string {
	t.Helper()
	h, ok := readHeader(token)
	if !ok {
		t.Fatalf("header of %q", token)
	}
	return h.KeyID
}

func TestJWKSVerifiesTokensWithoutUs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	text, err := w.auth.JWKS(t.Context()) // the first use makes the first key
	if err != nil {
		t.Fatal(err)
	}
	var set struct{ Keys []jsonWebKey }
	if err := json.Unmarshal(text, &set); err != nil || len(set.Keys) != 1 {
		t.Fatalf("JWKS %s, %v", text, err)
	}
	token := w.mint(t, "customer", domain.TokenRequest{}).Token
	public, _ := base64.RawURLEncoding.DecodeString(set.Keys[0].X)
	dot := strings.LastIndex(token, ".")
	signature, _ := base64.RawURLEncoding.DecodeString(token[dot+1:])
	if !ed25519.Verify(public, []byte(token[:dot]), signature) || kidOf(t, token) != set.Keys[0].KeyID {
		t.Error("the published key does not verify the token")
	}
	if strings.Contains(string(text), `"d"`) {
		t.Error("the private key is published")
	}
}

func TestSigningKeyRotation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		other := w.node(t)
		defer run(t, w.auth)()
		defer run(t, other)()
		before := w.mint(t, "customer", domain.TokenRequest{Lifetime: time.Hour}).Token
		first := kidOf(t, before)
		if _, err := other.Bearer(t.Context(), before); err != nil {
			t.Fatalf("the other node does not know the first key: %v", err)
		}
		if err := w.auth.RotateSigningKey(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(renewEvery + time.Second) // until the other node has looked
		kids := published(t, w.auth)
		if len(kids) != 2 || !slices.Contains(kids, first) || !slices.Equal(kids, published(t, other)) {
			t.Fatalf("published %v and %v", kids, published(t, other))
		}
		if kid := kidOf(t, w.mint(t, "customer", domain.TokenRequest{}).Token); kid != first {
			t.Errorf("the new key signs before verifiers can know it")
		}
		time.Sleep(publishAhead - renewEvery - 2*time.Second)
		last := w.mint(t, "customer", domain.TokenRequest{Lifetime: time.Hour}).Token
		if kidOf(t, last) != first {
			t.Errorf("the new key signs too early")
		}
		time.Sleep(time.Second)
		after := w.mint(t, "customer", domain.TokenRequest{}).Token
		if kid := kidOf(t, after); kid == first || !slices.Contains(kids, kid) {
			t.Errorf("signed by %s, want the new key of %v", kid, kids)
		}
		for _, a := range []*Authenticator{w.auth, other} {
			for _, token := range []string{before, last, after} {
				if _, err := a.Bearer(t.Context(), token); err != nil {
					t.Errorf("during the overlap: %v", err)
				}
			}
		}
		time.Sleep(time.Hour - 2*time.Second) // the last token of the old key is about to end
		if _, err := other.Bearer(t.Context(), last); err != nil {
			t.Errorf("the old key retired before its last token ended: %v", err)
		}
		time.Sleep(retireAfter)
		if kids := published(t, other); len(kids) != 1 || kids[0] == first {
			t.Errorf("published %v after the old key retired", kids)
		}
		f := w.forge(t)
		f.header["kid"] = first
		old, _ := testSealer{"s1"}.Open(w.store.signing[0].Sealed, sealedAt(first))
		f.sign = func(input string) []byte { return ed25519.Sign(ed25519.NewKeyFromSeed(old), []byte(input)) }
		_, err := other.Bearer(t.Context(), f.token(t))
		wantCode(t, err, domain.CodeInvalidAPIKey)
	})
}

func TestSigningKeysAreRenewedMonthly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		nodes := []*Authenticator{w.auth, w.node(t), w.node(t)}
		for i, a := range nodes {
			a.ring.jitter = time.Duration(i*10) * time.Minute
			published(t, a)
		}
		renewAll := func() {
			for _, a := range nodes {
				a.renewSigningKeys(t.Context())
			}
		}
		time.Sleep(rotateAfter - time.Minute)
		renewAll()
		if n := len(w.store.signing); n != 1 {
			t.Errorf("%d keys before their time", n)
		}
		for range 120 { // two hours
			time.Sleep(renewEvery)
			renewAll()
		}
		if n := len(w.store.signing); n != 2 {
			t.Errorf("%d keys after a month, want 2: one node renews for all", n)
		}
	})
}

func TestFirstKeyOfManyNodes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nodes := []*Authenticator{w.auth, w.node(t), w.node(t), w.node(t)}
	tokens := make([]string, len(nodes))
	var wg sync.WaitGroup
	for i, a := range nodes {
		wg.Go(func() {
			p, err := a.Bearer(t.Context(), w.keys["customer"].plain)
			if err != nil {
				t.Error(err)
				return
			}
			grant, err := a.Mint(t.Context(), p, domain.TokenRequest{})
			if err != nil {
				t.Error(err)
			}
			tokens[i] = grant.Token
		})
	}
	wg.Wait()
	for _, a := range nodes {
		for _, token := range tokens {
			if _, err := a.Bearer(t.Context(), token); err != nil {
				t.Errorf("a node refuses a token of another: %v", err)
			}
		}
	}
}

func TestUnknownKidsAreLookedUpRarely(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		other := w.node(t)
		token := w.forge(t).token(t)
		unknown := w.forge(t)
		unknown.header["kid"] = "2000-01-01-unknown0"
		forged := unknown.token(t)
		before := w.store.count("SigningKeys")
		for range 1000 {
			_, err := other.Bearer(t.Context(), forged)
			wantCode(t, err, domain.CodeInvalidAPIKey)
		}
		if n := w.store.count("SigningKeys") - before; n != 1 {
			t.Errorf("%d looks into the database for 1000 tokens, want 1", n)
		}
		if _, err := other.Bearer(t.Context(), token); err != nil {
			t.Errorf("a known kid in between: %v", err)
		}
		time.Sleep(unknownEvery)
		_, _ = other.Bearer(t.Context(), forged)
		if n := w.store.count("SigningKeys") - before; n != 2 {
			t.Errorf("%d looks after %v, want 2", n, unknownEvery)
		}
	})
}

func TestTokensWhileTheDatabaseIsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		token := w.forge(t).token(t)
		other := w.node(t)
		w.store.setDown(errors.New("down"))
		for range 3 { // not even the second time is it "invalid"
			_, err := other.Bearer(t.Context(), token)
			wantCode(t, err, domain.CodeUnavailable)
		}
		_, err := other.JWKS(t.Context())
		wantCode(t, err, domain.CodeUnavailable)
		if err := other.RotateSigningKey(t.Context()); domain.CodeOf(err) != domain.CodeUnavailable {
			t.Errorf("RotateSigningKey: %v", err)
		}
		w.store.setDown(nil)
		time.Sleep(retryEvery)
		if _, err := other.Bearer(t.Context(), token); err != nil {
			t.Errorf("after the recovery: %v", err)
		}
	})
}

// TestSigningKeyOfALostSecret has an operator who replaced the secret and did not keep the old one.
func TestSigningKeyOfALostSecret(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := w.mint(t, "customer", domain.TokenRequest{}).Token
	a, err := New(testConfig(), w.store, testSealer{"s2"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Bearer(t.Context(), old); err != nil {
		t.Errorf("the old token: %v", err)
	}
	w.auth = a
	fresh := w.mint(t, "customer", domain.TokenRequest{}).Token
	if kidOf(t, fresh) == kidOf(t, old) {
		t.Error("signed with a key that cannot be opened")
	}
	for _, token := range []string{old, fresh} {
		if _, err := a.Bearer(t.Context(), token); err != nil {
			t.Error(err)
		}
	}
	if kids := published(t, a); len(kids) != 2 {
		t.Errorf("published %v", kids)
	}
}

func TestNewRefusesAWeakConfig(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Config){
		"short pepper": func(c *Config) { c.Pepper = c.Pepper[:31] },
		"no issuer":    func(c *Config) { c.Issuer = "" },
		"long issuer":  func(c *Config) { c.Issuer = strings.Repeat("i", 256) },
		"no audience":  func(c *Config) { c.Audience = "" },
	} {
		cfg := testConfig()
		change(&cfg)
		if _, err := New(cfg, newFakeStore(), testSealer{}); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}
