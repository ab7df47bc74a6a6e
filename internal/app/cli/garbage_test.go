package cli

import "testing"

// Another pace is taken once it would have been right for a while, and the frugal one only where much is in use.
func TestPaceOfGarbage(t *testing.T) {
	const mib = 1 << 20
	for name, test := range map[string]struct {
		live uint64
		want string
	}{
		"much in use":   {60 * mib, "......u.....f."},
		"little in use": {6 * mib, "u............."},
	} {
		p := pace{frugal: true}
		got := ""
		for _, allocated := range []uint64{900, 1, 900, 900, 900, 900, 900, 900, 1, 1, 1, 1, 1, 1} {
			percent, changed := p.look(allocated*mib, test.live)
			switch {
			case !changed:
				got += "."
			case percent == frugalPercent:
				got += "f"
			default:
				got += "u"
			}
		}
		if got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}
