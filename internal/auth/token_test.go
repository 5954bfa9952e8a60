package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pombal-api/pombal/internal/domain"
)

// forgery is a token in the making, at first exactly like one that the server would mint.
type forgery struct {
	header, claims map[string]any
	rawClaims      string // instead of claims
	rawHeader      string // instead of header
	sign           func(input string) []byte
	finish         func(token string) string // a last change, after signing
}

func (f *forgery) token(tb testing.TB) string {
	tb.Helper()
	part := func(raw string, members map[string]any) string {
		if raw == "" {
			text, err := json.Marshal(members)
			if err != nil {
				tb.Fatal(err)
			}
			raw = string(text)
		}
		return base64.RawURLEncoding.EncodeToString([]byte(raw))
	}
	input := part(f.rawHeader, f.header) + "." + part(f.rawClaims, f.claims)
	token := input + "." + base64.RawURLEncoding.EncodeToString(f.sign(input))
	if f.finish != nil {
		token = f.finish(token)
	}
	return token
}

// claimsJSON is the claims as they stand, with more text before the closing brace.
func (f *forgery) claimsJSON(tb testing.TB, more string) string {
	tb.Helper()
	text, err := json.Marshal(f.claims)
	if err != nil {
		tb.Fatal(err)
	}
	return strings.TrimSuffix(string(text), "}") + more + "}"
}

// signingKey is the server's own, which the tests can read.
func (w *world) signingKey(tb testing.TB) (kid string, private ed25519.PrivateKey) {
	tb.Helper()
	key, err := w.auth.ring.signer(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return key.ID, key.private
}

// forge starts a token of the customer's key that would be accepted.
func (w *world) forge(tb testing.TB) *forgery {
	tb.Helper()
	kid, private := w.signingKey(tb)
	now := time.Now().Unix()
	return &forgery{
		header: map[string]any{"alg": "EdDSA", "kid": kid, "typ": "at+jwt"},
		claims: map[string]any{
			"iss": "https://pombal.test", "aud": "pombal", "sub": w.ids["customer"].Prefixed("acct"),
			"key": w.keys["customer"].id.Prefixed("key"), "scope": "instances:read", "jti": "tok_1",
			"iat": now, "nbf": now, "exp": now + 900,
		},
		sign: func(input string) []byte { return ed25519.Sign(private, []byte(input)) },
	}
}

func hs256(secret []byte) func(string) []byte {
	return func(input string) []byte {
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(input))
		return mac.Sum(nil)
	}
}

// forgedTokens are tokens that must not be accepted, by what is wrong with them. change gets a forgery
// that is right in everything.
type forgedToken struct {
	name   string
	change func(f *forgery)
	code   domain.Code // invalid_api_key unless set
}

