// Package none is the kind of source for a provider whose events are not collected: listed, always available, idle.
package none

import "stackstream/collectors"

// Kind is the name of the kind.
const Kind = "none"

// Candidate has no sources, so that there is nothing to hold a lease for, to read or to write. A Collector never falls
// back on it: it is taken when it is configured or when nothing else is.
func Candidate() collectors.Candidate { return collectors.Candidate{Kind: Kind} }
