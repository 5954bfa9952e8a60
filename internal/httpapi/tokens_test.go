package httpapi_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/pombal-api/pombal/internal/testkit/apitest"
	"github.com/pombal-api/pombal/pkg/api"
)

func TestTokens_AreNarrowerThanTheirKey(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		tenant := s.NewTenant(t)
		ctx := t.Context()
		mine, hidden := tenant.NewInstance(t, "mine"), tenant.NewInstance(t, "hidden")
		token, err := tenant.API.Tokens.Create(ctx, api.CreateToken{
			Scopes: []api.Scope{api.ScopeInstancesRead}, InstanceIDs: []api.InstanceID{mine.ID}, ExpiresIn: 60,
		})
		if err != nil {
			t.Fatal(err)
		}
		if token.TokenType != "Bearer" || len(token.Scopes) != 1 || len(token.InstanceIDs) != 1 {
			t.Errorf("token %+v", token)
		}
		front := tenant.Client(t, token.Token)
		page, err := front.Instances.List(ctx, api.ListInstancesParams{})
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Data) != 1 || page.Data[0].ID != mine.ID || page.Pagination.Total != 1 {
			t.Errorf("list %+v", page)
		}
		_, err = front.Instances.Get(ctx, hidden.ID)
		wantCode(t, err, http.StatusNotFound, api.ErrorCodeInstanceNotFound)
		wantCode(t, front.Instances.Delete(ctx, mine.ID), http.StatusForbidden, api.ErrorCodeInsufficientPermissions)
		_, err = front.Tokens.Create(ctx, api.CreateToken{})
		wantCode(t, err, http.StatusForbidden, api.ErrorCodeInsufficientPermissions)
		_, err = front.APIKeys.List(ctx, api.ListAPIKeysParams{})
		wantCode(t, err, http.StatusForbidden, api.ErrorCodeInsufficientPermissions)

		narrow := tenant.Client(t, tenant.NewKey(t, "instances:read"))
		_, err = narrow.Tokens.Create(ctx, api.CreateToken{Scopes: []api.Scope{api.ScopeInstancesWrite}})
		wantCode(t, err, http.StatusForbidden, api.ErrorCodeInsufficientPermissions)
	})
}

func TestTokens_EndWithTheirKey(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		tenant := s.NewTenant(t)
		ctx := t.Context()
		key, err := tenant.API.APIKeys.Create(ctx, api.CreateAPIKey{Name: "short-lived", Scopes: []api.Scope{api.ScopeInstancesRead}})
		if err != nil {
			t.Fatal(err)
		}
		token, err := tenant.Client(t, key.Key).Tokens.Create(ctx, api.CreateToken{})
		if err != nil {
			t.Fatal(err)
		}
		front := tenant.Client(t, token.Token)
		if _, err = front.Instances.List(ctx, api.ListInstancesParams{}); err != nil {
			t.Fatal(err)
		}
		if err = tenant.API.APIKeys.Revoke(ctx, key.ID); err != nil {
			t.Fatal(err)
		}
		_, err = front.Instances.List(ctx, api.ListInstancesParams{})
		wantCode(t, err, http.StatusUnauthorized, api.ErrorCodeInvalidAPIKey)
	})
}

func TestTokens_AreBoundToTheirOrigin(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		tenant := s.NewTenant(t)
		origin := "https://app.example.com"
		token, err := tenant.API.Tokens.Create(t.Context(), api.CreateToken{Origin: &origin})
		if err != nil {
			t.Fatal(err)
		}
		c := newCaller(t, tenant).with(token.Token)
		for sent, want := range map[string]int{origin: 200, "https://evil.example.com": 403, "": 200} {
			if got := c.do(http.MethodGet, "/v1/instances", "", "Origin", sent); got.status != want {
				t.Errorf("origin %q: %d, want %d: %s", sent, got.status, want, got.body)
			}
		}
	})
}

func TestTokens_KeysArePublished(t *testing.T) {
	onBoth(t, func(t *testing.T, s *apitest.Server) {
		tenant := s.NewTenant(t)
		if _, err := tenant.API.Tokens.Create(t.Context(), api.CreateToken{}); err != nil {
			t.Fatal(err)
		}
		if err := s.Operator.RotateSigningKey(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := newCaller(t, tenant).with("").do(http.MethodGet, "/.well-known/jwks.json", "")
		var set api.JSONWebKeySet
		if err := json.Unmarshal(got.body, &set); err != nil {
			t.Fatal(err)
		}
		if len(set.Keys) != 2 || set.Keys[0].Kid == set.Keys[1].Kid {
			t.Errorf("key set %s", got.body)
		}
	})
}