func algorithmForgeries(t *testing.T, w *world) []forgedToken {
	_, private := w.signingKey(t)
	public := private.Public().(ed25519.PublicKey)
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, stranger, _ := ed25519.GenerateKey(rand.Reader)
	rs256 := func(input string) []byte {
		sum := sha256.Sum256([]byte(input))
		signature, _ := rsa.SignPKCS1v15(rand.Reader, rsaKey, crypto.SHA256, sum[:])
		return signature
	}
	es256 := func(input string) []byte {
		sum := sha256.Sum256([]byte(input))
		r, s, _ := ecdsa.Sign(rand.Reader, ecKey, sum[:])
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	}
	unsigned := func(string) []byte { return nil }
	with := func(alg string, sign func(string) []byte) func(*forgery) {
		return func(f *forgery) {
			f.header["alg"] = alg
			if sign != nil {
				f.sign = sign
			}
		}
	}
	return []forgedToken{
		{name: "alg none, unsigned", change: with("none", unsigned)},
		{name: "alg None, unsigned", change: with("None", unsigned)},
		{name: "alg empty, unsigned", change: with("", unsigned)},
		{name: "alg none, signed", change: with("none", nil)},
		{name: "HS256 with the public key", change: with("HS256", hs256(public))},
		{name: "HS256 with the public key in PEM", change: with("HS256", hs256(publicPEM))},
		{name: "HS256 with an empty key", change: with("HS256", hs256(nil))},
		{name: "RS256", change: with("RS256", rs256)},
		{name: "PS256", change: with("PS256", rs256)},
		{name: "ES256", change: with("ES256", es256)},
		{name: "Ed25519 as alg", change: with("Ed25519", nil)},
		{name: "eddsa in lower case", change: with("eddsa", nil)},
		{name: "alg missing", change: func(f *forgery) { delete(f.header, "alg") }},
		{name: "alg is a list", change: func(f *forgery) { f.header["alg"] = []string{"EdDSA"} }},
		{name: "unsigned", change: func(f *forgery) { f.sign = unsigned }},
		{name: "signed by a stranger", change: func(f *forgery) {
			f.sign = func(input string) []byte { return ed25519.Sign(stranger, []byte(input)) }
		}},
		{name: "signature of zeros", change: func(f *forgery) {
			f.sign = func(string) []byte { return make([]byte, ed25519.SignatureSize) }
		}},
		{name: "stranger's key in the header", change: func(f *forgery) {
			f.header["jwk"] = map[string]string{
				"kty": "OKP", "crv": "Ed25519", "x": base64.RawURLEncoding.EncodeToString(stranger.Public().(ed25519.PublicKey)),
			}
			f.sign = func(input string) []byte { return ed25519.Sign(stranger, []byte(input)) }
		}},
	}
}

func headerForgeries() []forgedToken {
	set := func(name string, value any) func(*forgery) {
		return func(f *forgery) { f.header[name] = value }
	}
	return []forgedToken{
		{name: "typ missing", change: func(f *forgery) { delete(f.header, "typ") }},
		{name: "typ of an ID token", change: set("typ", "JWT")},
		{name: "typ of a logout token", change: set("typ", "logout+jwt")},
		{name: "kid missing", change: func(f *forgery) { delete(f.header, "kid") }},
		{name: "kid unknown", change: set("kid", "2000-01-01-unknown0")},
		{name: "kid empty", change: set("kid", "")},
		{name: "kid is a path", change: set("kid", "../../dev/null")},
		{name: "kid is SQL", change: set("kid", "' OR '1'='1")},
		{name: "kid is a number", change: set("kid", 1)},
		{name: "crit", change: set("crit", []string{"exp"})},
		{name: "jku", change: set("jku", "https://evil.example/jwks.json")},
		{name: "x5u", change: set("x5u", "https://evil.example/cert.pem")},
		{name: "compressed", change: set("zip", "DEF")},
		{name: "nested", change: set("cty", "JWT")},
		{name: "header twice alg", change: func(f *forgery) {
			f.rawHeader = `{"alg":"none","alg":"EdDSA","kid":"` + f.header["kid"].(string) + `","typ":"at+jwt"}`
		}},
		{name: "header in upper case", change: func(f *forgery) {
			f.rawHeader = `{"ALG":"EdDSA","KID":"` + f.header["kid"].(string) + `","TYP":"at+jwt"}`
		}},
		{name: "header is null", change: func(f *forgery) { f.rawHeader = "null" }},
		{name: "header is an array", change: func(f *forgery) { f.rawHeader = "[]" }},
		{name: "header is no JSON", change: func(f *forgery) { f.rawHeader = "alg=EdDSA" }},
	}
}

