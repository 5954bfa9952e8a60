package httpapi_test

import (
	"crypto"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/app"
	"github.com/pombal-api/pombal/internal/seal"
	"github.com/pombal-api/pombal/internal/store"
	"github.com/pombal-api/pombal/internal/testkit"
	"github.com/pombal-api/pombal/internal/testkit/apitest"
)

const (
	missingKey = "missing_api_key"
	invalidKey = "invalid_api_key"
	expiredKey = "expired_api_key"
)

// unauthorized returns a row that tries to delete the world's instance.
func (w *world) unauthorized(name, code string, authorization ...string) row {
	r := row{name: name, method: "DELETE", target: "/v1/instances/" + w.ids["Instance"], status: 401, code: code}
	for _, value := range authorization {
		r.header = append(r.header, "Authorization", value)
	}
	return r
}

func TestBadAuthorization(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		w := newWorld(t, s)
		revoked, ended := w.NewKey(t), w.endedKey(t)
		w.revoke(t, revoked)
		good := "Bearer " + w.Key
		rows := []row{
			w.unauthorized("missing", missingKey),
			w.unauthorized("empty", invalidKey, ""),
			w.unauthorized("no key", invalidKey, "Bearer"),
			w.unauthorized("spaces for a key", invalidKey, "Bearer    "),
			w.unauthorized("no scheme", invalidKey, w.Key),
			w.unauthorized("Basic", invalidKey, "Basic "+base64.StdEncoding.EncodeToString([]byte("user:"+w.Key))),
			w.unauthorized("key as Basic", invalidKey, "Basic "+w.Key),
			w.unauthorized("Token", invalidKey, "Token "+w.Key),
			w.unauthorized("joined", invalidKey, "Bearer"+w.Key),
			w.unauthorized("tab", invalidKey, "Bearer\t"+w.Key),
			w.unauthorized("two keys", invalidKey, good+" "+w.Key),
			w.unauthorized("comma", invalidKey, good+", "+good),
			w.unauthorized("doubled", invalidKey, good, good),
			w.unauthorized("doubled with a bad one", invalidKey, "Bearer x", good),
			w.unauthorized("quoted", invalidKey, `Bearer "`+w.Key+`"`),
			w.unauthorized("malformed", invalidKey, "Bearer pmb_x"),
			w.unauthorized("no prefix", invalidKey, "Bearer "+strings.TrimPrefix(w.Key, "pmb_")),
			w.unauthorized("documented sample", invalidKey, "Bearer sk_live_xxxxxxxxxxxxxxxx"),
			w.unauthorized("upper case", invalidKey, "Bearer "+strings.ToUpper(w.Key)),
			w.unauthorized("truncated", invalidKey, good[:len(good)-1]),
			w.unauthorized("longer", invalidKey, good+"0"),
			w.unauthorized("wrong checksum", invalidKey, swapEnd(good)),
			w.unauthorized("other secret with its checksum", invalidKey, "Bearer "+splice(w.Key, w.NewKey(t))),
			w.unauthorized("no ASCII", invalidKey, good[:20]+"é"+good[21:]),
			w.unauthorized("10 KB", invalidKey, "Bearer "+strings.Repeat("a", 10_000)),
			w.unauthorized("revoked", invalidKey, "Bearer "+revoked),
			w.unauthorized("expired", expiredKey, "Bearer "+ended),
			w.unauthorized("instance's token", invalidKey, "Bearer "+instanceToken(t, s, w.Tenant)),
			w.unauthorized("key in the header apikey", missingKey),
			w.unauthorized("key in the query", missingKey),
			w.unauthorized("key in a cookie", missingKey),
		}
		rows[len(rows)-3].header = []string{"apikey", w.Key}
		rows[len(rows)-2].target += "?apikey=" + w.Key
		rows[len(rows)-1].header = []string{"Cookie", "Authorization=" + w.Key}
		w.refuse(t, newAsker(t, s), rows)
		for _, fine := range []string{"bearer " + w.Key, "BEARER   " + w.Key} {
			if a := newAsker(t, s, "Authorization", fine).do(t, "GET", "/v1/instances", nil); a.Status != http.StatusOK {
				t.Errorf("the scheme in another case is refused: %s", a.Body)
			}
		}
	})
}

