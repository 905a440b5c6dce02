package httpapi

import _ "embed"

//go:embed openapi.json
var openAPI []byte

// OpenAPI returns the description of the interface, OpenAPI 3.1.
func OpenAPI() []byte { return openAPI }