func claimForgeries(t *testing.T, w *world) []forgedToken {
	now := time.Now().Unix()
	set := func(name string, value any) func(*forgery) {
		return func(f *forgery) { f.claims[name] = value }
	}
	without := func(name string) func(*forgery) {
		return func(f *forgery) { delete(f.claims, name) }
	}
	times := func(iat, nbf, exp int64) func(*forgery) {
		return func(f *forgery) { f.claims["iat"], f.claims["nbf"], f.claims["exp"] = iat, nbf, exp }
	}
	more := func(text string) func(*forgery) {
		return func(f *forgery) { f.rawClaims = f.claimsJSON(t, text) }
	}
	act := func(account string) map[string]string {
		return map[string]string{"sub": w.ids[account].Prefixed("acct")}
	}
	expired := domain.CodeExpiredAPIKey
	return []forgedToken{
		{name: "expired", change: times(now-1000, now-1000, now-100), code: expired},
		{name: "expired at the leeway", change: times(now-905, now-905, now-5), code: expired},
		{name: "expired and for another audience", change: func(f *forgery) {
			times(now-1000, now-1000, now-100)(f)
			f.claims["aud"] = "other"
		}},
		{name: "expired long before it was issued", change: times(now, now, now-100)},
		{name: "lives for a day", change: times(now, now, now+86400)},
		{name: "lives for an hour and a second", change: times(now, now, now+3601)},
		{name: "not yet valid", change: times(now, now+60, now+900)},
		{name: "issued in the future", change: times(now+60, now, now+900)},
		{name: "exp missing", change: without("exp")},
		{name: "exp null", change: set("exp", nil)},
		{name: "exp as text", change: set("exp", "9999999999")},
		{name: "exp fraction", change: set("exp", float64(now)+900.5)},
		{name: "exp beyond time", change: set("exp", 1e300)},
		{name: "exp negative", change: set("exp", -1)},
		{name: "exp at the end of int64", change: set("exp", int64(1<<63-1))},
		{name: "times before 1970", change: times(-1000, -1000, -100)},
		{name: "times beyond time", change: times(1<<63-901, 1<<63-901, 1<<63-1)},
		{name: "iat missing", change: without("iat")},
		{name: "iat at the start of int64", change: times(-1<<63, now, now+900)},
		{name: "iss missing", change: without("iss")},
		{name: "iss of another", change: set("iss", "https://evil.example")},
		{name: "iss with a slash more", change: set("iss", "https://pombal.test/")},
		{name: "iss in another case", change: set("iss", "https://POMBAL.test")},
		{name: "aud missing", change: without("aud")},
		{name: "aud of another", change: set("aud", "other")},
		{name: "aud is a list", change: set("aud", []string{"pombal", "other"})},
		{name: "aud empty", change: set("aud", "")},
		{name: "jti missing", change: without("jti")},
		{name: "sub missing", change: without("sub")},
		{name: "sub malformed", change: set("sub", "acct_x")},
		{name: "sub of the wrong kind", change: set("sub", w.keys["customer"].id.Prefixed("key"))},
		{name: "sub of another account", change: set("sub", w.ids["partner"].Prefixed("acct"))},
		{name: "key missing", change: without("key")},
		{name: "key of another account", change: set("key", w.keys["partner"].id.Prefixed("key"))},
		{name: "key unknown", change: set("key", domain.NewID(time.Now()).Prefixed("key"))},
		{name: "scope unknown", change: set("scope", "instances:read admin")},
		{name: "scope is a list", change: set("scope", []string{"instances:read"})},
		{name: "instance malformed", change: set("inst", []string{"inst_x"})},
		{name: "instances are text", change: set("inst", w.ids["inst-a"].Prefixed("inst"))},
		{name: "customer acts on a partner's child", change: func(f *forgery) {
			f.claims["sub"], f.claims["act"] = w.ids["child-1"].Prefixed("acct"), act("customer")
		}},
		{name: "partner acts on another's child", change: func(f *forgery) {
			f.claims["sub"], f.claims["act"] = w.ids["rival-child"].Prefixed("acct"), act("partner")
			f.claims["key"] = w.keys["partner"].id.Prefixed("key")
		}},
		{name: "partner acts on an account that is none", change: func(f *forgery) {
			f.claims["sub"], f.claims["act"] = domain.NewID(time.Now()).Prefixed("acct"), act("partner")
			f.claims["key"] = w.keys["partner"].id.Prefixed("key")
		}},
		{name: "actor malformed", change: set("act", map[string]string{"sub": "x"})},
		{name: "actor with more", change: set("act", map[string]string{"sub": w.ids["customer"].Prefixed("acct"), "x": "y"})},
		{name: "claim twice", change: more(`,"sub":"` + w.ids["partner"].Prefixed("acct") + `"`)},
		{name: "same claim twice", change: more(`,"jti":"tok_1"`)},
		{name: "claim in another case too", change: more(`,"Exp":99999999999`)},
		{name: "claim unknown", change: more(`,"admin":true`)},
		{name: "claims with invalid UTF-8", change: more(",\"azp\":\"\xff\"")},
		{name: "claims end early", change: more(`,"x":`)},
		{name: "claims are null", change: func(f *forgery) { f.rawClaims = "null" }},
		{name: "claims are an array", change: func(f *forgery) { f.rawClaims = "[]" }},
		{name: "claims are empty", change: func(f *forgery) { f.rawClaims = "{}" }},
		{name: "claims with something behind", change: func(f *forgery) { f.rawClaims = f.claimsJSON(t, "") + "{}" }},
		{name: "claims nested deeply", change: func(f *forgery) {
			f.rawClaims = strings.Repeat(`{"sub":`, 300) + "1" + strings.Repeat("}", 300)
		}},
	}
}