// swapEnd changes the last character.
func swapEnd(s string) string {
	last := "0"
	if strings.HasSuffix(s, last) {
		last = "1"
	}
	return s[:len(s)-1] + last
}

// splice returns the public part of one key with the secret and checksum of another.
func splice(one, other string) string {
	cut := strings.LastIndex(one, "_")
	return one[:cut] + other[cut:]
}

// endedKey makes a key that has expired already.
func (w *world) endedKey(tb testing.TB) string {
	tb.Helper()
	_, secret, err := w.Server.Operator.CreateKey(tb.Context(), app.NewKey{Account: w.ID, Name: "ended", Expires: time.Nanosecond})
	if err != nil {
		tb.Fatal(err)
	}
	return secret
}

// revoke uses the key, so that it is remembered, and revokes it.
func (w *world) revoke(tb testing.TB, secret string) {
	tb.Helper()
	bearer(tb, w.Server, secret).do(tb, "GET", "/v1/limits", nil).decode(tb, new(any))
	var keys []struct{ ID, LastFour string }
	w.do(tb, "GET", "/v1/api-keys?limit=100", nil).decode(tb, &keys)
	for _, key := range keys {
		if strings.HasSuffix(secret, key.LastFour) {
			w.do(tb, "DELETE", "/v1/api-keys/"+key.ID, nil).decode(tb, new(any))
		}
	}
}

// forger makes tokens with the server's own signing key, and worse ones.
type forger struct {
	private        ed25519.PrivateKey
	header, claims map[string]any // of a good token
}

