package auth

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pombal-api/pombal/internal/domain"
)

// payload returns the claims of a token, unverified.
func payload(t *testing.T, token string) map[string]any {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(text, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

func TestMintedTokenRoundTrip(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 2, 3, 12, 0, 0, 123e6, time.UTC)
	w := newWorld(t)
	w.auth.now = func() time.Time { return now }
	w.auth.ring.now = w.auth.now
	cfg := testConfig()
	cfg.Now = w.auth.now
	w.auth.parser = newParser(cfg)
	a := w.ids["inst-a"]
	grant := w.mint(t, "customer", domain.TokenRequest{
		Scopes: domain.ScopeInstancesRead | domain.ScopeMessagesWrite, Instances: []domain.ID{a},
		Lifetime: 5 * time.Minute, Origin: "https://app.example.com",
	})
	claims := payload(t, grant.Token)
	jti, _ := claims["jti"].(string)
	if !strings.HasPrefix(jti, "tok_") {
		t.Errorf("jti = %q", jti)
	}
	issued := float64(now.Unix())
	want := map[string]any{
		"iss": "https://pombal.test", "aud": "pombal", "sub": w.ids["customer"].Prefixed("acct"),
		"key": w.keys["customer"].id.Prefixed("key"), "azp": "https://app.example.com",
		"scope": "instances:read messages:write", "inst": []any{a.Prefixed("inst")},
		"iat": issued, "nbf": issued, "exp": issued + 300, "jti": jti,
	}
	if diff := cmp.Diff(want, claims); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
	if end := now.Truncate(time.Second).Add(5 * time.Minute); !grant.ExpiresAt.Equal(end) || grant.Scopes != domain.ScopeInstancesRead|domain.ScopeMessagesWrite {
		t.Errorf("grant = %+v, want the end %v", grant, end)
	}
	p, err := w.auth.Bearer(t.Context(), grant.Token)
	if err != nil {
		t.Fatal(err)
	}
	if p.Account.ID != w.ids["customer"] || p.KeyID != w.keys["customer"].id || p.TokenID != jti || !p.ViaToken() ||
		p.Scopes != grant.Scopes || !slices.Equal(p.Instances, []domain.ID{a}) || p.Origin != "https://app.example.com" {
		t.Errorf("principal = %+v", p)
	}
}

func TestMintDefaultsToTheKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	only := []domain.ID{w.ids["inst-a"], w.ids["inst-b"]}
	w.addKey("narrow", "customer", func(k *domain.APIKey) { k.Scopes, k.Instances = domain.ScopeEventsRead, only })
	grant := w.mint(t, "narrow", domain.TokenRequest{})
	if grant.Scopes != domain.ScopeEventsRead || !slices.Equal(grant.Instances, only) {
		t.Errorf("grant = %+v", grant)
	}
	if left := time.Until(grant.ExpiresAt); left < 898*time.Second || left > 900*time.Second {
		t.Errorf("it lives %v, want 15 minutes", left)
	}
	grant.Instances[0] = domain.ID{} // the grant's list is the caller's own
	if p := w.login(t, "narrow"); !p.MaySee(w.ids["inst-a"]) {
		t.Error("changing a grant changed the key")
	}
	if grant := w.mint(t, "customer", domain.TokenRequest{}); grant.Instances != nil || grant.Scopes != domain.AllScopes {
		t.Errorf("grant of an unrestricted key = %+v", grant)
	}
}

func TestMintRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.ids["inst-a"], w.ids["inst-b"]
	w.addKey("narrow", "customer", func(k *domain.APIKey) {
		k.Scopes, k.Instances = domain.ScopeInstancesRead, []domain.ID{a}
	})
	many := make([]domain.ID, maxTokenInstances+1)
	for i := range many {
		many[i] = numbered(i)
	}
	w.addKey("many", "customer", func(k *domain.APIKey) { k.Instances = many })
	const invalid, insufficient = domain.CodeInvalidParameters, domain.CodeInsufficient
	for name, tc := range map[string]struct {
		key   string
		req   domain.TokenRequest
		code  domain.Code
		field string
	}{
		"scope beyond":            {"narrow", domain.TokenRequest{Scopes: domain.ScopeInstancesRead | domain.ScopeInstancesWrite}, insufficient, "scopes"},
		"instance beyond":         {"narrow", domain.TokenRequest{Instances: []domain.ID{a, b}}, insufficient, "instanceIds"},
		"too many instances":      {"customer", domain.TokenRequest{Instances: many}, invalid, "instanceIds"},
		"the key's are too many":  {"many", domain.TokenRequest{}, invalid, "instanceIds"},
		"too short":               {"customer", domain.TokenRequest{Lifetime: 59 * time.Second}, invalid, "expiresIn"},
		"negative":                {"customer", domain.TokenRequest{Lifetime: -time.Hour}, invalid, "expiresIn"},
		"too long":                {"customer", domain.TokenRequest{Lifetime: time.Hour + time.Second}, invalid, "expiresIn"},
		"origin with a slash":     {"customer", domain.TokenRequest{Origin: "https://app.example.com/"}, invalid, "origin"},
		"origin with a path":      {"customer", domain.TokenRequest{Origin: "https://app.example.com/x"}, invalid, "origin"},
		"origin with a user":      {"customer", domain.TokenRequest{Origin: "https://me@app.example.com"}, invalid, "origin"},
		"origin with a query":     {"customer", domain.TokenRequest{Origin: "https://app.example.com?x"}, invalid, "origin"},
		"origin without a scheme": {"customer", domain.TokenRequest{Origin: "app.example.com"}, invalid, "origin"},
		"origin of another kind":  {"customer", domain.TokenRequest{Origin: "javascript:alert(1)"}, invalid, "origin"},
		"origin null":             {"customer", domain.TokenRequest{Origin: "null"}, invalid, "origin"},
		"origin star":             {"customer", domain.TokenRequest{Origin: "*"}, invalid, "origin"},
		"origin wildcard":         {"customer", domain.TokenRequest{Origin: "https://*.example.com"}, invalid, "origin"},
		"origin too long":         {"customer", domain.TokenRequest{Origin: "https://" + strings.Repeat("a", maxOrigin) + ".com"}, invalid, "origin"},
	} {
		_, err := w.auth.Mint(t.Context(), w.login(t, tc.key), tc.req)
		wantCode(t, err, tc.code)
		e, ok := errors.AsType[*domain.Error](err)
		if !ok || len(e.Details) != 1 || e.Details[0].Field != tc.field || !strings.HasSuffix(e.Details[0].Message, ".") {
			t.Errorf("%s: error = %+v, want a detail about %s", name, err, tc.field)
		}
	}
	for _, lifetime := range []time.Duration{time.Minute, time.Hour} {
		w.mint(t, "customer", domain.TokenRequest{Lifetime: lifetime})
	}
}

func TestOnlyLiveKeysMint(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addInstance("inst-a", "customer", "ABCDEFGH-0123-4567")
	byToken, err := w.auth.Bearer(t.Context(), w.mint(t, "customer", domain.TokenRequest{}).Token)
	if err != nil {
		t.Fatal(err)
	}
	byInstance, _, err := w.auth.APIKeyHeader(t.Context(), "ABCDEFGH-0123-4567")
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string]*domain.Principal{"token": byToken, "instance token": byInstance} {
		_, err = w.auth.Mint(t.Context(), p, domain.TokenRequest{})
		if domain.CodeOf(err) != domain.CodeInsufficient {
			t.Errorf("%s: error = %v", name, err)
		}
	}
	early := w.login(t, "customer")
	w.store.changeKey(early.KeyID, func(k *domain.APIKey) { k.RevokedAt = time.Now() })
	_, err = w.auth.Mint(t.Context(), early, domain.TokenRequest{})
	wantCode(t, err, domain.CodeInvalidAPIKey)

	soon := w.addKey("soon", "customer", func(k *domain.APIKey) { k.ExpiresAt = time.Now().Add(time.Hour) })
	p := w.login(t, "soon")
	w.store.changeKey(soon.id, func(k *domain.APIKey) { k.ExpiresAt = time.Now().Truncate(time.Second).Add(999 * time.Millisecond) })
	_, err = w.auth.Mint(t.Context(), p, domain.TokenRequest{})
	wantCode(t, err, domain.CodeExpiredAPIKey)
}

// TestLargestTokenFits mints the largest token that can be asked for: its holder must be let in.
func TestLargestTokenFits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := testConfig()
	cfg.Issuer, cfg.Audience = strings.Repeat("i", maxIssuer), strings.Repeat("a", maxIssuer)
	a, err := New(cfg, w.store, testSealer{"s1"})
	if err != nil {
		t.Fatal(err)
	}
	w.auth = a
	all := make([]domain.ID, maxTokenInstances)
	for i := range all {
		all[i] = domain.NewID(time.Now())
	}
	p, err := a.OnBehalf(t.Context(), w.login(t, "partner"), w.ids["child-1"].Prefixed("acct"), false)
	if err != nil {
		t.Fatal(err)
	}
	origin := "https://" + strings.Repeat("o", maxOrigin-len("https://"))
	grant, err := a.Mint(t.Context(), p, domain.TokenRequest{Instances: all, Origin: origin})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes", len(grant.Token))
	credential, err := BearerFromHeader([]string{"Bearer " + grant.Token})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Bearer(t.Context(), credential); err != nil {
		t.Errorf("a token of %d bytes: %v", len(grant.Token), err)
	}
}
