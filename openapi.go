// Package pombal is the root of the module. It holds nothing but the document
// that the product is built from: openapi.yaml, the contract of the HTTP API.
//
// The server serves it, the Go types in pkg/api are generated from it, and the
// contract tests hold every answer of the server against it.
package pombal

import _ "embed"

// OpenAPI is the content of openapi.yaml: an OpenAPI 3.1 document in UTF-8
// YAML. It is shared by all callers, who must not change it.
//
//go:embed openapi.yaml
var OpenAPI []byte
