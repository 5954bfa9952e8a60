package auth

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/pombal-api/pombal/internal/domain"
)

func TestNewInstanceTokenLooksLikeThePages(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^[0-9A-F]{8}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{12}$`)
	seen := map[string]bool{}
	for range 1000 {
		token := NewInstanceToken()
		if !form.MatchString(token) || !IsInstanceToken(token) || seen[token] {
			t.Fatalf("token %q", token)
		}
		seen[token] = true
	}
}

func TestAPIKeyHeader(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token, chosen := NewInstanceToken(), "my-own-token-of-16+"
	a := w.addInstance("inst-a", "customer", token)
	b := w.addInstance("inst-b", "child-1", chosen)

	p, instance, err := w.auth.APIKeyHeader(t.Context(), w.keys["customer"].plain)
	if err != nil || instance != nil || p.Account.Name != "customer" || p.Restricted() {
		t.Errorf("account key: %+v, %+v, %v", p, instance, err)
	}
	for name, tc := range map[string]struct {
		token, account string
		id             domain.ID
	}{
		"made": {token, "customer", a}, "chosen": {chosen, "child-1", b},
	} {
		p, instance, err := w.auth.APIKeyHeader(t.Context(), tc.token)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if instance.ID != tc.id || p.Account.Name != tc.account || p.Actor.ID != p.Account.ID || !p.KeyID.IsZero() {
			t.Errorf("%s: %+v, %+v", name, p, instance)
		}
		if !p.Restricted() || !p.MaySee(tc.id) || p.MaySee(w.ids["inst-c"]) {
			t.Errorf("%s sees more than its own: %v", name, p.Instances)
		}
		if p.Scopes.Has(domain.ScopeKeysWrite) || p.Scopes.Has(domain.ScopeAccountsWrite) || !p.Scopes.Has(domain.ScopeInstancesRead) {
			t.Errorf("%s: scopes = %v", name, p.Scopes)
		}
	}

	jwt := w.mint(t, "customer", domain.TokenRequest{}).Token
	for name, tc := range map[string]struct {
		value string
		code  domain.Code
	}{
		"missing":        {"", domain.CodeMissingAPIKey},
		"unknown":        {NewInstanceToken(), domain.CodeInvalidAPIKey},
		"lower case":     {strings.ToLower(token), domain.CodeInvalidAPIKey},
		"part":           {token[:20], domain.CodeInvalidAPIKey},
		"malformed key":  {"pmb_x", domain.CodeInvalidAPIKey},
		"unknown key":    {NewKey(testPepper()).Plain, domain.CodeInvalidAPIKey},
		"front end's":    {jwt, domain.CodeInvalidAPIKey},
		"the digest":     {string(InstanceTokenDigest(testPepper(), token)), domain.CodeInvalidAPIKey},
		"account's id":   {w.ids["customer"].String(), domain.CodeInvalidAPIKey},
		"instance's id":  {a.String(), domain.CodeInvalidAPIKey},
		"token and more": {token + " ", domain.CodeInvalidAPIKey},
	} {
		_, _, err := w.auth.APIKeyHeader(t.Context(), tc.value)
		if err == nil || domain.CodeOf(err) != tc.code {
			t.Errorf("%s: error = %v, want %s", name, err, tc.code)
		}
	}
	if _, err := w.auth.Bearer(t.Context(), token); domain.CodeOf(err) != domain.CodeInvalidAPIKey {
		t.Errorf("an instance token as Bearer: %v", err)
	}
}

func TestInstanceTokensFollowTheirAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token := NewInstanceToken()
	id := w.addInstance("inst-a", "child-1", token)
	call := func() error { _, _, err := w.auth.APIKeyHeader(t.Context(), token); return err }
	wantCode(t, call(), "")
	w.store.changeAccount(w.ids["partner"], func(a *domain.Account) { a.Status = domain.AccountSuspended })
	wantCode(t, call(), domain.CodeInsufficient)
	w.store.changeAccount(w.ids["partner"], func(a *domain.Account) { a.Status = domain.AccountActive })
	wantCode(t, call(), "")
	w.store.setDown(errors.New("down"))
	wantCode(t, call(), domain.CodeUnavailable)
	w.store.setDown(nil)
	w.store.mu.Lock()
	delete(w.store.instances, id)
	w.store.mu.Unlock()
	wantCode(t, call(), domain.CodeInvalidAPIKey)
}

func TestTextThatCannotBeATokenMakesNoQuery(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, value := range []string{
		"short", strings.Repeat("a", MinInstanceToken-1), strings.Repeat("a", MaxInstanceToken+1), strings.Repeat("a", 1<<20),
		"sixteen chars, é", "sixteen\x00characters", "sixteen\tcharacters", "pmb_sixteen_characters",
	} {
		if IsInstanceToken(value) {
			t.Errorf("IsInstanceToken(%.40q)", value)
		}
		_, _, err := w.auth.APIKeyHeader(t.Context(), value)
		wantCode(t, err, domain.CodeInvalidAPIKey)
	}
	if n := w.store.total(); n != 0 {
		t.Errorf("%d queries, want 0", n)
	}
}
