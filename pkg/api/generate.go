package api

// The generator is pinned here and run from its own module, so that none of its
// dependencies become ours.
//go:generate go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2 -config codegen.yaml ../../openapi.yaml
