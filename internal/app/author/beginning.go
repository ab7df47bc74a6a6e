package author

import _ "embed"

//go:embed beginning.yaml
var beginning string

// Beginning is a configuration of the kind http to be filled in.
func Beginning() []byte { return []byte(beginning) }
