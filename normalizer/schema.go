package normalizer

import (
	"bytes"
	_ "embed"
)

//go:embed event.schema.json
var schema []byte

// Schema is the JSON Schema (2020-12) of the canonical event.
func Schema() []byte { return bytes.Clone(schema) }
