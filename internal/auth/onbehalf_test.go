package auth

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pombal-api/pombal/internal/domain"
)

func TestOnBehalf(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addKey("restricted", "partner", func(k *domain.APIKey) { k.Instances = []domain.ID{w.ids["inst-a"]} })
	w.store.changeAccount(w.ids["child-2"], func(a *domain.Account) { a.Status = domain.AccountSuspended })
	acct := func(name string) string { return w.ids[name].Prefixed("acct") }
	const notFound, insufficient, invalid = domain.CodeAccountNotFound, domain.CodeInsufficient, domain.CodeInvalidParameters
	for name, tc := range map[string]struct {
		key, header string
		allowAll    bool
		code        domain.Code
		account     string // whose objects the call acts on
	}{
		"absent":                        {key: "partner", account: "partner"},
		"absent, customer":              {key: "customer", account: "customer"},
		"own child":                     {key: "partner", header: acct("child-1"), account: "child-1"},
		"own child where all may":       {key: "partner", header: acct("child-1"), allowAll: true, account: "child-1"},
		"all":                           {key: "partner", header: "*", allowAll: true, account: "partner"},
		"all where only one may":        {key: "partner", header: "*", code: invalid},
		"suspended child":               {key: "partner", header: acct("child-2"), code: insufficient},
		"another's child":               {key: "partner", header: acct("rival-child"), code: notFound},
		"another partner":               {key: "partner", header: acct("rival"), code: notFound},
		"itself":                        {key: "partner", header: acct("partner"), code: notFound},
		"plain account":                 {key: "partner", header: acct("customer"), code: notFound},
		"unknown":                       {key: "partner", header: domain.NewID(time.Now()).Prefixed("acct"), code: notFound},
		"malformed":                     {key: "partner", header: "acct_x", code: notFound},
		"zero":                          {key: "partner", header: domain.ID{}.Prefixed("acct"), code: notFound},
		"wrong kind":                    {key: "partner", header: w.ids["child-1"].Prefixed("inst"), code: notFound},
		"UUID":                          {key: "partner", header: w.ids["child-1"].String(), code: notFound},
		"upper case":                    {key: "partner", header: strings.ToUpper(acct("child-1")), code: notFound},
		"space":                         {key: "partner", header: acct("child-1") + " ", code: notFound},
		"two":                           {key: "partner", header: acct("child-1") + "," + acct("child-2"), code: notFound},
		"two stars":                     {key: "partner", header: "**", allowAll: true, code: notFound},
		"child's key, sibling":          {key: "child-1", header: acct("child-2"), code: insufficient},
		"child's key, itself":           {key: "child-1", header: acct("child-1"), code: insufficient},
		"child's key, parent":           {key: "child-1", header: acct("partner"), code: insufficient},
		"child's key, all":              {key: "child-1", header: "*", allowAll: true, code: insufficient},
		"customer's key, itself":        {key: "customer", header: acct("customer"), code: insufficient},
		"customer's key, malformed":     {key: "customer", header: "x", code: insufficient},
		"restricted key, own child":     {key: "restricted", header: acct("child-1"), code: insufficient},
		"restricted key, all":           {key: "restricted", header: "*", allowAll: true, code: insufficient},
		"rival's key on partner's ones": {key: "rival", header: acct("child-1"), code: notFound},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := w.login(t, tc.key)
			before := *p
			got, err := w.auth.OnBehalf(t.Context(), p, tc.header, tc.allowAll)
			wantCode(t, err, tc.code)
			if diff := cmp.Diff(before, *p); diff != "" {
				t.Errorf("the caller's principal was changed:\n%s", diff)
			}
			if err != nil {
				if e, ok := errors.AsType[*domain.Error](err); tc.code == invalid && (!ok || e.Details[0].Field != AccountHeader) {
					t.Errorf("%v does not name the header", err)
				}
				if tc.code == notFound && err.Error() != domain.AccountNotFound().Error() {
					t.Errorf("%v differs from the answer for an unknown id", err)
				}
				return
			}
			if got.Account.Name != tc.account || got.Actor.ID != p.Actor.ID || got.KeyID != p.KeyID || got.Scopes != p.Scopes {
				t.Errorf("principal = %+v", got)
			}
			if got.Children != (tc.header == "*") {
				t.Errorf("Children = %v", got.Children)
			}
		})
	}
}

