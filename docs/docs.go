// Package docs has what the program prints of the documentation.
package docs

import (
	"bytes"
	_ "embed"
)

//go:embed stackstream.schema.json
var configSchema []byte

// ConfigSchema is the JSON Schema (draft-07) of the configuration. It is made from the code, see package schema.
func ConfigSchema() []byte { return bytes.Clone(configSchema) }
