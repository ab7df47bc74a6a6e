package cli

import (
	"strings"
	"testing"

	"stackstream/jetstream/jetstreamtest"
)

// Collectors wait where there are no leases: who restores into an empty server is told before they are started.
func TestARestoreSaysWhatIsMissingBesideTheStreams(t *testing.T) {
	for _, bare := range []bool{false, true} {
		var options []jetstreamtest.Option
		if bare {
			options = append(options, jetstreamtest.Bare())
		}
		r := reached{client: jetstreamtest.Server(t, options...).Client(t)}
		first, err := r.lacksLeases(t.Context())
		if err != nil || bare != strings.Contains(strings.Join(first, ""), `run "stackstream provision"`) {
			t.Errorf("bare %t: it says %q, %v", bare, first, err)
		}
	}
}