func spellingForgeries() []forgedToken {
	finish := func(change func(string) string) func(*forgery) {
		return func(f *forgery) { f.finish = change }
	}
	return []forgedToken{
		{name: "truncated", change: finish(func(s string) string { return s[:len(s)-1] })},
		{name: "cut in the claims", change: finish(func(s string) string { return s[:len(s)/2] })},
		{name: "two parts", change: finish(func(s string) string { return s[:strings.LastIndex(s, ".")] })},
		{name: "four parts", change: finish(func(s string) string { return s + ".e30" })},
		{name: "no header", change: finish(func(s string) string { return s[strings.Index(s, "."):] })},
		{name: "dots", change: finish(func(string) string { return ".." })},
		{name: "padded signature", change: finish(func(s string) string { return s + "==" })},
		{name: "padded header", change: finish(func(s string) string { return strings.Replace(s, ".", "=.", 1) })},
		{name: "standard base64", change: func(f *forgery) {
			sign := f.sign
			f.sign = func(input string) []byte { return sign(input + "x") } // and a wrong signature, should the alphabet pass
			f.finish = func(s string) string { return strings.NewReplacer("-", "+", "_", "/").Replace(s) + "+/" }
		}},
		{name: "bits behind the signature", change: finish(func(s string) string {
			// The last of 86 characters holds two bits; the others of its six must be zero.
			const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
			last := strings.IndexByte(alphabet, s[len(s)-1])
			return s[:len(s)-1] + string(alphabet[last|1])
		})},
		{name: "line break inside", change: finish(func(s string) string { return s[:len(s)-5] + "\n" + s[len(s)-5:] })},
		{name: "space inside", change: finish(func(s string) string { return s[:10] + " " + s[10:] })},
		{name: "NUL behind", change: finish(func(s string) string { return s + "\x00" })},
		{name: "claims of another token", change: finish(func(s string) string {
			parts := strings.Split(s, ".")
			parts[1] = base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"acct_0"}`))
			return strings.Join(parts, ".")
		})},
		{name: "huge", change: func(f *forgery) { f.claims["azp"] = strings.Repeat("a", maxCredential) }},
		{name: "a megabyte", change: finish(func(s string) string { return strings.Repeat("A", 1<<20) + s })},
	}
}

func TestForgedTokensAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if p, err := w.auth.Bearer(t.Context(), w.forge(t).token(t)); err != nil || p.Account.Name != "customer" {
		t.Fatalf("the token without a fault: %v, %v", p, err)
	}
	var all []forgedToken
	all = append(all, algorithmForgeries(t, w)...)
	all = append(all, headerForgeries()...)
	all = append(all, claimForgeries(t, w)...)
	all = append(all, spellingForgeries()...)
	for _, tc := range all {
		t.Run(tc.name, func(t *testing.T) {
			f := w.forge(t)
			tc.change(f)
			token := f.token(t)
			for range 2 { // a token once refused stays refused
				p, err := w.auth.Bearer(t.Context(), token)
				if err == nil {
					t.Fatalf("let in as %+v", p)
				}
				code := tc.code
				if code == "" {
					code = domain.CodeInvalidAPIKey
				}
				wantCode(t, err, code)
			}
		})
	}
	t.Logf("%d forged tokens", len(all))
}

func TestGoodTokensWithinTheLeeway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	now := time.Now().Unix()
	for name, change := range map[string]func(*forgery){
		"issued 3 s ahead": func(f *forgery) { f.claims["iat"], f.claims["nbf"], f.claims["exp"] = now+3, now+3, now+903 },
		"expired 2 s ago":  func(f *forgery) { f.claims["iat"], f.claims["exp"] = now-100, now-2 },
		"without nbf":      func(f *forgery) { delete(f.claims, "nbf") },
	} {
		f := w.forge(t)
		change(f)
		if _, err := w.auth.Bearer(t.Context(), f.token(t)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTokensAreNarrowedByTheirKey has tokens that claim more than their key has now.
func TestTokensAreNarrowedByTheirKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b, c := w.ids["inst-a"], w.ids["inst-b"], w.ids["inst-c"]
	narrow := w.addKey("narrow", "customer", func(k *domain.APIKey) {
		k.Scopes, k.Instances = domain.ScopeInstancesRead|domain.ScopeMessagesRead, []domain.ID{a, b}
	})
	for name, tc := range map[string]struct {
		claimed []domain.ID
		want    []domain.ID
	}{
		"all instances": {nil, []domain.ID{a, b}},
		"some":          {[]domain.ID{b, c}, []domain.ID{b}},
		"none in both":  {[]domain.ID{c}, []domain.ID{}},
	} {
		f := w.forge(t)
		f.claims["key"], f.claims["scope"] = narrow.id.Prefixed("key"), "instances:read instances:write keys:write"
		if tc.claimed != nil {
			var names []string
			for _, id := range tc.claimed {
				names = append(names, id.Prefixed("inst"))
			}
			f.claims["inst"] = names
		}
		p, err := w.auth.Bearer(t.Context(), f.token(t))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if p.Scopes != domain.ScopeInstancesRead {
			t.Errorf("%s: scopes = %v, want instances:read", name, p.Scopes)
		}
		if diff := cmp.Diff(tc.want, p.Instances); diff != "" {
			t.Errorf("%s: instances (-want +got):\n%s", name, diff)
		}
	}
}

func TestTokensEndWithTheirTimeKeyAndAccount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer run(t, w.auth)()
		w.addKey("ends", "customer", func(k *domain.APIKey) { k.ExpiresAt = time.Now().Add(90 * time.Second) })
		w.addKey("goes", "customer", func(*domain.APIKey) {})
		ends := w.mint(t, "ends", domain.TokenRequest{Lifetime: time.Hour})
		goes := w.mint(t, "goes", domain.TokenRequest{})
		short := w.mint(t, "customer", domain.TokenRequest{Lifetime: time.Minute})
		child := w.mint(t, "child-1", domain.TokenRequest{})
		check := func(name string, grant domain.TokenGrant, code domain.Code) {
			t.Helper()
			if _, err := w.auth.Bearer(t.Context(), grant.Token); err == nil && code != "" || err != nil && domain.CodeOf(err) != code {
				t.Errorf("%s: error = %v, want %q", name, err, code)
			}
		}
		for name, grant := range map[string]domain.TokenGrant{"ends": ends, "goes": goes, "short": short, "child": child} {
			check(name, grant, "")
		}
		if want := w.store.keys[w.keys["ends"].id].ExpiresAt; ends.ExpiresAt.After(want) {
			t.Errorf("the token ends at %v, after its key at %v", ends.ExpiresAt, want)
		}
		w.store.changeKey(w.keys["goes"].id, func(k *domain.APIKey) { k.RevokedAt = time.Now() })
		time.Sleep(time.Second)
		check("its key was revoked", goes, domain.CodeInvalidAPIKey)
		w.store.changeAccount(w.ids["partner"], func(a *domain.Account) { a.Status = domain.AccountSuspended })
		time.Sleep(time.Second)
		check("its account's partner was suspended", child, domain.CodeInsufficient)
		time.Sleep(57 * time.Second)
		check("its last second", short, "")
		time.Sleep(3 * time.Second)
		check("within the leeway", short, "")
		time.Sleep(leeway - 2*time.Second)
		check("its time is over", short, domain.CodeExpiredAPIKey)
		time.Sleep(30 * time.Second)
		check("its key expired", ends, domain.CodeExpiredAPIKey)
	})
}

func TestVerifiedTokensAreRememberedBriefly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer run(t, w.auth)()
		synctest.Wait() // the first look at the changes
		grant := w.mint(t, "customer", domain.TokenRequest{})
		login := func() *domain.Principal {
			t.Helper()
			p, err := w.auth.Bearer(t.Context(), grant.Token)
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		first := login()
		if login() != first {
			t.Error("the second use made another principal")
		}
		w.store.changeKey(w.keys["customer"].id, func(k *domain.APIKey) { k.Scopes = domain.ScopeEventsRead })
		time.Sleep(time.Second)
		if p := login(); p.Scopes != domain.ScopeEventsRead {
			t.Errorf("scopes = %v after the key lost all but events:read", p.Scopes)
		}
		time.Sleep(2 * verifiedFor)
		w.auth.tokens.mu.RLock()
		defer w.auth.tokens.mu.RUnlock()
		if n := len(w.auth.tokens.verified); n != 0 {
			t.Errorf("%d tokens are still remembered", n)
		}
	})
}

func TestPrincipalIsMadeAnewWhenAnythingWasReloaded(t *testing.T) {
	t.Parallel()
	var token verifiedToken
	accounts := []*accountRecord{{}, {}}
	records := []*keyRecord{{owner: accounts[0]}, {owner: accounts[0]}}
	first := token.made.get(records[0], accounts[0], &token)
	if token.made.get(records[0], accounts[0], &token) != first {
		t.Error("made anew although nothing was reloaded")
	}
	if token.made.get(records[1], accounts[0], &token) == first {
		t.Error("kept although the key was reloaded")
	}
	second := token.made.get(records[1], accounts[0], &token)
	if token.made.get(records[1], accounts[1], &token) == second {
		t.Error("kept although the account was reloaded")
	}
}

func TestTokenCacheIsBounded(t *testing.T) {
	t.Parallel()
	var c tokenCache
	now := time.Now()
	for i := range maxTokens + 100 {
		id := numbered(i)
		c.put(sha256.Sum256(id[:]), &verifiedToken{expires: now.Add(time.Hour)}, now)
	}
	if n := len(c.verified); n != maxTokens {
		t.Errorf("%d tokens remembered, want %d", n, maxTokens)
	}
}

// FuzzParseToken looks for a token that is accepted and is not the one that was minted.
func FuzzParseToken(f *testing.F) {
	w := newWorld(f)
	good := w.forge(f).token(f)
	f.Add(good)
	for _, forged := range append(headerForgeries(), spellingForgeries()...) {
		fg := w.forge(f)
		forged.change(fg)
		f.Add(fg.token(f))
	}
	ctx := f.Context()
	f.Fuzz(func(t *testing.T, text string) {
		_, err := w.auth.Bearer(ctx, text)
		if (err == nil) != (text == good) {
			t.Errorf("%q: error = %v", text, err)
		}
		if err != nil && domain.CodeOf(err) == domain.CodeInternal {
			t.Errorf("%q: %v", text, err)
		}
	})
}

func BenchmarkBearerTokenHit(b *testing.B) {
	w := newWorld(b)
	w.auth.seenAt.Store(int64(time.Hour))
	grant := w.mint(b, "customer", domain.TokenRequest{Origin: "https://app.example.com"})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.auth.Bearer(b.Context(), grant.Token); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyToken(b *testing.B) {
	w := newWorld(b)
	grant := w.mint(b, "customer", domain.TokenRequest{})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.auth.verify(b.Context(), grant.Token); err != nil {
			b.Fatal(err)
		}
	}
}
