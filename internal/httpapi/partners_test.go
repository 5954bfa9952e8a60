package httpapi_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/pombal-api/pombal/internal/testkit/apitest"
	"github.com/pombal-api/pombal/pkg/api"
)

func TestPartners_ActOnTheirChildren(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		ctx := t.Context()
		partner := s.NewPartner(t)
		child, err := partner.API.Accounts.Create(ctx, api.CreateAccount{Name: "Child", ExternalID: new("c-1")})
		if err != nil {
			t.Fatal(err)
		}
		if child.ParentID == nil || *child.ParentID != partner.ID || child.Status != api.AccountStatusActive {
			t.Errorf("child %+v", child)
		}
		_, err = partner.API.Accounts.Create(ctx, api.CreateAccount{Name: "Twin", ExternalID: new("c-1")})
		wantCode(t, err, http.StatusConflict, api.ErrorCodeExternalIDInUse)
		onChild := partner.API.OnAccount(child.ID)
		instance, err := onChild.Instances.Create(ctx, api.CreateInstance{Name: "of the child"})
		if err != nil {
			t.Fatal(err)
		}
		own, err := partner.API.Instances.List(ctx, api.ListInstancesParams{})
		if err != nil {
			t.Fatal(err)
		}
		if own.Pagination.Total != 0 {
			t.Errorf("the partner's own list has %d", own.Pagination.Total)
		}
		all, err := partner.API.OnAccount("*").Instances.List(ctx, api.ListInstancesParams{})
		if err != nil {
			t.Fatal(err)
		}
		if len(all.Data) != 1 || all.Data[0].ID != instance.ID || all.Data[0].AccountID != child.ID || all.Pagination.Total != 1 {
			t.Errorf("across children: %+v", all)
		}
		key, err := onChild.APIKeys.Create(ctx, api.CreateAPIKey{Name: "the child's", Scopes: []api.Scope{api.ScopeInstancesRead}})
		if err != nil {
			t.Fatal(err)
		}
		testChild(t, partner, child, partner.Client(t, key.Key))
	})
}

// testChild looks at the family through the child's key, then suspends it.
func testChild(t *testing.T, partner *apitest.Tenant, child *api.Account, childClient *api.Client) {
	t.Helper()
	ctx := t.Context()
	if page, err := childClient.Instances.List(ctx, api.ListInstancesParams{}); err != nil || page.Pagination.Total != 1 {
		t.Errorf("the child's key: %+v, %v", page, err)
	}
	_, err := childClient.OnAccount(child.ID).Instances.List(ctx, api.ListInstancesParams{})
	wantCode(t, err, http.StatusForbidden, api.ErrorCodeInsufficientPermissions)
	_, err = childClient.OnAccount(partner.ID).Instances.List(ctx, api.ListInstancesParams{})
	wantCode(t, err, http.StatusForbidden, api.ErrorCodeInsufficientPermissions)

	suspended := api.AccountStatusSuspended
	if _, err = partner.API.Accounts.Update(ctx, child.ID, api.UpdateAccount{Status: &suspended}); err != nil {
		t.Fatal(err)
	}
	_, err = childClient.Instances.List(ctx, api.ListInstancesParams{})
	wantCode(t, err, http.StatusForbidden, api.ErrorCodeInsufficientPermissions)
}

func TestPartners_SeeNobodyElse(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		ctx := t.Context()
		partner, rival := s.NewPartner(t), s.NewPartner(t)
		plain, theirs := s.NewTenant(t), rival.NewChild(t)
		for name, id := range map[string]string{
			"another partner's child": theirs.ID, "a plain account": plain.ID, "another partner": rival.ID,
			"an unknown account": "acct_01kdyyysm0fq4tct8s89acxw0s", "malformed": "acct_x",
		} {
			_, err := partner.API.OnAccount(id).Instances.List(ctx, api.ListInstancesParams{})
			e := apiError(t, err, http.StatusNotFound, api.ErrorCodeAccountNotFound)
			_, err = partner.API.Accounts.Get(ctx, id)
			if got := apiError(t, err, http.StatusNotFound, api.ErrorCodeAccountNotFound); got.Message != e.Message {
				t.Errorf("%s can be told apart: %q", name, got.Message)
			}
		}
		_, err := plain.API.OnAccount(theirs.ID).Instances.List(ctx, api.ListInstancesParams{})
		wantCode(t, err, http.StatusForbidden, api.ErrorCodeInsufficientPermissions)
		_, err = plain.API.Accounts.List(ctx, api.ListAccountsParams{})
		wantCode(t, err, http.StatusForbidden, api.ErrorCodeInsufficientPermissions)
		_, err = plain.API.Accounts.Create(ctx, api.CreateAccount{Name: "child of none"})
		wantCode(t, err, http.StatusForbidden, api.ErrorCodeInsufficientPermissions)
		if own, err := plain.API.Accounts.Get(ctx, plain.ID); err != nil || own.ID != plain.ID {
			t.Errorf("the own account: %+v, %v", own, err)
		}
	})
}

func TestPartners_PageOverChildren(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		ctx := t.Context()
		partner := s.NewPartner(t)
		var want []string
		children := []*apitest.Tenant{partner.NewChild(t), partner.NewChild(t), partner.NewChild(t)}
		for i := range 9 {
			want = append(want, children[i%3].NewInstance(t, "one of nine").ID)
		}
		var got []string
		for in, err := range partner.API.OnAccount("*").Instances.All(ctx, api.ListInstancesParams{Limit: 2}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, in.ID)
		}
		if !slices.Equal(want, got) {
			t.Errorf("walked %v, want %v", got, want)
		}
		disconnected, err := partner.API.OnAccount("*").Instances.List(ctx, api.ListInstancesParams{Status: api.InstanceStatusFilterDisconnected, Limit: 1})
		if err != nil {
			t.Fatal(err)
		}
		if disconnected.Pagination.Total != 9 || !disconnected.Pagination.HasMore {
			t.Errorf("filtered %+v", disconnected.Pagination)
		}
		if err = children[0].API.Instances.Delete(ctx, want[0]); err != nil {
			t.Fatal(err)
		}
		after, err := partner.API.OnAccount("*").Instances.List(ctx, api.ListInstancesParams{Limit: 1})
		if err != nil {
			t.Fatal(err)
		}
		if after.Pagination.Total != 8 {
			t.Errorf("after a delete: %d", after.Pagination.Total)
		}
		_, err = partner.API.OnAccount("*").Instances.Get(ctx, want[1])
		wantCode(t, err, http.StatusBadRequest, api.ErrorCodeInvalidParameters)
	})
}
