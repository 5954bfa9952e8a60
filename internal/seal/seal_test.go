package seal_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/pombal-api/pombal/internal/seal"
)

// secret returns a fixed secret that is different for each n.
func secret(n byte) []byte {
	s := make([]byte, seal.MinSecret)
	for i := range s {
		s[i] = byte(i*i)*7 + n
	}
	return s
}

func newSealer(t *testing.T, secrets ...[]byte) *seal.Sealer {
	t.Helper()
	s, err := seal.New(secrets...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSealOpensOnlyInItsPlace(t *testing.T) {
	t.Parallel()
	s := newSealer(t, secret(1))
	plain := []byte("token-of-the-instance")
	here := []byte("acct-a|instances|token|row-1")
	sealed := s.Seal(plain, here)
	if bytes.Contains(sealed, plain) {
		t.Fatal("the sealed value holds the plaintext")
	}
	if len(sealed) != len(plain)+seal.Overhead {
		t.Errorf("sealed length %d, want %d", len(sealed), len(plain)+seal.Overhead)
	}
	got, err := s.Open(sealed, here)
	if err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("Open = %q, %v; want %q", got, err, plain)
	}
	for name, elsewhere := range map[string][]byte{
		"other account": []byte("acct-b|instances|token|row-1"),
		"other table":   []byte("acct-a|webhooks|token|row-1"),
		"other column":  []byte("acct-a|instances|secret|row-1"),
		"other row":     []byte("acct-a|instances|token|row-2"),
		"nothing":       nil,
	} {
		if _, err := s.Open(sealed, elsewhere); !errors.Is(err, seal.ErrCannotOpen) {
			t.Errorf("%s: Open error = %v, want ErrCannotOpen", name, err)
		}
	}
}

func TestSealIsRandomAndEveryBitCounts(t *testing.T) {
	t.Parallel()
	s := newSealer(t, secret(1))
	ad := []byte("place")
	sealed := s.Seal([]byte("x"), ad)
	if bytes.Equal(sealed, s.Seal([]byte("x"), ad)) {
		t.Error("the same value seals twice to the same bytes")
	}
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		if _, err := s.Open(changed, ad); !errors.Is(err, seal.ErrCannotOpen) {
			t.Errorf("byte %d flipped: error = %v, want ErrCannotOpen", i, err)
		}
	}
	for n := range sealed {
		if _, err := s.Open(sealed[:n], ad); !errors.Is(err, seal.ErrCannotOpen) {
			t.Errorf("cut to %d bytes: error = %v, want ErrCannotOpen", n, err)
		}
	}
}

func TestSealRotation(t *testing.T) {
	t.Parallel()
	ad := []byte("place")
	old, both, fresh := newSealer(t, secret(1)), newSealer(t, secret(2), secret(1)), newSealer(t, secret(2))
	byOld := old.Seal([]byte("old"), ad)
	byBoth := both.Seal([]byte("new"), ad)

	for name, tc := range map[string]struct {
		s      *seal.Sealer
		sealed []byte
		opens  bool
	}{
		"new sealer opens old value":        {both, byOld, true},
		"new sealer opens its own":          {both, byBoth, true},
		"after dropping the old secret":     {fresh, byBoth, true},
		"old value without the old secret":  {fresh, byOld, false},
		"old node cannot open the new ones": {old, byBoth, false},
	} {
		if _, err := tc.s.Open(tc.sealed, ad); (err == nil) != tc.opens {
			t.Errorf("%s: error = %v, want opens = %v", name, err, tc.opens)
		}
	}
	if both.Current(byOld) || !both.Current(byBoth) || both.Current(nil) {
		t.Error("Current does not tell values of the first secret from others")
	}
}

// TestSealedValuesStayReadable pins the format: a value sealed by an earlier version must open.
func TestSealedValuesStayReadable(t *testing.T) {
	t.Parallel()
	const sealedByV1 = "0183899c7396e4c2d416c7b2eaed32f23adc6cae42d5434b317fa39bb969965fec75be2509e067803b89d412b334e28ac9e4ce3efb8345b3459e6a73b3f62f3cf7"
	sealed, err := hex.DecodeString(sealedByV1)
	if err != nil {
		t.Fatal(err)
	}
	got, err := newSealer(t, secret(1)).Open(sealed, []byte("a|t|c|r"))
	if err != nil || string(got) != "kept since version 1" {
		t.Fatalf("Open = %q, %v", got, err)
	}
}

func TestDerive(t *testing.T) {
	t.Parallel()
	s := newSealer(t, secret(2), secret(1))
	all := s.DeriveAll("pepper", 32)
	if len(all) != 2 || !bytes.Equal(all[0], s.Derive("pepper", 32)) || bytes.Equal(all[0], all[1]) {
		t.Errorf("DeriveAll does not give one key for each secret, the first secret's first")
	}
	if !bytes.Equal(all[1], newSealer(t, secret(1)).Derive("pepper", 32)) {
		t.Error("a derived key depends on more than its secret and purpose")
	}
	if bytes.Equal(s.Derive("pepper", 32), s.Derive("cursor", 32)) {
		t.Error("two purposes derive the same key")
	}
	const want = "921fc9d11d34169dc9e754e496df1d870a44bd9c35cc394e1f903875e742ddee" // pins the derivation: another value would make every stored API key useless
	if got := hex.EncodeToString(newSealer(t, secret(1)).Derive("pepper", 32)); got != want {
		t.Errorf("Derive = %s, want %s", got, want)
	}
}

func TestNewRefusesWeakSecrets(t *testing.T) {
	t.Parallel()
	if _, err := seal.New(); err == nil || !strings.Contains(err.Error(), "openssl rand -base64 32") {
		t.Errorf("no secret: error = %v", err)
	}
	_, err := seal.New(secret(1), make([]byte, 32))
	if err == nil || !strings.HasPrefix(err.Error(), "secret 2: ") {
		t.Errorf("weak second secret: error = %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	s, err := seal.New(secret(1))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{}, []byte{})
	f.Add(s.Seal([]byte("x"), []byte("place")), []byte("other"))
	f.Fuzz(func(t *testing.T, sealed, ad []byte) {
		if plain, err := s.Open(sealed, ad); err == nil {
			t.Errorf("forged value opened as %q", plain)
		}
	})
}

func BenchmarkSealOpen(b *testing.B) {
	s, err := seal.New(secret(1))
	if err != nil {
		b.Fatal(err)
	}
	plain, ad := make([]byte, 500), []byte("place")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Open(s.Seal(plain, ad), ad); err != nil {
			b.Fatal(err)
		}
	}
}
