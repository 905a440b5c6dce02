package api

import _ "embed"

//go:embed openapi.json
var openAPI []byte

// OpenAPI returns the description of the key holder's interface, OpenAPI 3.1,
// kept by hand and held to [Methods] and to the running service by tests.
func OpenAPI() []byte { return openAPI }