// newForger takes the signing key out of the database, which takes the operator's secret.
func newForger(tb testing.TB, w *world, cfg app.Config) *forger {
	tb.Helper()
	parts := strings.Split(mint(tb, w.asker, `{}`), ".")
	f := &forger{}
	for i, into := range []*map[string]any{&f.header, &f.claims} {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err == nil {
			decoder := json.NewDecoder(strings.NewReader(string(text)))
			decoder.UseNumber()
			err = decoder.Decode(into)
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	secret, err := seal.ParseSecret(string(cfg.Secret))
	if err != nil {
		tb.Fatal(err)
	}
	sealer, err := seal.New(secret)
	if err != nil {
		tb.Fatal(err)
	}
	db, err := store.Open(tb.Context(), store.Config{URL: string(cfg.DatabaseURL), DataDir: cfg.DataDir, MaxConns: 1})
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	keys, err := db.SigningKeys(tb.Context())
	if err != nil || len(keys) != 1 {
		tb.Fatalf("%d signing keys, %v", len(keys), err)
	}
	seed, err := sealer.Open(keys[0].Sealed, []byte("|signing_keys|sealed|"+keys[0].ID))
	if err != nil {
		tb.Fatal(err)
	}
	f.private = ed25519.NewKeyFromSeed(seed)
	return f
}

func (f *forger) sign(text []byte) []byte { return ed25519.Sign(f.private, text) }

// forgery is what to change of a good token: nil values remove a field.
type forgery struct {
	header, claims map[string]any
	sign           func([]byte) []byte // with the server's own key if nil
	mangle         func(token string) string
}

func (f *forger) token(tb testing.TB, y forgery) string {
	tb.Helper()
	encode := func(good, changes map[string]any) string {
		object := maps.Clone(good)
		for name, value := range changes {
			if object[name] = value; value == nil {
				delete(object, name)
			}
		}
		text, err := json.Marshal(object)
		if err != nil {
			tb.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	if y.sign == nil {
		y.sign = f.sign
	}
	signed := encode(f.header, y.header) + "." + encode(f.claims, y.claims)
	token := signed + "." + base64.RawURLEncoding.EncodeToString(y.sign([]byte(signed)))
	if y.mangle != nil {
		token = y.mangle(token)
	}
	return token
}

// hmacWith signs as HS256 does.
func hmacWith(key []byte) func([]byte) []byte {
	return func(text []byte) []byte {
		mac := hmac.New(sha256.New, key)
		mac.Write(text)
		return mac.Sum(nil)
	}
}

type object = map[string]any

func TestBadTokens(t *testing.T) {
	t.Parallel()
	for _, engine := range testkit.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			db := apitest.NewDatabase(t, engine)
			s := apitest.StartOn(t, db)
			w := newWorld(t, s)
			f := newForger(t, w, apitest.Config(db))
			good := f.token(t, forgery{claims: object{"jti": "tok_0000"}})
			if a := bearer(t, s, good).do(t, "GET", "/v1/instances", nil); a.Status != http.StatusOK {
				t.Fatalf("the forger's good token is refused, so bad ones prove nothing: %s", a.Body)
			}
			var rows []row
			for name, y := range f.forgeries(t, w) {
				rows = append(rows, w.unauthorized(name, invalidKey, "Bearer "+f.token(t, y)))
			}
			past := time.Now().Add(-time.Hour).Unix()
			rows = append(rows, w.unauthorized("expired", expiredKey,
				"Bearer "+f.token(t, forgery{claims: object{"exp": past, "iat": past - 900, "nbf": past - 900}})))
			revoked := w.NewKey(t)
			orphan := mint(t, bearer(t, s, revoked), `{}`)
			w.revoke(t, revoked)
			rows = append(rows, w.unauthorized("of a revoked key", invalidKey, "Bearer "+orphan))
			w.refuse(t, newAsker(t, s), rows)
		})
	}
}

// forgeries lists tokens that must all be refused as invalid.
func (f *forger) forgeries(t *testing.T, w *world) map[string]forgery {
	t.Helper()
	public := f.private.Public().(ed25519.PublicKey)
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	asPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	asText := []byte(base64.RawURLEncoding.EncodeToString(public))
	foreign, foreignKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	nothing := func([]byte) []byte { return nil }
	byForeign := func(text []byte) []byte { return ed25519.Sign(foreignKey, text) }
	now := time.Now().Unix()
	claims := func(name string, value any) forgery { return forgery{claims: object{name: value}} }
	header := func(name string, value any) forgery { return forgery{header: object{name: value}} }
	stranger := w.Server.NewTenant(t)
	return map[string]forgery{
		"alg none":               {header: object{"alg": "none"}, sign: nothing},
		"alg None":               {header: object{"alg": "None"}, sign: nothing},
		"alg none, signed":       header("alg", "none"),
		"alg empty":              header("alg", ""),
		"alg missing":            header("alg", nil),
		"alg in lower case":      header("alg", "eddsa"),
		"alg a list":             header("alg", []string{"EdDSA"}),
		"no signature":           {sign: nothing},
		"HS256, public key":      {header: object{"alg": "HS256"}, sign: hmacWith(public)},
		"HS256, key as text":     {header: object{"alg": "HS256"}, sign: hmacWith(asText)},
		"HS256, key as PEM":      {header: object{"alg": "HS256"}, sign: hmacWith(asPEM)},
		"HS256, key as DER":      {header: object{"alg": "HS256"}, sign: hmacWith(der)},
		"HS256, empty key":       {header: object{"alg": "HS256"}, sign: hmacWith(nil)},
		"HMAC called EdDSA":      {sign: hmacWith(public)},
		"RS256":                  {header: object{"alg": "RS256"}, sign: rsaSigner(t)},
		"EdDSA called RS256":     header("alg", "RS256"),
		"EdDSA called ES256":     header("alg", "ES256"),
		"another key":            {sign: byForeign},
		"another key, named":     {header: object{"kid": "mine"}, sign: byForeign},
		"another key, enclosed":  {header: object{"jwk": object{"kty": "OKP", "crv": "Ed25519", "x": base64.RawURLEncoding.EncodeToString(foreign)}}, sign: byForeign},
		"another key, linked":    {header: object{"jku": "https://example.com/jwks.json"}, sign: byForeign},
		"kid missing":            header("kid", nil),
		"kid empty":              header("kid", ""),
		"kid unknown":            header("kid", "2026-01-01-unknown0"),
		"kid a path":             header("kid", "../../dev/null"),
		"kid SQL":                header("kid", "' OR 1=1--"),
		"kid with NUL":           header("kid", "a\x00b"),
		"kid a number":           header("kid", 7),
		"typ missing":            header("typ", nil),
		"typ JWT":                header("typ", "JWT"),
		"crit":                   header("crit", []string{"exp"}),
		"b64":                    header("b64", false),
		"iss of another":         claims("iss", "another"),
		"iss missing":            claims("iss", nil),
		"iss in upper case":      claims("iss", "POMBAL-TEST"),
		"iss a list":             claims("iss", []string{"pombal-test"}),
		"aud of another":         claims("aud", "another"),
		"aud missing":            claims("aud", nil),
		"aud a list":             claims("aud", []string{"pombal-test", "another"}),
		"exp missing":            claims("exp", nil),
		"exp null":               {mangle: func(string) string { return f.rawClaims(t, `"exp":null`) }},
		"exp a text":             claims("exp", "9999999999"),
		"exp a fraction":         claims("exp", float64(now)+899.5),
		"exp negative":           claims("exp", -1),
		"exp in 1,000 years":     claims("exp", now+1000*365*86400),
		"exp beyond an hour":     claims("exp", now+3700),
		"exp beyond 64 bits":     claims("exp", json.Number("1e30")),
		"exp before iat":         {claims: object{"iat": now, "exp": now - 1}},
		"nbf in the future":      claims("nbf", now+600),
		"iat in the future":      {claims: object{"iat": now + 600, "exp": now + 900}},
		"iat missing":            claims("iat", nil),
		"jti missing":            claims("jti", nil),
		"sub of another":         claims("sub", stranger.ID),
		"sub malformed":          claims("sub", "acct_x"),
		"sub missing":            claims("sub", nil),
		"sub a child":            {claims: object{"sub": stranger.ID, "act": object{"sub": w.ID}}},
		"key unknown":            claims("key", unknownIDs()["ApiKey"]),
		"key missing":            claims("key", nil),
		"scope unknown":          claims("scope", "instances:read root"),
		"claim unknown":          claims("admin", true),
		"claim in another case":  claims("Scope", "instances:write"),
		"claim twice":            {mangle: func(string) string { return f.rawClaims(t, `"exp":9999999999`) }},
		"claims no object":       {mangle: func(string) string { return f.raw(t, `["a"]`) }},
		"claims empty":           {mangle: func(string) string { return f.raw(t, `{}`) }},
		"claims no JSON":         {mangle: func(string) string { return f.raw(t, `{`) }},
		"other claims, same sig": {mangle: tampered},
		"padded":                 {mangle: func(token string) string { return token + "==" }},
		"truncated":              {mangle: func(token string) string { return token[:len(token)-1] }},
		"longer":                 {mangle: func(token string) string { return token + "A" }},
		"other signature":        {mangle: func(token string) string { return swapMiddle(token) }},
		"four parts":             {mangle: func(token string) string { return token + ".x" }},
		"two parts":              {mangle: func(token string) string { return token[:strings.LastIndex(token, ".")] }},
		"dots":                   {mangle: func(string) string { return ".." }},
		"encrypted":              {mangle: func(token string) string { return token + ".a.b" }},
		"standard base64":        {mangle: func(token string) string { return strings.NewReplacer("-", "+", "_", "/").Replace(token) + "+" }},
		"5 KB":                   claims("azp", "https://"+strings.Repeat("a", 5000)+".example.com"),
	}
}

// raw signs any text as the claims.
func (f *forger) raw(tb testing.TB, claims string) string {
	tb.Helper()
	head, _, _ := strings.Cut(f.token(tb, forgery{}), ".")
	signed := head + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	return signed + "." + base64.RawURLEncoding.EncodeToString(f.sign([]byte(signed)))
}

// rawClaims signs the good claims with one more, which JSON encoders would not write.
func (f *forger) rawClaims(tb testing.TB, more string) string {
	tb.Helper()
	good := maps.Clone(f.claims)
	if strings.HasSuffix(more, "null") {
		delete(good, "exp")
	}
	text, err := json.Marshal(good)
	if err != nil {
		tb.Fatal(err)
	}
	return f.raw(tb, string(text[:len(text)-1])+","+more+"}")
}

// tampered gives itself all scopes under a signature of other claims.
func tampered(token string) string {
	parts := strings.Split(token, ".")
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return token // which is good, so the test fails
	}
	parts[1] = base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(claims), "tok_", "tik_", 1)))
	return strings.Join(parts, ".")
}

// swapMiddle changes a character of the signature.
func swapMiddle(token string) string {
	at := len(token) - 40
	other := "A"
	if token[at] == 'A' {
		other = "B"
	}
	return token[:at] + other + token[at+1:]
}

func rsaSigner(t *testing.T) func([]byte) []byte {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return func(text []byte) []byte {
		sum := sha256.Sum256(text)
		signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		return signature
	}
}