func TestTokensActOnTheAccountTheyWereMintedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	acct := func(name string) string { return w.ids[name].Prefixed("acct") }
	onChild, err := w.auth.OnBehalf(t.Context(), w.login(t, "partner"), acct("child-1"), false)
	if err != nil {
		t.Fatal(err)
	}
	grant, err := w.auth.Mint(t.Context(), onChild, domain.TokenRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if act := payload(t, grant.Token)["act"]; !cmp.Equal(act, map[string]any{"sub": acct("partner")}) {
		t.Errorf("act = %v", act)
	}
	forChild, err := w.auth.Bearer(t.Context(), grant.Token)
	if err != nil {
		t.Fatal(err)
	}
	if forChild.Account.Name != "child-1" || forChild.Actor.Name != "partner" || forChild.KeyID != w.keys["partner"].id {
		t.Errorf("principal = %+v", forChild)
	}
	forSelf, err := w.auth.Bearer(t.Context(), w.mint(t, "partner", domain.TokenRequest{}).Token)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		p      *domain.Principal
		header string
		code   domain.Code
	}{
		"absent":            {forChild, "", ""},
		"its own":           {forChild, acct("child-1"), ""},
		"a sibling":         {forChild, acct("child-2"), domain.CodeInsufficient},
		"its actor":         {forChild, acct("partner"), domain.CodeInsufficient},
		"all":               {forChild, "*", domain.CodeInsufficient},
		"partner's, child":  {forSelf, acct("child-1"), domain.CodeInsufficient},
		"partner's, itself": {forSelf, acct("partner"), domain.CodeInsufficient},
		"partner's, all":    {forSelf, "*", domain.CodeInsufficient},
	} {
		got, err := w.auth.OnBehalf(t.Context(), tc.p, tc.header, true)
		if err == nil && tc.code != "" || err != nil && domain.CodeOf(err) != tc.code {
			t.Errorf("%s: error = %v, want %q", name, err, tc.code)
		}
		if err == nil && got != tc.p {
			t.Errorf("%s: principal = %+v", name, got)
		}
	}

	// The child leaves the partner, then is suspended, then the partner is no partner any more.
	setParent := func(id domain.ID) func(*domain.Account) { return func(a *domain.Account) { a.ParentID = id } }
	for name, step := range map[string]struct {
		account      string
		change, undo func(*domain.Account)
		code         domain.Code
	}{
		"given away": {"child-1", setParent(w.ids["rival"]), setParent(w.ids["partner"]), domain.CodeInvalidAPIKey},
		"suspended": {
			"child-1", func(a *domain.Account) { a.Status = domain.AccountSuspended },
			func(a *domain.Account) { a.Status = domain.AccountActive }, domain.CodeInsufficient,
		},
		"no partner": {
			"partner", func(a *domain.Account) { a.Partner = false },
			func(a *domain.Account) { a.Partner = true }, domain.CodeInvalidAPIKey,
		},
	} {
		w.store.changeAccount(w.ids[step.account], step.change)
		if _, err := w.auth.Bearer(t.Context(), grant.Token); err == nil || domain.CodeOf(err) != step.code {
			t.Errorf("%s: error = %v, want %s", name, err, step.code)
		}
		w.store.changeAccount(w.ids[step.account], step.undo)
	}
	if _, err := w.auth.Bearer(t.Context(), grant.Token); err != nil {
		t.Error(err)
	}
}

func TestOneTokenForAllChildrenIsNotMinted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p, err := w.auth.OnBehalf(t.Context(), w.login(t, "partner"), "*", true)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.auth.Mint(t.Context(), p, domain.TokenRequest{})
	wantCode(t, err, domain.CodeInvalidParameters)
}

func BenchmarkOnBehalf(b *testing.B) {
	w := newWorld(b)
	w.auth.seenAt.Store(int64(time.Hour))
	p := w.login(b, "partner")
	header := w.ids["child-1"].Prefixed("acct")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.auth.OnBehalf(b.Context(), p, header, false); err != nil {
			b.Fatal(err)
		}
	}
}
