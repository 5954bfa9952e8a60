package auth

import (
	"bytes"
	"errors"
	"hash/crc32"
	"math/big"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
)

func TestNewKeyHasTheDocumentedForm(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^pmb_[0-9A-Za-z]{12}_[0-9A-Za-z]{31}[0-9A-Za-z]{6}$`)
	seen := map[string]bool{}
	for range 1000 {
		key := NewKey(testPepper())
		if !form.MatchString(key.Plain) {
			t.Fatalf("%q does not have the form %s", key.Plain, form)
		}
		parsed, err := ParseKey(key.Plain)
		if err != nil {
			t.Fatalf("ParseKey(%q): %v", key.Plain, err)
		}
		if parsed.Lookup != key.Lookup || !strings.HasSuffix(key.Plain, key.LastFour) || len(key.LastFour) != 4 {
			t.Fatalf("parts of %q are not those of %+v", key.Plain, key)
		}
		want := newDigester(testPepper()).sum(parsed.Secret)
		if !bytes.Equal(key.Digest, want[:]) || bytes.Contains(key.Digest, []byte(parsed.Secret)) {
			t.Fatal("the digest is not the secret's")
		}
		if seen[key.Lookup] || seen[parsed.Secret] {
			t.Fatal("the same part twice")
		}
		seen[key.Lookup], seen[parsed.Secret] = true, true
	}
}

func TestChecksumIsCRC32InBase62(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "pmb_", "pmb_0123456789ab_", strings.Repeat("z", 48)} {
		want := new(big.Int).SetUint64(uint64(crc32.ChecksumIEEE([]byte(text)))).Text(62)
		// math/big counts 0-9a-zA-Z; ours counts 0-9A-Za-z.
		want = strings.Map(func(r rune) rune {
			switch {
			case r >= 'a' && r <= 'z':
				return r - 'a' + 'A'
			case r >= 'A' && r <= 'Z':
				return r - 'A' + 'a'
			}
			return r
		}, strings.Repeat("0", 6-len(want))+want)
		if got := checksum(text); string(got[:]) != want {
			t.Errorf("checksum(%q) = %s, want %s", text, got, want)
		}
	}
}

func TestRandomBase62IsUniform(t *testing.T) {
	t.Parallel()
	const n = 62 * 2000
	counts := map[rune]int{}
	for _, c := range randomBase62(n) {
		counts[c]++
	}
	var chi2 float64
	for _, c := range base62 {
		d := float64(counts[c] - 2000)
		chi2 += d * d / 2000
	}
	// 61 degrees of freedom: beyond 140 once in 10^7 runs. Without the rejection it would be above 600.
	if chi2 > 140 {
		t.Errorf("chi-squared = %.0f over %d characters", chi2, n)
	}
}

// malformedKeys are changed from a good key in every way that a key can be broken by handling it.
func malformedKeys(good string) map[string]string {
	swap := func(i int) string {
		c := byte('x')
		if good[i] == 'x' {
			c = 'y'
		}
		return good[:i] + string(c) + good[i+1:]
	}
	return map[string]string{
		"empty":              "",
		"prefix only":        "pmb_",
		"truncated":          good[:keySize-1],
		"one more":           good + "0",
		"trailing space":     good + " ",
		"leading space":      " " + good,
		"no prefix":          good[4:],
		"other prefix":       "pmc_" + good[4:],
		"upper-case prefix":  "PMB_" + good[4:],
		"documented sample":  "sk_live_abc123def456ghi789",
		"wrong lookup":       swap(6),
		"wrong secret":       swap(30),
		"wrong checksum":     swap(keySize - 1),
		"no separator":       strings.Replace(good[:17], "_", "0", 2) + good[17:],
		"hyphens":            strings.ReplaceAll(good, "_", "-"),
		"other case":         strings.ToLower(good),
		"not base62":         appendChecksum("pmb_0123456789ab_" + strings.Repeat("-", secretSize)),
		"NUL":                appendChecksum("pmb_0123456789ab_" + strings.Repeat("\x00", secretSize)),
		"not ASCII":          appendChecksum("pmb_0123456789ab_" + strings.Repeat("é", 15) + "x"),
		"separator moved":    appendChecksum("pmb_0123456789_ab" + strings.Repeat("a", secretSize)),
		"huge":               strings.Repeat(good, 1000),
		"swapped characters": good[:20] + string(good[21]) + string(good[20]) + good[22:],
	}
}

func TestMalformedKeysAreRefusedWithoutAQuery(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.auth.poll(t.Context())
	const good = "pmb_0aB1cD2eF3gH_abcdefghijklmnopqrstuvwxyzABCDE"
	for name, text := range malformedKeys(appendChecksum(good)) {
		if _, err := ParseKey(text); !errors.Is(err, ErrMalformedKey) {
			t.Errorf("%s: ParseKey(%.80q) = %v, want ErrMalformedKey", name, text, err)
		}
		want := domain.CodeInvalidAPIKey
		if text == "" {
			want = domain.CodeMissingAPIKey
		}
		_, err := w.auth.Bearer(t.Context(), text)
		wantCode(t, err, want)
	}
	if n := w.store.total(); n != 0 {
		t.Errorf("%d queries were made for malformed keys, want 0", n)
	}
}

func TestBadKeysAllGetTheSameAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	good := w.keys["customer"]
	parsed, _ := ParseKey(good.plain)
	unknown := NewKey(testPepper())
	otherSecret, _ := ParseKey(unknown.Plain)
	revoked := w.addKey("revoked", "customer", func(k *domain.APIKey) { k.RevokedAt = time.Now() })
	otherPepper := NewKey(bytes.Repeat([]byte("pepper-1"), 4))
	w.addKey("under another pepper", "customer", func(k *domain.APIKey) {
		k.Lookup, k.Digest = otherPepper.Lookup, otherPepper.Digest
	})
	orphan := w.addKey("of no account", "customer", func(k *domain.APIKey) { k.AccountID = domain.NewID(time.Now()) })

	for name, text := range map[string]string{
		"malformed":            "pmb_nonsense",
		"not a key":            "sk_live_1234",
		"unknown":              unknown.Plain,
		"wrong secret":         appendChecksum(keyPrefix + parsed.Lookup + "_" + otherSecret.Secret),
		"another lookup":       appendChecksum(keyPrefix + unknown.Lookup + "_" + parsed.Secret),
		"revoked":              revoked.plain,
		"under another pepper": otherPepper.Plain,
		"of no account":        orphan.plain,
	} {
		_, err := w.auth.Bearer(t.Context(), text)
		if err == nil || err.Error() != invalidKey().Error() {
			t.Errorf("%s: error = %v, want %v", name, err, invalidKey())
		}
	}
	if p, err := w.auth.Bearer(t.Context(), good.plain); err != nil || p.Account.Name != "customer" {
		t.Errorf("the good key: %v, %v", p, err)
	}
}

func TestKeyPrincipal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	only := []domain.ID{w.ids["inst-a"]}
	key := w.addKey("narrow", "customer", func(k *domain.APIKey) {
		k.Scopes, k.Instances = domain.ScopeInstancesRead, only
	})
	p := w.login(t, "narrow")
	if p.Account.ID != w.ids["customer"] || p.Actor.ID != w.ids["customer"] || p.KeyID != key.id || p.KeyName != "narrow" {
		t.Errorf("principal = %+v", p)
	}
	if p.Scopes != domain.ScopeInstancesRead || !p.Restricted() || !p.MaySee(only[0]) || p.MaySee(w.ids["inst-b"]) {
		t.Errorf("principal may too much: %+v", p)
	}
	if p.ViaToken() || p.Children || p.Origin != "" {
		t.Errorf("principal is no plain key's: %+v", p)
	}
}

func TestKeyExpiresAndAccountsAreSuspended(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer run(t, w.auth)()
		w.addKey("short", "customer", func(k *domain.APIKey) { k.ExpiresAt = time.Now().Add(10 * time.Second) })
		w.login(t, "short")
		time.Sleep(10*time.Second - time.Millisecond)
		w.login(t, "short")
		time.Sleep(time.Millisecond)
		_, err := w.auth.Bearer(t.Context(), w.keys["short"].plain)
		wantCode(t, err, domain.CodeExpiredAPIKey)

		w.login(t, "child-1")
		suspend := func(a *domain.Account) { a.Status = domain.AccountSuspended }
		w.store.changeAccount(w.ids["partner"], suspend)
		time.Sleep(time.Second)
		for _, name := range []string{"partner", "child-1", "child-2"} {
			_, err = w.auth.Bearer(t.Context(), w.keys[name].plain)
			wantCode(t, err, domain.CodeInsufficient)
		}
		w.login(t, "rival-child")
		w.store.changeAccount(w.ids["partner"], func(a *domain.Account) { a.Status = domain.AccountActive })
		w.store.changeAccount(w.ids["child-2"], suspend)
		time.Sleep(time.Second)
		w.login(t, "child-1")
		_, err = w.auth.Bearer(t.Context(), w.keys["child-2"].plain)
		wantCode(t, err, domain.CodeInsufficient)
	})
}

func TestRotatedSecretsOverlap(t *testing.T) {
	t.Parallel()
	for name, sameLookup := range map[string]bool{"same lookup": true, "new lookup": false} {
		t.Run(name, func(t *testing.T) { testRotation(t, sameLookup) })
	}
}

func testRotation(t *testing.T, sameLookup bool) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer run(t, w.auth)()
		w.login(t, "customer")
		old := w.keys["customer"]
		parsed, _ := ParseKey(old.plain)
		newKey := func() domain.NewKeySecret {
			if sameLookup {
				return w.auth.KeyWithLookup(parsed.Lookup)
			}
			return w.auth.NewKey()
		}
		fresh := newKey()
		w.store.rotate(old.id, fresh, time.Hour)
		time.Sleep(time.Second)
		for name, text := range map[string]string{"new": fresh.Plain, "old": old.plain} {
			if _, err := w.auth.Bearer(t.Context(), text); err != nil {
				t.Errorf("%s secret during the overlap: %v", name, err)
			}
		}
		time.Sleep(time.Hour)
		_, err := w.auth.Bearer(t.Context(), fresh.Plain)
		wantCode(t, err, "")
		_, err = w.auth.Bearer(t.Context(), old.plain)
		wantCode(t, err, domain.CodeExpiredAPIKey)

		again := newKey()
		w.store.rotate(old.id, again, 0)
		time.Sleep(time.Second)
		_, err = w.auth.Bearer(t.Context(), again.Plain)
		wantCode(t, err, "")
		_, err = w.auth.Bearer(t.Context(), fresh.Plain)
		wantCode(t, err, domain.CodeExpiredAPIKey)
		_, err = w.auth.Bearer(t.Context(), old.plain)
		wantCode(t, err, domain.CodeInvalidAPIKey)
	})
}

func TestOldPeppersAreStillRecognised(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addInstance("inst-a", "customer", "ABCDEFGH-0123-4567")
	cfg := testConfig()
	cfg.Pepper, cfg.OldPeppers = bytes.Repeat([]byte("pepper-2"), 4), [][]byte{testPepper()}
	a, err := New(cfg, w.store, testSealer{"s1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Bearer(t.Context(), w.keys["customer"].plain); err != nil {
		t.Errorf("key under the old pepper: %v", err)
	}
	if _, _, err := a.APIKeyHeader(t.Context(), "ABCDEFGH-0123-4567"); err != nil {
		t.Errorf("instance token under the old pepper: %v", err)
	}
	if bytes.Equal(a.InstanceTokenDigest("x"), InstanceTokenDigest(testPepper(), "x")) {
		t.Error("new digests are under the old pepper")
	}
}

func FuzzParseKey(f *testing.F) {
	good := NewKey(testPepper()).Plain
	f.Add(good)
	for _, text := range malformedKeys(good) {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		key, err := ParseKey(text)
		if err != nil {
			if !errors.Is(err, ErrMalformedKey) || key != (ParsedKey{}) {
				t.Errorf("ParseKey = %v, %v", key, err)
			}
			return
		}
		if again := appendChecksum(keyPrefix + key.Lookup + "_" + key.Secret); again != text {
			t.Errorf("%q was taken for %q", text, again)
		}
	})
}

func BenchmarkParseKey(b *testing.B) {
	text := NewKey(testPepper()).Plain
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseKey(text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBearerKeyHit(b *testing.B) {
	w := newWorld(b)
	w.login(b, "customer")
	w.auth.seenAt.Store(int64(time.Hour)) // trusted throughout, without the polls
	text := w.keys["customer"].plain
	w.login(b, "customer")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.auth.Bearer(b.Context(), text); err != nil {
			b.Fatal(err)
		}
	}
}
