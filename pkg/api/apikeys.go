package api

import (
	"context"
	"iter"
	"net/http"
)

const keysPath = "/v1/api-keys"

// KeyService holds the calls about API keys. Reach it as Client.APIKeys.
type KeyService struct{ client *Client }

// List returns one page of keys, without their secrets.
func (s *KeyService) List(ctx context.Context, params ListAPIKeysParams, opts ...CallOption) (*Page[APIKey], error) {
	return fetchPage[APIKey](ctx, s.client, keysPath, pageQuery(params.Limit, params.Offset, params.Cursor), opts)
}

// All yields the keys of all pages, from the one that params names on. An error
// ends the walk.
func (s *KeyService) All(ctx context.Context, params ListAPIKeysParams, opts ...CallOption) iter.Seq2[APIKey, error] {
	return walk(func(cursor *string) (*Page[APIKey], error) {
		page := params
		if cursor != nil {
			page.Cursor, page.Offset = cursor, 0
		}
		return s.List(ctx, page, opts...)
	})
}

// Create makes a key. Its secret is in the answer and nowhere else.
func (s *KeyService) Create(ctx context.Context, body CreateAPIKey, opts ...CallOption) (*APIKeyWithSecret, error) {
	return fetch[APIKeyWithSecret](ctx, s.client, call{method: http.MethodPost, path: keysPath, body: body}, opts)
}

// Rotate gives a key a new secret, which is in the answer and nowhere else. The
// old one works on for a while.
func (s *KeyService) Rotate(ctx context.Context, id string, body RotateAPIKey, opts ...CallOption) (*APIKeyWithSecret, error) {
	path, err := objectPath(keysPath, id)
	if err != nil {
		return nil, err
	}
	return fetch[APIKeyWithSecret](ctx, s.client, call{method: http.MethodPost, path: path + "/rotate", body: body}, opts)
}

// Revoke ends a key.
func (s *KeyService) Revoke(ctx context.Context, id string, opts ...CallOption) error {
	path, err := objectPath(keysPath, id)
	if err != nil {
		return err
	}
	return s.client.do(ctx, call{method: http.MethodDelete, path: path}, opts, new(Acknowledgement))
}
