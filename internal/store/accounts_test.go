package store_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/domain"
	"github.com/pombal-api/pombal/internal/store"
)

func TestAccounts_CreateFillsInAndReads(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		a := domain.Account{
			Name: "Padaria São João 🍞", ExternalID: "crm-1", Plan: "pro", Partner: true, RequestLimit: 7, CreatedAt: at(0),
			AllowedOrigins: []string{"https://b.example", "https://a.example", "https://b.example"},
		}
		if err := f.CreateAccount(t.Context(), &a); err != nil {
			t.Fatal(err)
		}
		if a.ID.IsZero() || a.Status != domain.AccountActive {
			t.Errorf("not filled in: %+v", a)
		}
		same(t, "created", a.CreatedAt, stored(0))
		same(t, "updated", a.UpdatedAt, stored(0))
		same(t, "origins", a.AllowedOrigins, []string{"https://a.example", "https://b.example"})
		same(t, "read", must[domain.Account](t)(f.AccountByID(t.Context(), a.ID)), a)

		// A retry finds the first one, whatever it says now.
		again := domain.Account{ID: a.ID, Name: "something else", Plan: "free"}
		if err := f.CreateAccount(t.Context(), &again); err != nil {
			t.Fatal(err)
		}
		same(t, "retried", again, a)
	})
}

func TestAccounts_Unknown(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		for _, id := range []domain.ID{{}, domain.NewID(time.Now())} {
			_, err := f.AccountByID(ctx, id)
			wantCode(t, "read", err, domain.CodeAccountNotFound)
			_, err = f.SetAccount(ctx, id, domain.AccountAdminPatch{Partner: new(true)}, at(0))
			wantCode(t, "set", err, domain.CodeAccountNotFound)
		}
		if _, err := f.Account(domain.ID{}); err == nil {
			t.Error("a handle without an account")
		}
		if _, err := f.Partner(domain.ID{}); err == nil {
			t.Error("a handle without a partner")
		}
		nobody := must[*store.Account](t)(f.Account(domain.NewID(time.Now())))
		_, err := nobody.Update(ctx, domain.AccountPatch{Name: new("x")}, at(0))
		wantCode(t, "update", err, domain.CodeAccountNotFound)
		wantCode(t, "create an instance", nobody.CreateInstance(ctx, &domain.Instance{Name: "x"}, 0), domain.CodeAccountNotFound)
		wantCode(t, "create a key", nobody.CreateAPIKey(ctx, &domain.APIKey{Lookup: "x", Digest: []byte{1}}), domain.CodeAccountNotFound)
		_, err = nobody.ClaimIdempotency(ctx, domain.IdempotencyClaim{Key: "k", Resource: f.account.ID})
		wantCode(t, "claim", err, domain.CodeAccountNotFound)
		same(t, "page", page(t, nobody, domain.InstanceFilter{}, 10), []string(nil))
	})
}

func TestAccounts_Update(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		_, before, _, err := f.AuthChanges(ctx, 0)
		if err != nil {
			t.Fatal(err)
		}
		want := f.account
		// Nothing changes: not even the time, and nobody is told.
		for _, patch := range []domain.AccountPatch{{}, {Name: &f.account.Name}, {AllowedOrigins: &[]string{}}} {
			same(t, "unchanged", must[domain.Account](t)(f.mine.Update(ctx, patch, at(1))), want)
		}
		changes, version, _, err := f.AuthChanges(ctx, before)
		if err != nil || len(changes) != 0 || version != before {
			t.Errorf("an empty patch was announced: %v %d %v", changes, version, err)
		}

		want.Name, want.ExternalID, want.Status = "new", "ext", domain.AccountSuspended
		want.AllowedOrigins, want.UpdatedAt = []string{"https://x.example"}, stored(2)
		patch := domain.AccountPatch{
			Name: &want.Name, ExternalID: &want.ExternalID, Status: &want.Status, AllowedOrigins: &want.AllowedOrigins,
		}
		same(t, "patched", must[domain.Account](t)(f.mine.Update(ctx, patch, at(2))), want)
		same(t, "read", must[domain.Account](t)(f.AccountByID(ctx, want.ID)), want)

		want.ExternalID, want.AllowedOrigins, want.UpdatedAt = "", nil, stored(3)
		clear := domain.AccountPatch{ExternalID: new(""), AllowedOrigins: new([]string)}
		same(t, "cleared", must[domain.Account](t)(f.mine.Update(ctx, clear, at(3))), want)

		want.Plan, want.Partner, want.RequestLimit, want.UpdatedAt = "pro", true, 99, stored(4)
		admin := domain.AccountAdminPatch{Plan: &want.Plan, Partner: &want.Partner, RequestLimit: &want.RequestLimit}
		same(t, "by the operator", must[domain.Account](t)(f.SetAccount(ctx, want.ID, admin, at(4))), want)
		same(t, "read", must[domain.Account](t)(f.AccountByID(ctx, want.ID)), want)
	})
}

func TestAccounts_OriginAllowed(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		origins := []string{"https://app.example"}
		if _, err := f.mine.Update(ctx, domain.AccountPatch{AllowedOrigins: &origins}, at(0)); err != nil {
			t.Fatal(err)
		}
		for origin, want := range map[string]bool{
			"https://app.example": true, "https://APP.example": false, "https://app.exampl": false, "": false,
			"https://app.example\x00": false, "\xff": false,
		} {
			if got, err := f.OriginAllowed(ctx, origin); got != want || err != nil {
				t.Errorf("OriginAllowed(%q) = %v, %v", origin, got, err)
			}
		}
	})
}

