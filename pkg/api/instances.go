package api

import (
	"context"
	"iter"
	"net/http"
	"net/url"
)

const instancesPath = "/v1/instances"

// InstanceService holds the calls about instances. Reach it as Client.Instances.
type InstanceService struct{ client *Client }

// List returns one page of instances.
func (s *InstanceService) List(ctx context.Context, params ListInstancesParams, opts ...CallOption) (*Page[Instance], error) {
	return fetchPage[Instance](ctx, s.client, instancesPath, params.values(), opts)
}

// All yields the instances of all pages, from the one that params names on. It
// asks for a page when it gets there. An instance that exists during the whole
// walk comes exactly once. An error ends the walk.
func (s *InstanceService) All(ctx context.Context, params ListInstancesParams, opts ...CallOption) iter.Seq2[Instance, error] {
	return walk(func(cursor *string) (*Page[Instance], error) {
		page := params
		if cursor != nil {
			page.Cursor, page.Offset = cursor, 0
		}
		return s.List(ctx, page, opts...)
	})
}

// Get returns an instance.
func (s *InstanceService) Get(ctx context.Context, id string, opts ...CallOption) (*Instance, error) {
	path, err := objectPath(instancesPath, id)
	if err != nil {
		return nil, err
	}
	return fetch[Instance](ctx, s.client, call{method: http.MethodGet, path: path}, opts)
}

// Create makes a new, disconnected instance.
func (s *InstanceService) Create(ctx context.Context, body CreateInstance, opts ...CallOption) (*Instance, error) {
	return fetch[Instance](ctx, s.client, call{method: http.MethodPost, path: instancesPath, body: body}, opts)
}

// Update changes the fields of an instance that body holds, and returns it as it
// is then.
func (s *InstanceService) Update(ctx context.Context, id string, body UpdateInstance, opts ...CallOption) (*Instance, error) {
	path, err := objectPath(instancesPath, id)
	if err != nil {
		return nil, err
	}
	return fetch[Instance](ctx, s.client, call{method: http.MethodPatch, path: path, body: body}, opts)
}

// Delete deletes an instance for good. When a first try was carried out but its
// answer was lost, the next one finds nothing and Delete fails with the code
// instance_not_found.
func (s *InstanceService) Delete(ctx context.Context, id string, opts ...CallOption) error {
	path, err := objectPath(instancesPath, id)
	if err != nil {
		return err
	}
	return s.client.do(ctx, call{method: http.MethodDelete, path: path}, opts, new(Acknowledgement))
}

// Status returns the live state of an instance.
func (s *InstanceService) Status(ctx context.Context, id string, opts ...CallOption) (*InstanceStatusReport, error) {
	var envelope InstanceStatusEnvelope
	if err := s.on(ctx, http.MethodGet, id, "/status", nil, opts, &envelope); err != nil {
		return nil, err
	}
	return &envelope.Data, nil
}

// values writes the parameters as a query.
func (p ListInstancesParams) values() url.Values {
	query := pageQuery(p.Limit, p.Offset, p.Cursor)
	if p.Status != "" {
		query.Set("status", string(p.Status))
	}
	setText(query, "search", p.Search)
	setText(query, "externalId", p.ExternalID)
	return query
}
