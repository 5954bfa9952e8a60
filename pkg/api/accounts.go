package api

import (
	"context"
	"iter"
	"net/http"
)

const (
	accountsPath = "/v1/accounts"
	tokensPath   = "/v1/tokens"
	limitsPath   = "/v1/limits"
)

// AccountService holds the calls about accounts. Reach it as Client.Accounts.
type AccountService struct{ client *Client }

// List returns one page of a partner's child accounts.
func (s *AccountService) List(ctx context.Context, params ListAccountsParams, opts ...CallOption) (*Page[Account], error) {
	return fetchPage[Account](ctx, s.client, accountsPath, pageQuery(params.Limit, params.Offset, params.Cursor), opts)
}

// All yields the child accounts of all pages, from the one that params names on.
// An error ends the walk.
func (s *AccountService) All(ctx context.Context, params ListAccountsParams, opts ...CallOption) iter.Seq2[Account, error] {
	return walk(func(cursor *string) (*Page[Account], error) {
		page := params
		if cursor != nil {
			page.Cursor, page.Offset = cursor, 0
		}
		return s.List(ctx, page, opts...)
	})
}

// Get returns the caller's own account or one of its child accounts.
func (s *AccountService) Get(ctx context.Context, id string, opts ...CallOption) (*Account, error) {
	path, err := objectPath(accountsPath, id)
	if err != nil {
		return nil, err
	}
	return fetch[Account](ctx, s.client, call{method: http.MethodGet, path: path}, opts)
}

// Create makes a child account.
func (s *AccountService) Create(ctx context.Context, body CreateAccount, opts ...CallOption) (*Account, error) {
	return fetch[Account](ctx, s.client, call{method: http.MethodPost, path: accountsPath, body: body}, opts)
}

// Update changes the fields of an account that body holds, and returns it as it
// is then.
func (s *AccountService) Update(ctx context.Context, id string, body UpdateAccount, opts ...CallOption) (*Account, error) {
	path, err := objectPath(accountsPath, id)
	if err != nil {
		return nil, err
	}
	return fetch[Account](ctx, s.client, call{method: http.MethodPatch, path: path, body: body}, opts)
}

// TokenService holds the calls about tokens. Reach it as Client.Tokens.
type TokenService struct{ client *Client }

// Create makes a short-lived token that a front end can use instead of the key.
func (s *TokenService) Create(ctx context.Context, body CreateToken, opts ...CallOption) (*Token, error) {
	return fetch[Token](ctx, s.client, call{method: http.MethodPost, path: tokensPath, body: body}, opts)
}

// Limits returns the limits that apply to the caller now.
func (c *Client) Limits(ctx context.Context, opts ...CallOption) (*Limits, error) {
	return fetch[Limits](ctx, c, call{method: http.MethodGet, path: limitsPath}, opts)
}