// Accounts, Children and APIKeys share their paging.
func TestAccounts_Pages(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		owner := domain.Account{Name: "partner", Plan: "free", Partner: true}
		if err := f.CreateAccount(ctx, &owner); err != nil {
			t.Fatal(err)
		}
		partner := must[*store.Partner](t)(f.Partner(owner.ID))
		var want []domain.Account
		for i := range 5 {
			c := domain.Account{Name: fmt.Sprint(i), Plan: "free", CreatedAt: at(i / 2), AllowedOrigins: []string{fmt.Sprintf("https://%d", i)}}
			if err := partner.CreateChild(ctx, &c); err != nil {
				t.Fatal(err)
			}
			want = append(want, c)
		}
		slices.SortFunc(want, byCreation)
		for _, c := range []struct {
			page     domain.PageRequest
			from, to int
			more     bool
		}{
			{domain.PageRequest{Limit: 2}, 0, 2, true},
			{domain.PageRequest{Limit: 2, Offset: 2}, 2, 4, true},
			{domain.PageRequest{Limit: 2, Offset: 4}, 4, 5, false},
			{domain.PageRequest{Limit: 2, Offset: 5}, 5, 5, false},
			{domain.PageRequest{Limit: 2, Offset: 99}, 5, 5, false},
			{domain.PageRequest{Limit: 5}, 0, 5, false},
			{domain.PageRequest{Limit: 2, After: &domain.Cursor{}}, 0, 2, true},
			{domain.PageRequest{Limit: 2, After: &domain.Cursor{CreatedAt: want[0].CreatedAt, ID: want[0].ID}}, 1, 3, true},
			{domain.PageRequest{Limit: 2, After: &domain.Cursor{CreatedAt: want[2].CreatedAt, ID: want[2].ID}}, 3, 5, false},
			{domain.PageRequest{Limit: 2, After: &domain.Cursor{CreatedAt: want[4].CreatedAt, ID: want[4].ID}}, 5, 5, false},
		} {
			got, info, err := partner.Children(ctx, c.page)
			if err != nil {
				t.Fatal(err)
			}
			name := fmt.Sprintf("%+v", c.page)
			same(t, name, append([]domain.Account{}, got...), want[c.from:c.to])
			if info.Total != 5 || info.HasMore != c.more {
				t.Errorf("%s: info %+v", name, info)
			}
			if c.to > c.from {
				last := want[c.to-1]
				same(t, name, info.Last, domain.Cursor{CreatedAt: last.CreatedAt, ID: last.ID})
			}
		}
		all, info, err := f.Accounts(ctx, domain.PageRequest{Limit: 100})
		if err != nil || len(all) != 8 || info.Total != 8 || info.HasMore {
			t.Errorf("the operator sees %d accounts, %+v, %v", len(all), info, err)
		}
	})
}

func byCreation(a, b domain.Account) int {
	if c := a.CreatedAt.Compare(b.CreatedAt); c != 0 {
		return c
	}
	return slices.Compare(a.ID[:], b.ID[:])
}

func TestPartners_Children(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		partner, _ := f.addPartner(t)
		rival, rivals := f.addPartner(t)
		child := domain.Account{Name: "child", Plan: "free", ExternalID: "ref", CreatedAt: at(0)}
		if err := partner.CreateChild(ctx, &child); err != nil {
			t.Fatal(err)
		}
		same(t, "read", must[domain.Account](t)(partner.Child(ctx, child.ID)), child)
		if child.ParentID.IsZero() {
			t.Error("a child without a parent")
		}

		// Not the partner's: as unknown as an id that never was.
		for _, id := range []domain.ID{{}, domain.NewID(at(0)), f.account.ID, child.ParentID} {
			_, err := partner.Child(ctx, id)
			wantCode(t, "no child", err, domain.CodeAccountNotFound)
		}
		_, err := rival.Child(ctx, child.ID)
		wantCode(t, "the rival's view", err, domain.CodeAccountNotFound)
		wantCode(t, "the rival's retry", rival.CreateChild(ctx, &domain.Account{ID: child.ID, Name: "x"}), domain.CodeAccountNotFound)

		again := domain.Account{ID: child.ID, Name: "other name", ExternalID: "ref", Plan: "free"}
		if err = partner.CreateChild(ctx, &again); err != nil {
			t.Fatal(err)
		}
		same(t, "retried", again, child)

		second := domain.Account{Name: "second", ExternalID: "ref", Plan: "free"}
		err = partner.CreateChild(ctx, &second)
		wantCode(t, "the reference again", err, domain.CodeExternalIDInUse)
		same(t, "where", domainError(t, err).Details[0].Field, "externalId")
		if err = rival.CreateChild(ctx, &second); err != nil {
			t.Errorf("another partner may use the same reference: %v", err)
		}
		_, err = rivals[0].Update(ctx, domain.AccountPatch{ExternalID: new("ref")}, at(1))
		wantCode(t, "patched to one in use", err, domain.CodeExternalIDInUse)
	})
}

func domainError(t testing.TB, err error) *domain.Error {
	t.Helper()
	e, ok := err.(*domain.Error) //nolint:errorlint // exactly that type
	if !ok {
		t.Fatalf("%T is not for callers: %v", err, err)
	}
	return e
}
