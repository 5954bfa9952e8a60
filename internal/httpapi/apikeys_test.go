package httpapi_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/pombal-api/pombal/internal/testkit/apitest"
	"github.com/pombal-api/pombal/pkg/api"
)

func TestAPIKeys_Life(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		tenant := s.NewTenant(t)
		ctx, keys := t.Context(), tenant.API.APIKeys
		created, err := keys.Create(ctx, api.CreateAPIKey{Name: "reader", Scopes: []api.Scope{api.ScopeInstancesRead}})
		if err != nil {
			t.Fatal(err)
		}
		if created.LastFour != created.Key[len(created.Key)-4:] || created.InstanceIDs != nil || created.ExpiresAt != nil {
			t.Errorf("created %+v", created)
		}
		reader := tenant.Client(t, created.Key)
		if _, err = reader.Instances.List(ctx, api.ListInstancesParams{}); err != nil {
			t.Errorf("the new key: %v", err)
		}
		_, err = reader.Instances.Create(ctx, api.CreateInstance{Name: "x"})
		wantCode(t, err, http.StatusForbidden, api.ErrorCodeInsufficientPermissions)
		_, err = reader.APIKeys.List(ctx, api.ListAPIKeysParams{})
		wantCode(t, err, http.StatusForbidden, api.ErrorCodeInsufficientPermissions)

		page, err := keys.List(ctx, api.ListAPIKeysParams{})
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Data) != 2 || page.Pagination.Total != 2 || page.Data[1].ID != created.ID {
			t.Errorf("list %+v", page)
		}
		if err = keys.Revoke(ctx, created.ID); err != nil {
			t.Fatal(err)
		}
		_, err = reader.Instances.List(ctx, api.ListInstancesParams{})
		wantCode(t, err, http.StatusUnauthorized, api.ErrorCodeInvalidAPIKey)
		wantCode(t, keys.Revoke(ctx, created.ID), http.StatusNotFound, api.ErrorCodeAPIKeyNotFound)
	})
}

func TestAPIKeys_RotationOverlaps(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		tenant := s.NewTenant(t)
		ctx, keys := t.Context(), tenant.API.APIKeys
		first, err := keys.Create(ctx, api.CreateAPIKey{Name: "rotated", Scopes: []api.Scope{api.ScopeInstancesRead}})
		if err != nil {
			t.Fatal(err)
		}
		second, err := keys.Rotate(ctx, first.ID, api.RotateAPIKey{})
		if err != nil {
			t.Fatal(err)
		}
		if second.ID != first.ID || second.Key == first.Key || second.PreviousSecretExpiresAt == nil {
			t.Errorf("rotated %+v", second)
		}
		for _, key := range []string{first.Key, second.Key} {
			if _, err = tenant.Client(t, key).Instances.List(ctx, api.ListInstancesParams{}); err != nil {
				t.Errorf("during the overlap: %v", err)
			}
		}
		third, err := keys.Rotate(ctx, first.ID, api.RotateAPIKey{OverlapSeconds: new(0)})
		if err != nil {
			t.Fatal(err)
		}
		for key, good := range map[string]bool{first.Key: false, second.Key: false, third.Key: true} {
			_, err := tenant.Client(t, key).Instances.List(ctx, api.ListInstancesParams{})
			if good && err != nil {
				t.Errorf("the newest secret: %v", err)
			}
			if !good {
				wantCode(t, err, http.StatusUnauthorized, api.ErrorCodeInvalidAPIKey)
			}
		}
	})
}

func TestAPIKeys_CannotExceedTheirMaker(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		tenant := s.NewTenant(t)
		ctx := t.Context()
		keeper := tenant.Client(t, tenant.NewKey(t, "keys:write"))
		_, err := keeper.APIKeys.Create(ctx, api.CreateAPIKey{Name: "more", Scopes: []api.Scope{api.ScopeInstancesWrite}})
		wantCode(t, err, http.StatusForbidden, api.ErrorCodeInsufficientPermissions)
		past := api.NewTime(time.Now().Add(-time.Minute))
		_, err = tenant.API.APIKeys.Create(ctx, api.CreateAPIKey{Name: "past", Scopes: []api.Scope{api.ScopeInstancesRead}, ExpiresAt: &past})
		wantCode(t, err, http.StatusBadRequest, api.ErrorCodeInvalidParameters)
		_, err = tenant.API.APIKeys.Create(ctx, api.CreateAPIKey{
			Name: "unknown instance", Scopes: []api.Scope{api.ScopeInstancesRead}, InstanceIDs: []api.InstanceID{"inst_01kdwfzy80e17b5410xamp3tcx"},
		})
		wantCode(t, err, http.StatusNotFound, api.ErrorCodeInstanceNotFound)
	})
}

func TestAPIKeys_RestrictedToInstances(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		tenant := s.NewTenant(t)
		ctx := t.Context()
		mine, hidden := tenant.NewInstance(t, "mine"), tenant.NewInstance(t, "hidden")
		key, err := tenant.API.APIKeys.Create(ctx, api.CreateAPIKey{
			Name: "narrow", Scopes: []api.Scope{api.ScopeInstancesRead, api.ScopeInstancesWrite, api.ScopeKeysWrite},
			InstanceIDs: []api.InstanceID{mine.ID},
		})
		if err != nil {
			t.Fatal(err)
		}
		narrow := tenant.Client(t, key.Key)
		page, err := narrow.Instances.List(ctx, api.ListInstancesParams{})
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Data) != 1 || page.Data[0].ID != mine.ID || page.Pagination.Total != 1 {
			t.Errorf("list %+v", page)
		}
		_, err = narrow.Instances.Get(ctx, hidden.ID)
		wantCode(t, err, http.StatusNotFound, api.ErrorCodeInstanceNotFound)
		wantCode(t, narrow.Instances.Delete(ctx, hidden.ID), http.StatusNotFound, api.ErrorCodeInstanceNotFound)
		_, err = narrow.Instances.Create(ctx, api.CreateInstance{Name: "another"})
		wantCode(t, err, http.StatusForbidden, api.ErrorCodeInsufficientPermissions)
		// What it hands on is as narrow as itself.
		child, err := narrow.APIKeys.Create(ctx, api.CreateAPIKey{Name: "inherits", Scopes: []api.Scope{api.ScopeInstancesRead}})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(child.InstanceIDs, []api.InstanceID{mine.ID}) {
			t.Errorf("inherited %v", child.InstanceIDs)
		}
		_, err = narrow.APIKeys.Create(ctx, api.CreateAPIKey{
			Name: "wider", Scopes: []api.Scope{api.ScopeInstancesRead}, InstanceIDs: []api.InstanceID{hidden.ID},
		})
		wantCode(t, err, http.StatusNotFound, api.ErrorCodeInstanceNotFound)
	})
}
